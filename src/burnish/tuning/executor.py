"""Executors: where fits run. Here: in warm worker processes on this machine.

A worker keeps TensorFlow and the data loaded from one fit to the next, and is
replaced after a number of fits, so that a leak cannot grow. One that dies, by a
crash, the out-of-memory killer or a person, costs its fit a second attempt and
the study nothing.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from burnish.data import Dataset, Split
from burnish.interrupts import interrupts_held

if TYPE_CHECKING:  # A worker that is told what to do loads TensorFlow when it does it.
    from burnish.training import FitRequest, FitResult, Progress
    from burnish.training.probe import FitCost

FITS_PER_WORKER = 40
"""Fits after which a worker process is replaced by a fresh one."""

ATTEMPTS = 2
"""Workers that a fit may lose before it counts as failed."""


@dataclass(frozen=True)
class Fold:
    """Which fold of the train split a fit is on; ``index`` counts from 0."""

    num_folds: int
    index: int
    seed: int


@dataclass(frozen=True)
class Resources:
    """What a fit is given on a cluster: CPUs (and as many threads), GPUs, bytes of memory."""

    cpus: int = 1
    gpus: float = 0
    memory: int = 0


@dataclass(frozen=True)
class FitTask:
    """One fit to run somewhere; ``key`` names it in its outcome.

    With ``probe``, only what the fit would cost is measured. ``resources`` say where it
    may run, not what it is; an executor that has one machine need not heed them.
    """

    key: str
    request: FitRequest
    fold: Fold | None = None
    probe: bool = False
    resources: Resources = Resources()


@dataclass(frozen=True)
class Outcome:
    """What came of a task: a result, a probe's cost, or the reason why there is neither."""

    key: str
    result: FitResult | None
    failure: str | None
    cost: FitCost | None = None


class Executor(Protocol):
    """Runs tasks, some of them at the same time."""

    def submit(self, task: FitTask) -> None:
        """Queue a task; tasks begin in the order of submission."""
        ...

    def wait(self) -> Outcome:
        """Give the next outcome, in any order; there must be a task without one."""
        ...

    def close(self) -> None:
        """Stop at once; tasks that run are lost."""
        ...


class LocalExecutor:
    """Runs fits in worker processes on this machine.

    Parameters
    ----------
    dataset
        What every fit trains on. It is written to ``scratch`` once, and mapped into
        memory by every worker, so that the machine holds it once.
    num_workers, threads
        Processes, and threads of each.
    scratch
        A folder for the data.
    deterministic
        See :func:`burnish.backend.configure`.
    on_progress
        Called with a task's key and its progress.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        num_workers: int,
        threads: int,
        scratch: Path,
        deterministic: bool = True,
        on_progress: Callable[[str, Progress], None] = lambda key, progress: None,
    ) -> None:
        self._queue: deque[tuple[FitTask, int]] = deque()
        self._num_workers = num_workers
        self._on_progress = on_progress
        self._workers: list[_Worker] = []
        self._start = _share(dataset, scratch), threads, deterministic

    def submit(self, task: FitTask) -> None:
        """Queue a task."""
        self._queue.append((task, 1))
        self._dispatch()

    def wait(self) -> Outcome:
        """Give the next outcome."""
        while True:
            self._dispatch()
            busy = {worker.connection: worker for worker in self._workers if worker.task}
            if not busy:
                raise RuntimeError("nothing to wait for: no task is queued or running")
            for ready in multiprocessing.connection.wait(list(busy)):
                outcome = self._receive(busy[ready])  # type: ignore[index]
                if outcome is not None:
                    self._dispatch()
                    return outcome

    def worker_pids(self) -> list[int]:
        """Process numbers of the workers that are alive."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def release(self) -> None:
        """Give back the memory of workers that are idle; they start again when needed."""
        for worker in [worker for worker in self._workers if not worker.task]:
            worker.kill()
            self._workers.remove(worker)

    def close(self) -> None:
        """Kill the workers: what they had finished is recorded, the rest will be done again."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def _dispatch(self) -> None:
        while self._queue:
            idle = next((worker for worker in self._workers if not worker.task), None)
            if idle is not None and idle.num_fits >= FITS_PER_WORKER:
                idle.kill()
                self._workers.remove(idle)
                idle = None
            if idle is None:
                if len(self._workers) >= self._num_workers:
                    return
                idle = _Worker(*self._start)
                self._workers.append(idle)
            task, attempt = self._queue.popleft()
            try:
                idle.begin(task, attempt)
            except OSError:  # It died while it was idle.
                idle.kill()
                self._workers.remove(idle)
                self._queue.appendleft((task, attempt))

    def _receive(self, worker: _Worker) -> Outcome | None:
        assert worker.task is not None
        task, attempt = worker.task, worker.attempt
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            worker.kill()
            self._workers.remove(worker)
            if attempt < ATTEMPTS:
                self._queue.appendleft((task, attempt + 1))
                return None
            code = worker.process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
            return Outcome(task.key, None, f"its worker process ended {how}, {attempt} times")
        if kind == "progress":
            self._on_progress(task.key, content)
            return None
        worker.task = None
        worker.num_fits += 1
        assert isinstance(content, Outcome)
        return content


class _Worker:
    """One worker process, and the task it is on."""

    def __init__(self, data: Dataset, threads: int, deterministic: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, data, threads, deterministic), daemon=True
        )
        with interrupts_held():
            self.process.start()
        theirs.close()
        self.task: FitTask | None = None
        self.attempt = 0
        self.num_fits = 0

    def begin(self, task: FitTask, attempt: int) -> None:
        self.connection.send(task)
        self.task, self.attempt = task, attempt

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _share(dataset: Dataset, scratch: Path) -> Dataset:
    """Give the dataset with its images in mapped files, which workers open for themselves."""
    scratch.mkdir(parents=True, exist_ok=True)

    def share(name: str, split: Split) -> Split:
        if split.is_mapped:
            return split
        path = scratch / f"{name}.npy"
        np.save(path, split.images)
        return Split(np.load(path, mmap_mode="r"), split.labels)

    return replace(dataset, train=share("train", dataset.train), val=share("val", dataset.val))


def _work(connection: Connection, whole: Dataset, threads: int, deterministic: bool) -> None:
    """Fit what comes through the connection, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from burnish.backend import configure
    from burnish.tuning.task import run_task

    configure(deterministic=deterministic, threads=threads)
    folds: dict[Fold, Dataset] = {}
    while True:
        try:
            task: FitTask = connection.recv()
        except (EOFError, OSError):
            return  # The driver is gone, or needs this worker no longer.
        try:
            outcome = run_task(task, whole, folds, lambda p: connection.send(("progress", p)))
            connection.send(("outcome", outcome))
        except (BrokenPipeError, ConnectionResetError):
            return  # The driver is gone; what it had not received will be done again.
