"""Fits on a real Ray cluster of several nodes on this machine, undisturbed and disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.errors import ClusterError
from burnish.stages.placement import describe_machine
from burnish.training import FitResult
from burnish.tuning.conformance import check_executor
from burnish.tuning.executor import ATTEMPTS, FitTask, Outcome, Resources
from burnish.tuning.ray import cluster as cluster_module
from burnish.tuning.ray.cluster import Cluster, connect
from burnish.tuning.ray.node import name_attempts_file

from ..faults import TORTURE
from .ray_cluster import LocalCluster, ray_environment
from .test_executor import ENDLESS, ask, assert_same

ray = pytest.importorskip("ray")
from burnish.tuning.ray.executor import Placed, RayExecutor  # noqa: E402

LONG = 4000.0
"""Epochs of fits that are to be met while they run: some seconds."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head node that runs no fits, and two nodes of one CPU each."""
    if not TORTURE:
        pytest.skip("by 'make torture-cluster': a cluster, whose processes and nodes end")
    with pytest.MonkeyPatch.context() as monkey, ray_environment(monkey):
        # Where fits run is asked often enough for one that takes a second.
        monkey.setattr("burnish.tuning.ray.executor.WAIT_SECONDS", 0.5)
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
    """An executor on the cluster, what it told, and what a test does to fits while they run."""

    def __init__(self, dataset: Dataset, connection: Cluster, **options: Any) -> None:
        self.notes: list[str] = []
        self.seen: dict[tuple[str, int], Placed] = {}
        self.at: dict[tuple[str, int], Callable[[Placed], None]] = {}
        given = {"num_workers": 2, "identify": describe_machine, **options}
        self.executor = RayExecutor(
            dataset, connection, on_note=self.notes.append, on_placed=self.watch, **given
        )

    def watch(self, placed: Sequence[Placed]) -> None:
        """Do what is asked for when an attempt (from 1) at a key is first known to run."""
        for one in placed:
            known = (one.key, one.attempt)
            if known not in self.seen:
                self.seen[known] = one
                if known in self.at:
                    self.at[known](one)

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


def kill(placed: Placed) -> None:
    os.kill(placed.place.pid, signal.SIGKILL)


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
    placed = bench.seen["undisturbed", 1]
    assert placed.place.node in {node.id for node in connection.nodes() if node.cpus}
    assert placed.place.host in placed.place.describe()
    assert bench.executor.placed() == []


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
    bench.at["killed", 1] = kill
    (outcome,) = bench.run(FitTask("killed", ask(max_epochs=LONG)))
    assert_same(outcome.result, long)
    assert bench.seen["killed", 2].place.pid != bench.seen["killed", 1].place.pid


def test_a_fit_that_kills_its_processes_fails_and_the_next_one_runs(
    bench: Bench, plain: FitResult
) -> None:
    bench.at |= {("deadly", attempt): kill for attempt in range(1, ATTEMPTS + 1)}
    failed, after = bench.run(FitTask("deadly", ask(max_epochs=ENDLESS)), FitTask("next", ask()))
    assert failed.result is None
    assert failed.failure == f"its worker process ended unexpectedly, {ATTEMPTS} times"
    assert_same(after.result, plain)


def test_what_an_attempt_gives_that_was_given_up_is_not_taken(
    digits: Dataset, cluster: LocalCluster, connection: Cluster, long: FitResult, tmp_path: Path
) -> None:
    """A node that answers no more counts as dead, and does not know it: it works on."""
    shared = Bench(digits, connection, checkpoints="shared")
    stopped: list[int] = []

    def stop(placed: Placed) -> None:
        node = next(n for n in cluster.nodes if n.node_id == placed.place.node)
        cluster.nodes.remove(node)
        stopped.extend([cluster.raylet_pid(node), placed.place.pid])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    shared.at["late", 1] = stop
    checkpoint = tmp_path / "round-1-fold-1.npz"
    try:
        (outcome,) = shared.run(FitTask("late", ask(max_epochs=LONG, checkpoint=checkpoint)))
        kept = checkpoint.read_bytes()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    # The first attempt's process is stopped: another has given it.
    assert_same(outcome.result, long)
    # It works on and writes to a file of its own, or has been told that nobody wants it.
    wait_until(lambda: bool([*tmp_path.glob("round-1-fold-1-*.npz")]) or not is_running(stopped[1]))
    for pid in stopped:
        kill_if_there(pid)
    assert checkpoint.read_bytes() == kept
    with pytest.raises(RuntimeError, match="nothing to wait for"):
        shared.executor.wait()
    shared.executor.close()


def kill_if_there(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_fits_that_wait_for_room_begin_on_a_node_that_joins(
    digits: Dataset, cluster: LocalCluster, connection: Cluster, long: FitResult
) -> None:
    assert len(cluster.nodes) == 1
    two = Bench(digits, connection)
    joined: list[Any] = []
    two.at["first", 1] = lambda placed: joined.append(cluster.add_node())
    two.executor.submit(FitTask("first", ask(max_epochs=ENDLESS)))
    two.executor.submit(FitTask("second", ask(max_epochs=LONG)))
    outcome = two.executor.wait()
    assert outcome.key == "second", outcome
    assert_same(outcome.result, long)
    assert two.seen["second", 1].place.node == joined[0].node_id
    two.hear(" joins: 3 nodes, 2 CPUs")
    two.executor.close()
    wait_until(lambda: not is_running(two.seen["first", 1].place.pid))


def test_a_fit_whose_node_is_removed_is_done_on_another(
    bench: Bench, cluster: LocalCluster, long: FitResult
) -> None:
    def remove(placed: Placed) -> None:
        os.kill(placed.place.pid, signal.SIGSTOP)  # Lest it ends before its node is gone.
        cluster.remove_node(next(n for n in cluster.nodes if n.node_id == placed.place.node))

    bench.at["moved", 1] = remove
    (outcome,) = bench.run(FitTask("moved", ask(max_epochs=LONG)))
    # The first attempt's process was stopped: another has given it, on the node that was left.
    assert_same(outcome.result, long)
    kill_if_there(bench.seen["moved", 1].place.pid)
    bench.hear("has left: 2 nodes, 1 CPUs")


# Nodes that are another than they must be


def test_a_node_with_other_code_is_named_and_refused(digits: Dataset, connection: Cluster) -> None:
    other = Bench(digits, connection, identify=lambda: {"the code of burnish": str(os.getpid())})
    other.executor.submit(FitTask("any", ask()))
    with pytest.raises(ClusterError, match=r"node .* cannot take part: the code of burnish is"):
        other.executor.wait()
    other.executor.close()


def test_nodes_of_different_machines_are_refused_and_a_different_driver_is_told(
    digits: Dataset, cluster: LocalCluster, connection: Cluster
) -> None:
    while len(cluster.nodes) < 2:
        cluster.add_node()
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
    monkeypatch.setattr(
        "burnish.tuning.ray.executor.find_probe", lambda task: str(tmp_path / "away.json")
    )
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
        "from burnish.tuning.ray.cluster import connect\nfrom burnish.errors import ClusterError\n"
        f"try: connect({cluster.address!r})\nexcept ClusterError as error: print(error)"
    )
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "it asks for its token" in done.stdout, done.stdout + done.stderr


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
    monkeypatch.setattr(connection, "_answered", time.monotonic())
    assert connection.look() is None

    def look() -> None:
        while connection.look() is None:
            time.sleep(0.1)

    with pytest.raises(ClusterError, match="is gone: it has not answered"):
        look()
