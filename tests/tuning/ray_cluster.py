"""A real Ray cluster of several nodes on this machine, for tests."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

STORE = 80_000_000
"""Bytes of each node's object store."""


class LocalCluster:
    """A head node that runs no fits, and nodes that run one at a time each."""

    def __init__(self, client_port: int | None = None) -> None:
        from ray.cluster_utils import Cluster

        head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": False}
        if client_port is not None:
            head["ray_client_server_port"] = client_port
        # A node that is stopped counts as dead after some seconds, not half a minute.
        head["_system_config"] = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 1000,
            "health_check_timeout_ms": 3000,
            "health_check_failure_threshold": 3,
        }
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**head, "object_store_memory": STORE}
        )
        self.address = str(self._cluster.address)
        self.nodes: list[Any] = []
        self._agents: set[int] = set()

    def add_node(self, num_cpus: int = 1) -> Any:
        node = self._cluster.add_node(num_cpus=num_cpus, object_store_memory=STORE)
        self.nodes.append(node)
        return node

    def remove_node(self, node: Any) -> None:
        """Kill a node's processes, as if its machine had lost its power."""
        self._note_agents()
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def raylet_pid(self, node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    def kill_head(self) -> None:
        """Kill what holds the cluster together."""
        self._note_agents()
        self._cluster.head_node.kill_gcs_server()

    def shutdown(self) -> None:
        self._note_agents()
        self._cluster.shutdown()
        # A raylet's agents see by themselves that it has gone; without a head, after a minute.
        for pid in self._agents:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _note_agents(self) -> None:
        """Remember the processes that raylets have started besides those of fits."""
        for node in [self._cluster.head_node, *self.nodes]:
            raylet = self.raylet_pid(node)
            with suppress(OSError):
                found = Path(f"/proc/{raylet}/task/{raylet}/children").read_text("utf-8").split()
                self._agents |= {int(pid) for pid in found if "Agent" in _command_of(pid)}


def _command_of(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def processes_of(session: Path) -> list[str]:
    """Command lines of processes that belong to a session folder of Ray's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = path.with_name("environ").read_bytes().decode(errors="replace")
        except OSError:  # It has ended meanwhile, or is not ours.
            continue
        mine = int(path.parent.name) != os.getpid()
        if mine and line and (str(session) in line or f"RAY_TMPDIR={session}\0" in environment):
            found.append(line)
    return found


def _read_environment_again() -> None:
    """Ray reads how it is to authenticate when it is imported, and its token once."""
    import ray._raylet as core

    loader, config = (getattr(core, name) for name in ("AuthenticationTokenLoader", "Config"))
    config.initialize("")
    loader.instance().reset_cache()


@contextmanager
def ray_environment(monkey: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep what Ray writes in a folder of its own, ask for a token, and leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Paths of sockets must be short.
    monkey.setenv("RAY_TMPDIR", str(folder))
    monkey.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkey.setenv("RAY_AUTH_MODE", "token")
    monkey.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkey.setenv("PYTHONWARNINGS", "ignore")
    monkey.delenv("RAY_ADDRESS", raising=False)
    _read_environment_again()
    try:
        yield folder
        deadline = time.monotonic() + 40
        while (left := processes_of(folder)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
