"""The executor that runs fits on a Ray cluster.

Which fits, in which order and how many at a time is decided here and in the tuner;
Ray finds a node for each. A fit is a Ray task, in a process that is kept for the next
and replaced after some.

The data set is put into the object store once, and every node fetches it once; so are features
that this machine has in its cache, and nodes compute none of these.
Checkpoints travel as bytes with the task and its result, so that this process alone
writes the run folder; where all nodes have that folder, they may write there instead.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.exceptions
from ray import cloudpickle

from burnish.data import Dataset, Split
from burnish.errors import ClusterError, RunFolderError, StudyError
from burnish.training import find_feature_set
from burnish.tuning.executor import FITS_PER_WORKER, FitTask, Outcome
from burnish.tuning.ray.agreement import Agreement
from burnish.tuning.ray.attempts import AttemptedTask
from burnish.tuning.ray.board import NoticeBoard
from burnish.tuning.ray.checkpoints import (
    Checkpoints,
    adopt_shared_file,
    explain_unseen,
    find_probe,
    keep_checkpoint,
    send_checkpoints,
)
from burnish.tuning.ray.cluster import Cluster
from burnish.tuning.ray.node import Attempt, Facts, FitActor, Place, Sent, make_entry
from burnish.tuning.ray.roster import Roster

if TYPE_CHECKING:
    from burnish.tuning.ray.node import Runner

WAIT_SECONDS = 1.0
"""How long results are waited for before the notice-board is looked at again."""

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
class _Running:
    """An attempt that Ray has; ``sent`` keeps what it needs in the object store."""

    token: str
    attempted: AttemptedTask
    sent: Sent


class RayExecutor:
    """Runs fits on a Ray cluster.

    Parameters
    ----------
    dataset
        What every fit trains on.
    cluster
        Where; see :func:`burnish.tuning.ray.cluster.connect`.
    num_workers
        Fits that are handed to Ray at a time. It may be more than the cluster has room
        for now: they begin when nodes join it.
    identify
        Gives the facts that nodes must have in common with this machine, and those of
        :data:`burnish.tuning.ray.agreement.ALIKE`, which they must have in common with one
        another. It is called on every node, and a function of a module that all have.
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
        self._shared = checkpoints == "shared"
        self._run = run or FitActor(deterministic)
        self._on_placed = on_placed
        self._queue: deque[AttemptedTask] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._running: dict[Any, _Running] = {}
        self._placed: dict[str, Placed] = {}
        self._identify = cloudpickle.dumps(identify)
        self._agreement = Agreement(identify(), on_note)
        entry = make_entry()
        # TensorFlow keeps the GPU that it has seen first: such a process fits once.
        self._enter = ray.remote(max_retries=0, max_calls=FITS_PER_WORKER)(entry)
        self._enter_once = ray.remote(max_retries=0, max_calls=1)(entry)
        self._roster = Roster(cluster, on_note)
        self._board = NoticeBoard()
        self._looked = 0.0
        self._dataset = dataset
        self._features: dict[str, Any] = {}
        self._starts: dict[str, Any] = {}
        with cluster.errors_explained():
            self._data = ray.put(_bring_into_memory(dataset))

    def submit(self, task: FitTask) -> None:
        """Queue a task."""
        self._roster.refuse_what_fits_nowhere(task.resources)
        self._queue.append(AttemptedTask(task))
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
        with suppress(Exception):  # The cluster is gone, and with it all that was to be stopped.
            for reference in running:
                ray.cancel(reference, force=True)
            self._board.close()
        self._board = NoticeBoard()

    def _dispatch(self) -> None:
        while self._queue and len(self._running) < self._num_workers:
            with self._cluster.errors_explained():
                self._begin(self._queue.popleft())

    def _begin(self, attempted: AttemptedTask) -> None:
        task = attempted.task
        attempt = Attempt(
            token=uuid.uuid4().hex[:12],
            task=cloudpickle.dumps(task),
            run=self._run,
            expected=dict(self._agreement.expected),
            shared=self._shared,
            probe=find_probe(task) if self._shared else None,
        )
        data = self._find_data(task)
        sent = Sent(data) if self._shared else send_checkpoints(task, data, ray.put, self._starts)
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
            self._board.find(), self._identify, cloudpickle.dumps(attempt), sent
        )
        self._running[reference] = _Running(attempt.token, attempted, sent)

    def _find_data(self, task: FitTask) -> Any:
        """Return a reference to what a task trains on: images, or features if they are here."""
        try:
            wanted = find_feature_set(task.request.model, task.request.params, self._dataset)
        except StudyError:  # What the network does not fit is for the fit to say.
            wanted = None
        if wanted is None or task.probe:
            return self._data
        if wanted.key not in self._features:
            found = wanted.find()
            if found is None:
                return self._data
            self._features[wanted.key] = ray.put(_bring_into_memory(found))
        return self._features[wanted.key]

    def _receive(self, reference: Any) -> None:
        """Take what an attempt gave."""
        running = self._forget(reference)
        try:
            with self._cluster.errors_explained():
                reply = ray.get(reference)
        except _NODE_LOST:
            self._lose(running, running.attempted.lose_node())
            return
        except ray.exceptions.OutOfMemoryError:
            crash = "was ended by Ray, for the node's memory was full"
            self._lose(running, running.attempted.crash(crash))
            return
        except ray.exceptions.WorkerCrashedError:
            self._lose(running, running.attempted.crash("ended unexpectedly"))
            return
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1]
            raise ClusterError(f"the Ray cluster could not run a fit: {said}") from error
        place = Place(*reply["place"])
        self._agreement.refuse_misfit(place, reply)
        if "refused" in reply:
            raise RunFolderError(f"on the node {place.describe()}: {reply['refused']}")
        outcome: Outcome = reply["outcome"]
        # Its checkpoint stands where it was asked for before its result is known.
        if reply["checkpoint"] is not None:
            keep_checkpoint(running.attempted.task, reply["checkpoint"])
        elif self._adopt_file(running) is False and outcome.result is not None:
            raise ClusterError(explain_unseen(place))
        self._outcomes.append(outcome)

    def _forget(self, reference: Any) -> _Running:
        """Have an attempt run no longer."""
        running = self._running.pop(reference)
        if self._placed.pop(running.token, None) is not None:
            self._on_placed(self.placed())
        return running

    def _give_up(self, reference: Any) -> None:
        """Give up an attempt whose node is gone; nobody looks at what it may still give.

        Ray says so itself where the connection breaks. To a machine that has stopped it may
        stay open for minutes.
        """
        running = self._forget(reference)
        ray.cancel(reference, force=True)
        self._lose(running, running.attempted.lose_node())

    def _lose(self, running: _Running, attempted: AttemptedTask) -> None:
        """Try the task of a lost attempt again, or let it fail."""
        self._adopt_file(running)
        failure = attempted.find_failure()
        if failure is not None:
            self._outcomes.append(Outcome(attempted.task.key, None, failure))
        else:
            self._queue.appendleft(attempted)

    def _adopt_file(self, running: _Running) -> bool | None:
        """Whether an attempt left its checkpoint in a shared folder; ``None``: there is none."""
        return adopt_shared_file(running.attempted.task, running.token) if self._shared else None

    def _look(self) -> None:
        """Look, now and then, at the notice-board and at who is in the cluster."""
        now = time.monotonic()
        if now - self._looked < WAIT_SECONDS:
            return
        self._looked = now
        self._roster.look()
        tokens = {running.token: running for running in self._running.values()}
        heard = False
        for token, place in self._board.read(WAIT_SECONDS):
            if token in tokens:
                attempted = tokens[token].attempted
                self._placed[token] = Placed(
                    attempted.task.key, attempted.next_attempt, Place(*place), time.time()
                )
                heard = True
        if heard:
            self._on_placed(self.placed())
        for reference, running in list(self._running.items()):
            placed = self._placed.get(running.token)
            if placed is not None and self._roster.has_left(placed.place.node):
                self._give_up(reference)


def _bring_into_memory(dataset: Dataset) -> Dataset:
    """Return the data set with images that lie in no file of this machine."""

    def bring(split: Split) -> Split:
        if not split.is_mapped:
            return split
        # Of a whole mapped file a view: Ray copies it into its store, and nothing else does.
        whole = split.stored.view(np.ndarray) if split.rows is None else split.images
        return Split(whole, split.labels)

    return replace(dataset, train=bring(dataset.train), val=bring(dataset.val))
