"""The executor that runs fits on a Ray cluster.

Which fits, in which order and how many at a time is decided here and in the tuner;
Ray finds a node for each. A fit is a Ray task, in a process that is kept for the next
and replaced after some. Attempts are counted here as for processes on this machine:
Ray repeats none by itself.

The data set is put into the object store once, and every node fetches it once.
Checkpoints travel as bytes with the task and its result, so that this process alone
writes the run folder; where all nodes have that folder, they may write there instead.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import ray
import ray.exceptions
import ray.util.client
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from burnish.data import Dataset, Split
from burnish.errors import ClusterError, RunFolderError
from burnish.files import write_whole
from burnish.tuning.cluster import Cluster, Node
from burnish.tuning.executor import ATTEMPTS, FITS_PER_WORKER, FitTask, Outcome
from burnish.tuning.ray_node import (
    Attempt,
    Board,
    Facts,
    Fit,
    Place,
    Sent,
    make_entry,
    name_attempts_file,
)

if TYPE_CHECKING:
    from burnish.tuning.ray_node import Runner

Checkpoints = Literal["object-store", "shared"]

NODES_LOST = 5
"""Nodes that may be lost under a fit before it counts as failed: it is hardly the fit's fault."""

WAIT_SECONDS = 1.0
"""How long results are waited for before the notice-board is looked at again."""

ALIKE = ("processor", "bfloat16")
"""Facts in which nodes must agree with one another, but not with this machine."""

_NODE_LOST = (
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
)


@dataclass(frozen=True)
class Placed:
    """A fit that runs: the task's key, which attempt it is, and where."""

    key: str
    attempt: int
    place: Place
    since: float


@dataclass(frozen=True)
class _Try:
    """A task, and what became of the attempts at it before."""

    task: FitTask
    crashes: tuple[str, ...] = ()
    nodes_lost: int = 0


@dataclass(frozen=True)
class _Running:
    """An attempt that Ray has; ``sent`` keeps what it needs in the object store."""

    token: str
    attempted: _Try
    sent: Sent


class RayExecutor:
    """Runs fits on a Ray cluster.

    Parameters
    ----------
    dataset
        What every fit trains on.
    cluster
        Where; see :func:`burnish.tuning.cluster.connect`.
    num_workers
        Fits that are handed to Ray at a time. It may be more than the cluster has room
        for now: they begin when nodes join it.
    identify
        Gives the facts that nodes must have in common with this machine, and those of
        :data:`ALIKE`, which they must have in common with one another. It is called on
        every node, and a function of a module that all have.
    deterministic
        See :func:`burnish.backend.configure`.
    checkpoints
        ``object-store``, or ``shared`` where every node has the folders that requests
        name their checkpoints in.
    run
        What runs a task on a node.
    on_placed
        Called with all fits that are known to run somewhere, when that has changed.
    on_note
        Called with what a person should know: nodes that came or went.
    """

    def __init__(
        self,
        dataset: Dataset,
        cluster: Cluster,
        *,
        num_workers: int,
        identify: Callable[[], Facts],
        deterministic: bool = True,
        checkpoints: Checkpoints = "object-store",
        run: Runner | None = None,
        on_placed: Callable[[Sequence[Placed]], None] = lambda placed: None,
        on_note: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._cluster = cluster
        self._num_workers = num_workers
        self._checkpoints = checkpoints
        self._run = run or Fit(deterministic)
        self._on_placed = on_placed
        self._on_note = on_note
        self._queue: deque[_Try] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._running: dict[Any, _Running] = {}
        self._placed: dict[str, Placed] = {}
        self._identify = cloudpickle.dumps(identify)
        self._here = identify()
        self._expected = {name: v for name, v in self._here.items() if name not in ALIKE}
        entry = make_entry()
        # TensorFlow keeps the GPU that it has seen first: such a process fits once.
        self._enter = ray.remote(max_retries=0, max_calls=FITS_PER_WORKER)(entry)
        self._enter_once = ray.remote(max_retries=0, max_calls=1)(entry)
        self._nodes = {node.id: node for node in cluster.nodes()}
        self._gone: set[str] = set()
        self._told: set[object] = set()
        self._board: Any = None
        self._looked = 0.0
        with cluster.errors_explained():
            self._data = ray.put(_bring_into_memory(dataset))

    def submit(self, task: FitTask) -> None:
        """Queue a task."""
        self._refuse_what_fits_nowhere(task)
        self._queue.append(_Try(task))
        self._dispatch()

    def wait(self) -> Outcome:
        """Return the next outcome.

        Raises
        ------
        ClusterError
            If the cluster is gone, or a node is another than it must be.
        RunFolderError
            If a node could not read or write a checkpoint.
        """
        while not self._outcomes:
            self._dispatch()
            if not self._running:
                raise RuntimeError("nothing to wait for: no task is queued or running")
            with self._cluster.errors_explained():
                ready, _ = ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS)
            for reference in ready:
                self._receive(reference)
            self._look()
        self._dispatch()
        return self._outcomes.popleft()

    def placed(self) -> list[Placed]:
        """The fits that are known to run, in the order in which they were heard of."""
        return list(self._placed.values())

    def release(self) -> None:
        """Nothing: Ray ends processes that are idle by itself."""

    def close(self) -> None:
        """Cancel what runs, at once; what it still gives is not looked at."""
        running, self._running = self._running, {}
        self._queue.clear()
        self._outcomes.clear()
        self._placed = {}
        try:
            for reference in running:
                ray.cancel(reference, force=True)
            if self._board is not None:
                ray.kill(self._board)
        except Exception:  # The cluster is gone, and with it all that was to be stopped.
            self._board = None
        self._board = None

    def _dispatch(self) -> None:
        while self._queue and len(self._running) < self._num_workers:
            with self._cluster.errors_explained():
                self._begin(self._queue.popleft())

    def _begin(self, attempted: _Try) -> None:
        task = attempted.task
        shared = self._checkpoints == "shared"
        attempt = Attempt(
            token=uuid.uuid4().hex[:12],
            task=cloudpickle.dumps(task),
            run=self._run,
            expected=self._expected,
            shared=shared,
            probe=_find_probe(task) if shared else None,
        )
        sent = Sent(self._data)
        if not shared and not task.probe:
            sent = replace(
                sent,
                checkpoint=_put_file(task.request.checkpoint),
                resume_from=_put_file(task.request.resume_from),
            )
        needs = task.resources
        # Threads are counted when a process starts: by this, one of another number is another.
        variables = {"OMP_NUM_THREADS": str(needs.cpus)}
        if not needs.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = "-1"
        enter = (self._enter_once if needs.gpus else self._enter).options(
            name=f"burnish fit {task.key}",
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory or None,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": variables},
        )
        reference = enter.remote(
            self._find_board(), self._identify, cloudpickle.dumps(attempt), sent
        )
        self._running[reference] = _Running(attempt.token, attempted, sent)

    def _receive(self, reference: Any) -> None:
        """Take what an attempt gave."""
        running = self._forget(reference)
        try:
            with self._cluster.errors_explained():
                reply = ray.get(reference)
        except _NODE_LOST:
            self._lose(running, None)
            return
        except ray.exceptions.OutOfMemoryError:
            self._lose(running, "was ended by Ray, for the node's memory was full")
            return
        except ray.exceptions.WorkerCrashedError:
            self._lose(running, "ended unexpectedly")
            return
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1]
            raise ClusterError(f"the Ray cluster could not run a fit: {said}") from error
        place = Place(*reply["place"])
        self._refuse_misfit(place, reply)
        if "refused" in reply:
            raise RunFolderError(f"on the node {place.describe()}: {reply['refused']}")
        outcome: Outcome = reply["outcome"]
        self._keep_checkpoint(running, place, outcome, reply["checkpoint"])
        self._outcomes.append(outcome)

    def _forget(self, reference: Any) -> _Running:
        """Have an attempt run no longer."""
        running = self._running.pop(reference)
        if self._placed.pop(running.token, None) is not None:
            self._on_placed(self.placed())
        return running

    def _give_up(self, reference: Any) -> None:
        """Return up an attempt whose node is gone; nobody looks at what it may still give.

        Ray says so itself where the connection breaks. To a machine that has stopped it may
        stay open for minutes.
        """
        running = self._forget(reference)
        ray.cancel(reference, force=True)
        self._lose(running, None)

    def _lose(self, running: _Running, crash: str | None) -> None:
        """Try the task of a lost attempt again, or let it fail; ``None``: its node was lost."""
        self._adopt_shared_file(running)
        before = running.attempted
        if crash is None:
            now = replace(before, nodes_lost=before.nodes_lost + 1)
            failed, how = now.nodes_lost >= NODES_LOST, f"its node was lost, {now.nodes_lost} times"
        else:
            now = replace(before, crashes=(*before.crashes, crash))
            many = len(now.crashes)
            said = ", then ".join(dict.fromkeys(now.crashes))
            failed, how = many >= ATTEMPTS, f"its worker process {said}, {many} times"
        if failed:
            self._outcomes.append(Outcome(before.task.key, None, how))
        else:
            self._queue.appendleft(now)

    def _keep_checkpoint(
        self, running: _Running, place: Place, outcome: Outcome, content: bytes | None
    ) -> None:
        """Put the checkpoint of a fit where it was asked for, before its result is known."""
        if content is not None:
            checkpoint = running.attempted.task.request.checkpoint
            assert checkpoint is not None
            write_whole(checkpoint, content)
            return
        found = self._adopt_shared_file(running)
        if found is False and outcome.result is not None:
            raise ClusterError(
                f"a checkpoint that {place.describe()} wrote is not to be seen on this machine: "
                "with --checkpoints shared the run folder must be one folder on all machines. "
                "Mount it, or leave the option out: then checkpoints travel through Ray."
            )

    def _adopt_shared_file(self, running: _Running) -> bool | None:
        """Return the file of an attempt the task's name; ``None`` where there is to be none."""
        task = running.attempted.task
        checkpoint = task.request.checkpoint
        if self._checkpoints != "shared" or task.probe or checkpoint is None:
            return None
        own = name_attempts_file(checkpoint, running.token)
        if not own.exists():
            return False
        own.replace(checkpoint)
        return True

    def _refuse_misfit(self, place: Place, reply: dict[str, Any]) -> None:
        """Refuse a node that is not as it must be, or not as the first one was."""
        misfit = reply.get("misfit")
        if misfit is None:
            for name, value in reply["facts"].items():
                if name not in self._expected:
                    self._expected[name] = value
                    if name in ALIKE and self._here.get(name) != value:
                        self._on_note(
                            f"trials are fitted by another kind of machine ({name}: {value}) than "
                            f"stages' own fits here ({self._here.get(name)})"
                        )
                elif self._expected[name] != value:
                    misfit = f"{name} is {value} there, not {self._expected[name]}"
                    break
        if misfit is not None:
            raise ClusterError(
                f"the node {place.describe()} cannot take part: {misfit}. Results would depend "
                "on where a trial runs: give all nodes the same burnish, versions and type of "
                "machine, or take this one out of the cluster."
            )

    def _refuse_what_fits_nowhere(self, task: FitTask) -> None:
        """Refuse, or say, that no node has what a fit asks for."""
        needs = task.resources
        if needs in self._told or any(node.count_fits(needs) for node in self._nodes.values()):
            return
        self._told.add(needs)
        asked = f"{needs.cpus} CPUs, {needs.gpus:g} GPUs and {needs.memory / 1e9:g} GB of memory"
        if self._cluster.started:
            raise ClusterError(
                f"a fit asks for {asked}, and this machine has no such room "
                f"({self._cluster.describe()}): lower the stage's resources"
            )
        self._on_note(
            f"a fit asks for {asked}, and no node of the cluster ({self._cluster.describe()}) "
            "has that: it waits until one joins"
        )

    def _find_board(self) -> Any:
        """The notice-board; a new one where there is none."""
        if self._board is None:
            options: dict[str, Any] = {"num_cpus": 0}
            if not ray.util.client.ray.is_connected():
                here = ray.get_runtime_context().get_node_id()
                options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=True)
            self._board = ray.remote(Board).options(**options).remote()
        return self._board

    def _look(self) -> None:
        """Look, now and then, at the notice-board and at who is in the cluster."""
        now = time.monotonic()
        if now - self._looked < WAIT_SECONDS:
            return
        self._looked = now
        nodes = self._cluster.look()
        if nodes is not None:
            self._tell_of_changes({node.id: node for node in nodes})
        tokens = {running.token: running for running in self._running.values()}
        heard = False
        for token, place in self._read_board():
            if token in tokens:
                attempted = tokens[token].attempted
                attempt = len(attempted.crashes) + attempted.nodes_lost + 1
                self._placed[token] = Placed(
                    attempted.task.key, attempt, Place(*place), time.time()
                )
                heard = True
        if heard:
            self._on_placed(self.placed())
        for reference, running in list(self._running.items()):
            placed = self._placed.get(running.token)
            if placed is not None and placed.place.node in self._gone:
                self._give_up(reference)

    def _read_board(self) -> list[tuple[str, tuple[str, str, str, int]]]:
        try:
            posts: list[tuple[str, tuple[str, str, str, int]]] = ray.get(
                self._find_board().take.remote(), timeout=WAIT_SECONDS
            )
        except ray.exceptions.GetTimeoutError:
            return []
        except ray.exceptions.RayActorError:
            self._board = None
            return []
        return posts

    def _tell_of_changes(self, nodes: dict[str, Node]) -> None:
        gone = [node for id_, node in self._nodes.items() if id_ not in nodes]
        come = [node for id_, node in nodes.items() if id_ not in self._nodes]
        self._nodes = nodes
        self._gone.update(node.id for node in gone)
        for node, what in [*((node, "has left") for node in gone), *((n, "joins") for n in come)]:
            self._on_note(f"{node.describe()} {what}: {self._cluster.describe()}")


def _bring_into_memory(dataset: Dataset) -> Dataset:
    """Return the data set with images that lie in no file of this machine."""

    def bring(split: Split) -> Split:
        if not split.is_mapped:
            return split
        # Of a whole mapped file a view: Ray copies it into its store, and nothing else does.
        whole = split.stored.view(np.ndarray) if split.rows is None else split.images
        return Split(whole, split.labels)

    return replace(dataset, train=bring(dataset.train), val=bring(dataset.val))


def _put_file(path: Path | None) -> Any:
    """Put a file's bytes into the object store, if it is there."""
    return ray.put(path.read_bytes()) if path is not None and path.exists() else None


def _find_probe(task: FitTask) -> str | None:
    """A file beside a task's checkpoint that nodes must see."""
    checkpoint = task.request.checkpoint
    if checkpoint is None:
        return None
    return next((str(path) for path in sorted(checkpoint.parent.glob("*.json"))), None)
