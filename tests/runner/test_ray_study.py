"""Studies whose trials run on a real Ray cluster of three nodes, undisturbed and disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder

from ..faults import TORTURE
from ..faults.study import describe_run as describe_whole_run
from ..faults.study import without_clock, write_study
from ..short_digits import SHORT
from ..tuning.ray_cluster import LocalCluster, find_port, ray_environment

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.skipif(not TORTURE, reason="by 'make torture-cluster': five minutes"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]

WORKERS = os.cpu_count() or 1
"""So many processes of this machine have one thread each, as fits on the cluster have."""

LONG_TRIALS = (
    "training.patience=9999",
    "tuned.schedule.min_epochs=400",
    "tuned.schedule.max_epochs=800",
)
"""Trials that take seconds, so that they are met while they run."""


@pytest.fixture(scope="module")
def cluster_port() -> int:
    return find_port()


@pytest.fixture(scope="module")
def cluster(cluster_port: int) -> Iterator[LocalCluster]:
    """A head node that runs no fits, and two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as monkey, ray_environment(monkey):
        # A client that was killed is not waited for.
        monkey.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "3")
        started = LocalCluster(cluster_port)
        try:
            started.add_node()
            started.add_node()
            yield started
        finally:
            started.shutdown()


def run_words(study: str | Path, out: Path, settings: Sequence[str], *options: str) -> list[str]:
    """The words after ``burnish`` that run a study."""
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["run", str(study), "--out", str(out), "--workers", str(WORKERS), *sets, *options]


def start(words: Sequence[str], before: str = "") -> subprocess.Popen[str]:
    code = f"{before}\nfrom burnish.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(words: Sequence[str]) -> str:
    process = start(words)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def placed_fits(run: RunFolder) -> list[dict[str, Any]]:
    """Where trials run, as ``burnish status`` says."""
    if not run.placed.exists():
        return []
    return [fit for stage in describe_run(run)["stages"] for fit in stage.get("placed", ())]


def read_results(run: Path) -> dict[str, Any]:
    results = [json.loads(p.read_text("utf-8")) for p in sorted(run.glob("stages/*/result.json"))]
    return {result["name"]: without_clock(result) for result in results}


def test_digits_on_three_nodes_of_which_one_is_removed_gives_the_local_winner(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    local, far = tmp_path / "local", tmp_path / "ray"
    finish(run_words("digits", local, SHORT))
    process = start(
        run_words("digits", far, SHORT, "--executor", "ray", "--address", cluster.address)
    )
    run = RunFolder(far)
    found: list[dict[str, Any]] = []

    def is_met() -> bool:
        found[:] = placed_fits(run)
        return bool(found)

    wait_until(is_met, process)
    node = next(n for n in cluster.nodes if f"node {n.node_id[:6]}" in found[0]["node"])
    cluster.remove_node(node)
    output, _ = process.communicate(timeout=400)
    cluster.add_node()
    assert process.returncode == 0, output
    assert "3 nodes, 2 CPUs" in output
    assert "has left: 2 nodes, 1 CPUs" in output
    expected = read_results(local)
    assert list(expected) == [
        "fnn",
        "fnn-tuned",
        "cnn",
        "cnn-tuned",
        "augmented",
        "learning-rate",
        "final",
    ]
    # Every proposal, every loss of every trial, every winner and the test split.
    assert read_results(far) == expected
    assert not run.placed.exists()


def test_driver_killed_cluster_gone_and_the_same_command_goes_on(
    cluster: LocalCluster, cluster_port: int, tmp_path: Path
) -> None:
    study = write_study(tmp_path)
    finish(run_words(study, tmp_path / "local", LONG_TRIALS))
    run = RunFolder(tmp_path / "run")
    words = run_words(study, run.path, LONG_TRIALS, "--executor", "ray")

    def some_recorded() -> list[Path]:
        return sorted(run.path.glob("stages/*/trials/*/round-*.json"))

    # From outside the cluster; killed when something is recorded and something runs.
    driver = start([*words, "--address", f"ray://127.0.0.1:{cluster_port}"])
    wait_until(lambda: bool(some_recorded() and placed_fits(run)), driver)
    pids = [fit["pid"] for fit in placed_fits(run)]
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    kept = {path: path.read_bytes() for path in some_recorded()}
    assert describe_run(run)["state"] == "interrupted"

    # As a node of it; then the head node is gone.
    driver = start(
        [*words, "--address", cluster.address],
        "import burnish.tuning.ray.cluster as c; c.LOOK_EVERY, c.GONE_AFTER = 0.5, 2.0",
    )
    wait_until(lambda: bool({fit["pid"] for fit in placed_fits(run)} - set(pids)), driver)
    cluster.kill_head()
    output, _ = driver.communicate(timeout=200)
    assert driver.returncode == 2, output
    assert f"error: the Ray cluster at {cluster.address} is gone" in output
    assert "the same command goes on from here" in output
    assert describe_run(run)["state"] == "failed"
    assert not run.placed.exists()

    # Another cluster: one that is started here.
    finish(words)
    assert describe_whole_run(run.path) == describe_whole_run(tmp_path / "local")
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_plan_knows_the_size_of_the_cluster(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkey, ray_environment(monkey):
        study = write_study(tmp_path)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "burnish.cli",
                "plan",
                str(study),
                "--executor",
                "ray",
                "--json",
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
    cpus = os.cpu_count()
    assert plan["cluster"] == {
        "address": "this machine",
        "nodes": 1,
        "cpus": cpus,
        "gpus": 0,
        "workers": cpus,
    }
    assert {stage["name"] for stage in plan["stages"]} == {"start", "tuned", "final"}
