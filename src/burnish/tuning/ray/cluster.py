"""A Ray cluster: reaching it, what it has, and whether it is still there."""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from burnish.errors import ClusterError
from burnish.telemetry import switch_off
from burnish.tuning.executor import Resources

LOOK_EVERY = 5.0
"""Seconds between two looks at who is in the cluster."""

GONE_AFTER = 30.0
"""Seconds without an answer after which a cluster is gone. A head node that is restarted
answers before; after 60 seconds Ray itself ends the process, and says less."""

_ANSWER_WITHIN = 3.0


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, and what of it Ray may hand out."""

    id: str
    host: str
    address: str
    cpus: float
    gpus: float
    memory: float

    def describe(self) -> str:
        """Name it for people; several nodes may be on one host."""
        return f"{self.host} ({self.address}, node {self.id[:6]})"

    def count_fits(self, resources: Resources) -> int:
        """How many fits that ask for this may run here at the same time."""
        room = self.cpus / resources.cpus
        if resources.gpus:
            room = min(room, self.gpus / resources.gpus)
        if resources.memory:
            room = min(room, self.memory / resources.memory)
        return int(room)


class Cluster:
    """A cluster that this process is connected to; :func:`connect` makes one.

    Attributes
    ----------
    address
        Where it is, for messages.
    started
        Whether it was started here, and ends with this process.
    """

    def __init__(self, address: str, place: tuple[str, int], *, started: bool, owned: bool) -> None:
        self.address = address
        self.started = started
        self._place = place
        self._owned = owned
        self._answered = self._looked = time.monotonic()

    def nodes(self) -> list[Node]:
        """The nodes that are alive.

        Raises
        ------
        ClusterError
            If the cluster is gone.
        """
        import ray

        with self.errors_explained():
            return [_describe(node) for node in ray.nodes() if node["Alive"]]

    def count_fits(self, resources: Resources) -> int:
        """How many fits that ask for this may run at the same time."""
        return sum(node.count_fits(resources) for node in self.nodes())

    def describe(self) -> str:
        """Say how large it is."""
        nodes = self.nodes()
        gpus = sum(node.gpus for node in nodes)
        return (
            f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}, "
            f"{sum(node.cpus for node in nodes):g} CPUs" + (f", {gpus:g} GPUs" if gpus else "")
        )

    def look(self) -> list[Node] | None:
        """Return the nodes, if it is time to look again; ``None`` otherwise, or without an answer.

        Raises
        ------
        ClusterError
            If nothing has answered for :data:`GONE_AFTER` seconds.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return None
        self._looked = now
        # Asked by a plain connection: Ray would wait until it ends this process.
        if not _answers(self._place):
            if time.monotonic() - self._answered > GONE_AFTER:
                raise self._gone()
            return None
        self._answered = time.monotonic()
        return self.nodes()

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        """Make Ray's ways of saying that the cluster is gone into one."""
        import ray.exceptions as failures

        try:
            yield
        except (ConnectionError, failures.RaySystemError, failures.RpcError) as error:
            raise self._gone() from error

    def close(self) -> None:
        """Disconnect; what was started here ends."""
        if self._owned:
            import ray

            ray.shutdown()

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Ray cluster at {self.address} is gone: it has not answered for some time. "
            "Nothing recorded is lost; the same command goes on from here, with this cluster or "
            "another that has the same burnish (give its --address)."
        )


def connect(address: str | None) -> Cluster:
    """Connect to a cluster, or start one on this machine.

    Parameters
    ----------
    address
        ``auto`` or ``host:port`` where this machine is a node of it, ``ray://host:port``
        from elsewhere; ``None`` starts one, unless ``RAY_ADDRESS`` names one.

    Raises
    ------
    ClusterError
        If Ray is not installed, nothing answers, or it refuses.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "--executor ray needs Ray, on this machine and on every node: "
            "pip install 'burnish[ray]'"
        )
    switch_off("ray")
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address not in {"local", "auto"} and not _answers(_split(address)):
        raise ClusterError(
            f"nothing answers at {address}: expected the address of a Ray cluster's head "
            "node, host:6379 where this machine is a node of it, ray://host:10001 where not. "
            "Is it up ('ray status' there), and does a firewall let this machine through?"
        )
    if ray.is_initialized():
        return Cluster(
            "the connection of this process", _find_place(None), started=False, owned=False
        )
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", **options)
    except Exception as error:  # Ray has no one class for what may be wrong here.
        raise ClusterError(_explain_refusal(address, error)) from error
    named = "this machine" if address == "local" else address
    return Cluster(named, _find_place(address), started=address == "local", owned=True)


def _explain_refusal(address: str, error: Exception) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    # It answers, or this would not have been tried. Ray itself names the token in its log alone.
    if "oken" in str(error) or "UNAUTHENTICATED" in str(error) or "Failed to connect" in said:
        return (
            f"the Ray cluster at {address} does not let this machine in ({said}): it asks for its "
            "token, or has another version of Ray. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or "
            "copy the head node's ~/.ray/auth_token to this machine: docs/cluster.md"
        )
    if "home directory" in said:
        return f"Ray cannot be used: {said} Set HOME to the absolute path of a folder to write to"
    if address == "auto":
        return (
            f"there is no Ray cluster on this machine ({said}). Start one with 'ray start --head', "
            "join one with 'ray start --address=HOST:6379', or give --address ray://HOST:10001"
        )
    return f"the Ray cluster at {address} cannot be used: {said}"


def _find_place(address: str | None) -> tuple[str, int]:
    """Host and port by which the cluster is to be asked whether it is there."""
    import ray

    if address is not None and address.startswith("ray://"):
        return _split(address)
    return _split(ray.get_runtime_context().gcs_address)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise ClusterError(
            f"--address {address}: expected auto, host:port or ray://host:port "
            "(the ports of a head node are 6379 and, for ray://, 10001 unless set otherwise)"
        )
    return host.strip("[]"), int(port)


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, _ANSWER_WITHIN).close()
    except OSError:
        return False
    return True


def _describe(node: dict[str, Any]) -> Node:
    has = node["Resources"]
    return Node(
        id=node["NodeID"],
        host=node["NodeManagerHostname"],
        address=node["NodeManagerAddress"],
        cpus=has.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        memory=has.get("memory", 0.0),
    )
