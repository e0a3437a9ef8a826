"""Executors: where fits run. Here: in warm worker processes on this machine.

A worker keeps TensorFlow and the data loaded from one fit to the next, and is
replaced after a number of fits, so that a leak cannot grow. One that dies, by a
crash, the out-of-memory killer or a person, or is given up (see
:mod:`burnish.tuning.watchdog`), costs its fit a second attempt and the study nothing.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from burnish.child_processes import (
    NAME,
    NEEDS_GUARD,
    UNGUARDED,
    program_left_out,
    refuse_to_begin_again,
    working_folder_left_out,
)
from burnish.data import Dataset, Split
from burnish.errors import RunFolderError, SetupError
from burnish.files import make_folder, written_whole
from burnish.interrupts import interrupts_held
from burnish.tuning.processes import worker_context
from burnish.tuning.watchdog import LOOK_EVERY, Heartbeat, UptimeClock, start_heartbeat

if TYPE_CHECKING:  # A worker that is told what to do loads TensorFlow when it does it.
    from burnish.training import FitRequest, FitResult, Progress
    from burnish.training.probe import FitCost

FITS_PER_WORKER = 40
"""Fits after which a worker process is replaced by a fresh one."""

ATTEMPTS = 2
"""Workers that a fit may lose before it counts as failed."""

KILL_SECONDS = 10.0
"""How long a killed process is waited for; one that waits for a dead disk ends when it answers."""


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


Lost = tuple[str, ...]
"""What became of the workers that were on a task before: one reason for each."""


class Executor(Protocol):
    """Runs tasks, some of them at the same time."""

    def submit(self, task: FitTask) -> None:
        """Queue a task; tasks begin in the order of submission."""
        ...

    def wait(self) -> Outcome:
        """Return the next outcome, in any order; there must be a task without one."""
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
    memory
        Bytes that a worker may take beyond the data, where the system tells; ``None``: any.
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
        memory: int | None = None,
    ) -> None:
        self._queue: deque[tuple[FitTask, Lost]] = deque()
        self._num_workers = num_workers
        self._on_progress = on_progress
        self._memory = memory
        self._workers: list[_Worker] = []
        self._inbox: queue.SimpleQueue[tuple[_Worker, str, Any]] = queue.SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._clock = UptimeClock()
        refuse_to_begin_again()
        shared = pickle.dumps(_share(dataset, scratch))
        self._start = shared, threads, deterministic, self._inbox

    def submit(self, task: FitTask) -> None:
        """Queue a task."""
        self._queue.append((task, ()))
        self._dispatch()

    def wait(self) -> Outcome:
        """Return the next outcome.

        Raises
        ------
        RunFolderError
            If a worker could not read or write a checkpoint.
        """
        while not self._outcomes:
            self._dispatch()
            if not any(worker.task for worker in self._workers):
                raise RuntimeError("nothing to wait for: no task is queued or running")
            self._receive()
            self._look()
        self._dispatch()
        return self._outcomes.popleft()

    def worker_pids(self) -> list[int]:
        """Process numbers of the workers that are alive."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def release(self) -> None:
        """Free the memory of idle workers; they start again when needed."""
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
                with interrupts_held():  # One that is not in the list would not be ended.
                    idle = _Worker(*self._start, self._memory)
                    self._workers.append(idle)
            task, lost = self._queue.popleft()
            try:
                idle.begin(task, lost)
            except OSError:  # It died while it was idle.
                idle.kill()
                self._workers.remove(idle)
                self._queue.appendleft((task, lost))

    def _receive(self) -> None:
        """Take one message of a worker, or none where none comes before the next look."""
        try:
            worker, kind, content = self._inbox.get(timeout=LOOK_EVERY)
        except queue.Empty:
            return
        if worker not in self._workers:
            return  # It was given up; whatever it still said is not heard.
        task = worker.task
        if kind == "ended":
            self._lose(worker, None)
        elif task is None:
            raise RuntimeError(f"a worker that has no task sent '{kind}'")
        elif kind == "progress":
            self._on_progress(task.key, content)
        else:
            worker.end()
            if kind == "refused":
                raise RunFolderError(content)
            self._outcomes.append(content)

    def _look(self) -> None:
        """Give up on workers that are stopped, hung or too large."""
        passed = self._clock.passed()
        if not passed:
            return
        for worker in list(self._workers):
            reason = worker.heartbeat.judge(passed) if worker.task is not None else None
            if reason is not None:
                self._lose(worker, reason)

    def _lose(self, worker: _Worker, reason: str | None) -> None:
        """Be rid of a worker; its task is tried once more, or has failed.

        ``reason`` is why it was given up, and ``None`` where it ended by itself.
        """
        worker.kill()
        self._workers.remove(worker)
        if worker.process.exitcode == UNGUARDED:
            raise SetupError(NEEDS_GUARD)
        if worker.task is None:
            return
        lost = (*worker.lost, reason or _describe_end(worker.process.exitcode))
        if len(lost) < ATTEMPTS:
            self._queue.appendleft((worker.task, lost))
            return
        how = f"{lost[0]}, {len(lost)} times" if len(set(lost)) == 1 else ", then ".join(lost)
        self._outcomes.append(Outcome(worker.task.key, None, f"its worker process {how}"))


def _describe_end(code: int | None) -> str:
    return (
        f"ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    )


class _Worker:
    """One worker process, the task it is on, and the thread that hears it.

    The thread is there because a worker may be stopped in the middle of a message: who
    reads it waits for its end, which must not be the one who looks after the workers.
    """

    def __init__(
        self,
        data: bytes,
        threads: int,
        deterministic: bool,
        inbox: queue.SimpleQueue[tuple[_Worker, str, Any]],
        memory: int | None,
    ) -> None:
        from burnish.augmentation import OPERATIONS
        from burnish.models import FAMILIES

        context = worker_context()
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, data, threads, deterministic), name=NAME, daemon=True
        )
        self.task: FitTask | None = None
        self.lost: Lost = ()
        self.num_fits = 0
        self._inbox = inbox
        self._reader = threading.Thread(target=self._hear, name="reader", daemon=True)
        # Only where a program has plug-ins, workers learn of them by importing it.
        is_scripted = FAMILIES.has_scripted() or OPERATIONS.has_scripted()
        starting = working_folder_left_out() if is_scripted else program_left_out()
        with interrupts_held():
            with starting:
                self.process.start()
            assert self.process.pid is not None
            self.heartbeat = Heartbeat(self.process.pid, memory)
            self._reader.start()
        theirs.close()

    def begin(self, task: FitTask, lost: Lost) -> None:
        """Hand a task over; ``lost`` is what became of the workers that were on it before."""
        self.heartbeat.begin()
        self.connection.send(task)
        self.task, self.lost = task, lost

    def end(self) -> None:
        """The task has ended; the worker may have another."""
        self.task = None
        self.num_fits += 1

    def kill(self) -> None:
        """End the process, also one that is stopped, and with it the thread."""
        self.process.kill()
        self.process.join(KILL_SECONDS)
        self._reader.join(KILL_SECONDS)
        if not self._reader.is_alive():  # While it reads, what it reads from stays open.
            self.connection.close()

    def _hear(self) -> None:
        while True:
            try:
                kind, content = self.connection.recv()
            except Exception:  # It is gone, or cut off in the middle of a message.
                self._inbox.put((self, "ended", None))
                return
            if kind == "heartbeat":
                self.heartbeat.heard_heartbeat()
                continue
            self.heartbeat.heard_sign()
            self._inbox.put((self, kind, content))


def _share(dataset: Dataset, scratch: Path) -> Dataset:
    """Return the dataset with its images in mapped files, which workers open for themselves."""
    make_folder(scratch)

    def share(name: str, split: Split) -> Split:
        if split.stays_in_file:
            return split
        path = scratch / f"{name}.npy"
        # A worker of a killed run may still have the file there mapped: it keeps its own.
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, split.images)
        return Split(np.load(path, mmap_mode="r"), split.labels)

    return replace(dataset, train=share("train", dataset.train), val=share("val", dataset.val))


def _work(connection: Connection, data: bytes, threads: int, deterministic: bool) -> None:
    """Fit what comes through the connection, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from burnish.backend import configure, settle_imports
    from burnish.tuning.task import Folds, run_task

    turn = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with turn:
            connection.send((kind, content))

    try:
        whole: Dataset = pickle.loads(data)
    except OSError as error:  # A driver that is gone has taken the images along.
        with suppress(OSError):
            send("refused", f"a worker cannot read the images: {error}")
        return
    # Who finds the driver gone ends at once, in the middle of a fit too.
    start_heartbeat(lambda: send("heartbeat", None), lambda: os._exit(1))
    configure(deterministic=deterministic, threads=threads)
    settle_imports()
    folds: Folds = {}
    while True:
        try:
            task: FitTask = connection.recv()
        except (EOFError, OSError):
            return  # The driver is gone, or needs this worker no longer.
        try:
            send("outcome", run_task(task, whole, folds, lambda p: send("progress", p)))
        except (BrokenPipeError, ConnectionResetError):
            return  # The driver is gone; what it had not received will be done again.
        except RunFolderError as error:  # A full disk says nothing about the fit's params.
            send("refused", str(error))
