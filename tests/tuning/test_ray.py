"""Fits on a real Ray cluster of several nodes on this machine, undisturbed and disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.errors import ClusterError
from burnish.study.placement import describe_machine
from burnish.training import FitResult
from burnish.tuning import cluster as cluster_module
from burnish.tuning.cluster import Cluster, connect
from burnish.tuning.conformance import check_executor
from burnish.tuning.executor import ATTEMPTS, FitTask, Outcome, Resources
from burnish.tuning.ray_node import name_attempts_file

from .ray_cluster import LocalCluster, ray_environment
from .test_executor import ENDLESS, LONG, ask, assert_same

ray = pytest.importorskip("ray")
from burnish.tuning.ray import Placed, RayExecutor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head node that runs no fits, and two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as monkey, ray_environment(monkey):
        started = LocalCluster()
        try:
            started.add_node()
            started.add_node()
            yield started
        finally:
            ray.shutdown()
            started.shutdown()


@pytest.fixture(scope="module")
def connection(cluster: LocalCluster) -> Iterator[Cluster]:
    connected = connect(cluster.address)
    yield connected
    connected.close()


class Bench:
    """An executor on the cluster, and what it told."""

    def __init__(self, dataset: Dataset, connection: Cluster, **options: Any) -> None:
        self.notes: list[str] = []
        self.told: list[Sequence[Placed]] = []
        given = {"num_workers": 2, "identify": describe_machine, **options}
        self.executor = RayExecutor(
            dataset, connection, on_note=self.notes.append, on_placed=self.told.append, **given
        )

    def find(self, key: str, attempt: int = 1) -> Placed:
        """Wait until an attempt at a task runs somewhere."""
        found: list[Placed] = []

        def look() -> bool:
            self.executor._look()
            found[:] = [p for p in self.executor.placed() if (p.key, p.attempt) == (key, attempt)]
            return bool(found)

        wait_until(look)
        return found[0]

    def hear(self, what: str) -> None:
        """Wait until something is noted."""

        def look() -> bool:
            self.executor._look()
            return any(what in note for note in self.notes)

        wait_until(look)

    def run(self, *tasks: FitTask) -> list[Outcome]:
        for task in tasks:
            self.executor.submit(task)
        outcomes = {outcome.key: outcome for outcome in (self.executor.wait() for _ in tasks)}
        assert len(outcomes) == len(tasks)
        return [outcomes[task.key] for task in tasks]


def wait_until(holds: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def bench(digits: Dataset, connection: Cluster) -> Iterator[Bench]:
    started = Bench(digits, connection)
    yield started
    started.executor.close()


@pytest.fixture(scope="module")
def plain(bench: Bench) -> FitResult:
    (outcome,) = bench.run(FitTask("plain", ask()))
    assert outcome.failure is None
    assert outcome.result is not None
    return outcome.result


@pytest.fixture(scope="module")
def long(bench: Bench) -> FitResult:
    """An undisturbed fit that is long enough to be disturbed."""
    (outcome,) = bench.run(FitTask("undisturbed", ask(max_epochs=LONG)))
    assert outcome.result is not None
    return outcome.result


@pytest.mark.parametrize("checkpoints", ["object-store", "shared"])
def test_a_cluster_keeps_the_contract_of_an_executor(
    digits: Dataset, connection: Cluster, tmp_path: Path, checkpoints: str
) -> None:
    check_executor(
        lambda dataset: Bench(dataset, connection, checkpoints=checkpoints).executor,
        digits,
        tmp_path,
    )


def test_a_fit_says_where_it_runs_while_it_runs(
    bench: Bench, connection: Cluster, long: FitResult
) -> None:
    bench.executor.submit(FitTask("placed", ask(max_epochs=LONG)))
    placed = bench.find("placed")
    assert placed.place.node in {node.id for node in connection.nodes() if node.cpus}
    assert Path(f"/proc/{placed.place.pid}").exists()
    assert placed.place.host in placed.place.describe()
    assert_same(bench.executor.wait().result, long)
    assert bench.executor.placed() == []
    assert bench.told[-1] == []


def test_a_process_has_as_many_threads_as_its_fit_is_given_cpus(bench: Bench) -> None:
    def count(task: FitTask, load: Callable[[], Dataset]) -> Outcome:
        seen = (os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"])
        return Outcome(task.key, None, " ".join(seen))

    # By value: nodes cannot import the tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    bench.executor._run, before = count, bench.executor._run
    try:
        outcomes = bench.run(FitTask("one", ask()), FitTask("again", ask()))
    finally:
        bench.executor._run = before
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert [outcome.failure for outcome in outcomes] == ["1 -1", "1 -1"]


# Faults


def test_a_killed_processs_fit_is_done_again_with_the_same_result(
    bench: Bench, long: FitResult
) -> None:
    bench.executor.submit(FitTask("killed", ask(max_epochs=LONG)))
    first = bench.find("killed")
    os.kill(first.place.pid, signal.SIGKILL)
    assert bench.find("killed", attempt=2).place.pid != first.place.pid
    assert_same(bench.executor.wait().result, long)


def test_a_fit_that_kills_its_processes_fails_and_the_next_one_runs(
    bench: Bench, plain: FitResult
) -> None:
    bench.executor.submit(FitTask("deadly", ask(max_epochs=ENDLESS)))
    bench.executor._on_placed = lambda placed: [
        os.kill(p.place.pid, signal.SIGKILL) for p in placed if p.key == "deadly"
    ]
    failed = bench.executor.wait()
    bench.executor._on_placed = bench.told.append
    assert failed.key == "deadly"
    assert failed.result is None
    assert failed.failure == f"its worker process ended unexpectedly, {ATTEMPTS} times"
    (after,) = bench.run(FitTask("next", ask()))
    assert_same(after.result, plain)


def test_what_an_attempt_gives_that_was_given_up_is_not_taken(
    bench: Bench, cluster: LocalCluster, connection: Cluster, long: FitResult, tmp_path: Path
) -> None:
    """A node that answers no more counts as dead, and does not know it: it works on."""
    shared = Bench(bench_dataset(bench), connection, checkpoints="shared")
    checkpoint = tmp_path / "round-1-fold-1.npz"
    request = ask(max_epochs=LONG, checkpoint=checkpoint)
    shared.executor.submit(FitTask("late", request))
    first = shared.find("late")
    node = next(n for n in cluster.nodes if n.node_id == first.place.node)
    raylet = cluster.raylet_pid(node)
    os.kill(first.place.pid, signal.SIGSTOP)
    os.kill(raylet, signal.SIGSTOP)
    try:
        second = shared.find("late", attempt=2)
        assert second.place.node != first.place.node
        outcome = shared.executor.wait()
    finally:
        for pid in (raylet, first.place.pid):
            os.kill(pid, signal.SIGCONT)
    assert_same(outcome.result, long)
    kept = checkpoint.read_bytes()
    wait_until(lambda: not Path(f"/proc/{first.place.pid}").exists())
    with pytest.raises(RuntimeError, match="nothing to wait for"):
        shared.executor.wait()
    assert checkpoint.read_bytes() == kept
    cluster.nodes.remove(node)
    shared.executor.close()


def bench_dataset(bench: Bench) -> Dataset:
    dataset = ray.get(bench.executor._data)
    assert isinstance(dataset, Dataset)
    return dataset


def test_fits_that_wait_for_room_begin_on_a_node_that_joins(
    bench: Bench, cluster: LocalCluster, plain: FitResult
) -> None:
    assert len(cluster.nodes) == 1
    bench.executor.submit(FitTask("first", ask(max_epochs=ENDLESS)))
    bench.executor.submit(FitTask("second", ask()))
    bench.find("first")
    joined = cluster.add_node()
    assert bench.find("second").place.node == joined.node_id
    outcome = bench.executor.wait()
    assert outcome.key == "second"
    assert_same(outcome.result, plain)
    bench.hear(" joins")
    os.kill(bench.find("first").place.pid, signal.SIGKILL)
    os.kill(bench.find("first", attempt=2).place.pid, signal.SIGKILL)
    assert bench.executor.wait().failure is not None


def test_a_fit_whose_node_is_removed_is_done_on_another(
    bench: Bench, cluster: LocalCluster, long: FitResult
) -> None:
    bench.executor.submit(FitTask("moved", ask(max_epochs=LONG)))
    first = bench.find("moved")
    cluster.remove_node(next(n for n in cluster.nodes if n.node_id == first.place.node))
    second = bench.find("moved", attempt=2)
    assert second.place.node != first.place.node
    assert_same(bench.executor.wait().result, long)
    bench.hear("has left")


# Nodes that are another than they must be


def test_a_node_with_other_code_is_named_and_refused(digits: Dataset, connection: Cluster) -> None:
    other = Bench(digits, connection, identify=lambda: {"the code of burnish": str(os.getpid())})
    other.executor.submit(FitTask("any", ask()))
    with pytest.raises(ClusterError, match=r"node .* cannot take part: the code of burnish is"):
        other.executor.wait()
    other.executor.close()


def test_nodes_of_different_machines_are_refused_and_a_different_driver_is_told(
    digits: Dataset, connection: Cluster
) -> None:
    # Every process passes for a machine of its own.
    mixed = Bench(digits, connection, identify=lambda: {"processor": str(os.getpid())})
    (outcome,) = mixed.run(FitTask("first", ask()))
    assert outcome.result is not None
    assert "another kind of machine (processor: " in mixed.notes[0]
    for key in ("second", "third"):
        mixed.executor.submit(FitTask(key, ask()))
    with pytest.raises(ClusterError, match="cannot take part: processor is "):
        [mixed.executor.wait() for _ in range(2)]
    mixed.executor.close()


def test_a_shared_folder_that_a_node_does_not_have_is_refused(
    digits: Dataset, connection: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.tuning.ray._find_probe", lambda task: str(tmp_path / "away.json"))
    shared = Bench(digits, connection, checkpoints="shared")
    shared.executor.submit(FitTask("any", ask(checkpoint=tmp_path / "checkpoint.npz")))
    with pytest.raises(ClusterError, match="the run folder is not there"):
        shared.executor.wait()
    shared.executor.close()


def test_resources_that_no_node_has_are_told(bench: Bench) -> None:
    bench.executor.submit(FitTask("huge", ask(), resources=Resources(cpus=64)))
    assert "a fit asks for 64 CPUs" in bench.notes[-1]
    assert "waits until one joins" in bench.notes[-1]


# Reaching a cluster


def test_a_cluster_asks_for_its_token(cluster: LocalCluster) -> None:
    code = (
        "from burnish.tuning.cluster import connect\nfrom burnish.errors import ClusterError\n"
        f"try: connect({cluster.address!r})\nexcept ClusterError as error: print(error)"
    )
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "asks for its token" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_where_nothing_answers(address: str) -> None:
    with pytest.raises(ClusterError, match=r"nothing answers at .*9: expected the address"):
        connect(address)


@pytest.mark.parametrize("address", ["cluster", "ray://", "host:port"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ClusterError, match="expected auto, host:port or ray://host:port"):
        connect(address)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"pip install 'burnish\[ray\]'"):
        connect(None)


def test_attempts_of_one_fit_write_to_files_of_their_own() -> None:
    checkpoint = Path("trials/0007/round-2-fold-1.npz")
    files = {name_attempts_file(checkpoint, token) for token in ("a1", "b2")}
    assert len(files) == 2
    # As the journal drops what a round leaves.
    assert all(f.match("trials/0007/*.npz") and f.name.startswith("round-2-") for f in files)


def test_a_cluster_that_answers_no_more_is_gone_with_a_plain_word(
    connection: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(cluster_module, "GONE_AFTER", 0.3)
    monkeypatch.setattr(connection, "_place", ("127.0.0.1", 9))
    assert connection.look() is None

    def look() -> None:
        while connection.look() is None:
            time.sleep(0.1)

    with pytest.raises(ClusterError, match="is gone: it has not answered"):
        look()
