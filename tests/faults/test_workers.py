"""Worker processes that are killed, stopped, hung or too large, under fits that go on.

Real workers, real signals. What a fault costs a study is in test_disturbed.py.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.models import default_params, find_family
from burnish.training import FitRequest, FitResult, Progress, TrainingSettings
from burnish.tuning import watchdog
from burnish.tuning.executor import FitTask, LocalExecutor, Outcome
from burnish.tuning.watchdog import can_measure_memory, measure_memory

from . import TORTURE
from .conftest import Tally

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")

WORKERS = "kill -9 and SIGSTOP of a worker, hung worker, memory limit"
RESUME = "kill -9 inside a fit"

RANDOM: dict[str, Any] = {
    "dropout_rate": 0.3,
    "rotation_range": 0.05,
    "width_shift_range": 0.1,
    "zoom_range": 0.1,
}
"""Dropout and augmentation: all of a fit's random streams."""

FITS: dict[str, dict[str, Any]] = {
    "one-cycle": {**RANDOM, "learning_rate_schedule": "one-cycle", "max_epochs": 3.5},
    "patience": {**RANDOM, "learning_rate": 0.03, "patience": 2, "max_epochs": 40.0},
    "convolutional": {
        **RANDOM,
        "model": "cnn",
        "batch_normalization": True,
        "num_filters_first_layer": 4,
        "num_filters_sub_layers": 8,
        "learning_rate_schedule": "one-cycle",
        "max_epochs": 2.0,
    },
    "plain": {"max_epochs": 3.0},
}
"""Fits of 135 steps an epoch, which tell of themselves after 100 and after all of them."""


def ask(checkpoint: Path | None = None, seed: int = 1, **changes: Any) -> FitRequest:
    """A fit on the digits; ``changes`` are of settings or params."""
    model = changes.pop("model", "fnn")
    params = {**default_params(find_family(model)), "learning_rate": 0.01}
    settings: dict[str, Any] = {"batch_size": 8, "max_epochs": 2.0, "patience": 1000}
    names = {*settings, "learning_rate_schedule"}
    settings |= {name: value for name, value in changes.items() if name in names}
    params |= {name: value for name, value in changes.items() if name not in names}
    return FitRequest(model, params, TrainingSettings(**settings), seed, checkpoint)


def describe(outcome: Outcome) -> tuple[Any, ...]:
    """All of a fit's outcome but the time that it took; weights and figures to the bit."""
    assert outcome.failure is None
    result = outcome.result
    assert result is not None
    history = tuple(replace(epoch, seconds=0.0) for epoch in result.history)
    weights = tuple(weight.tobytes() for weight in result.weights)
    return weights, replace(result, history=history, weights=(), seconds=0.0)


class Bench:
    """One worker, and what is done to it while it works."""

    def __init__(self, dataset: Dataset, scratch: Path) -> None:
        self.fault: Callable[[Progress, int], None] | None = None
        self.steps: list[int] = []
        self.lost: list[int] = []
        self.executor = LocalExecutor(
            dataset, num_workers=1, threads=1, scratch=scratch, on_progress=self._watch
        )
        self._undisturbed: dict[str, tuple[Any, ...]] = {}

    def _watch(self, key: str, progress: Progress) -> None:
        self.steps.append(progress.step)
        if self.fault is not None:
            self.fault(progress, self.pid())

    def pid(self) -> int:
        (pid,) = self.executor.worker_pids()
        return pid

    def run(self, request: FitRequest) -> Outcome:
        """Run a fit to its end, and see which workers it lost."""
        self.steps, self.lost = [], []
        self.executor.submit(FitTask("fit", request))
        begun_with = self.pid()
        outcome = self.executor.wait()
        if begun_with not in self.executor.worker_pids():
            self.lost.append(begun_with)
        self.fault = None
        return outcome

    def undisturbed(self, name: str) -> tuple[Any, ...]:
        """What a fit of ``FITS`` gives where nothing happens."""
        if name not in self._undisturbed:
            self._undisturbed[name] = describe(self.run(ask(**FITS[name])))
            assert not self.lost
        return self._undisturbed[name]


@pytest.fixture(scope="module")
def bench(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(digits, tmp_path_factory.mktemp("scratch"))
    yield bench
    bench.executor.close()


def once(when: Callable[[Progress], bool], fault: int) -> Callable[[Progress, int], None]:
    """Send a signal at the first progress for which ``when`` holds."""
    sent: list[int] = []

    def cause(progress: Progress, pid: int) -> None:
        if not sent and when(progress):
            sent.append(pid)
            os.kill(pid, fault)

    return cause


def in_mid_epoch(progress: Progress) -> bool:
    return progress.step > progress.steps_per_epoch and progress.step % progress.steps_per_epoch > 0


def between_epochs(progress: Progress) -> bool:
    return progress.last is not None and progress.step % progress.steps_per_epoch == 0


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# Exact resume inside a fit

MOMENTS = {"mid-epoch": in_mid_epoch, "between": between_epochs}


@pytest.mark.parametrize(
    ("name", "moment"),
    [("one-cycle", "mid-epoch")]
    + TORTURE
    * [
        ("patience", "between"),
        ("one-cycle", "between"),
        ("patience", "mid-epoch"),
        ("convolutional", "mid-epoch"),
        ("convolutional", "between"),
    ],
)
def test_a_fit_killed_in_or_between_epochs_ends_with_the_same_bits(
    bench: Bench, tmp_path: Path, name: str, moment: str, tally: Tally
) -> None:
    """Exact resume inside a fit; and the row of workers: kill -9."""
    expected = bench.undisturbed(name)
    bench.fault = once(MOMENTS[moment], signal.SIGKILL)
    outcome = bench.run(ask(tmp_path / "checkpoint.npz", **FITS[name]))
    assert bench.lost
    assert is_gone(bench.lost[0])
    assert describe(outcome) == expected
    # It went on from its checkpoint: it began from nothing once alone.
    assert bench.steps.count(0) == 1
    assert bench.steps != sorted(set(bench.steps))
    tally(RESUME)


@pytest.mark.skipif(not TORTURE, reason="make torture")
@pytest.mark.parametrize("seed", range(6))
def test_a_fit_killed_at_any_moment_ends_with_the_same_bits(
    bench: Bench, tmp_path: Path, seed: int, tally: Tally
) -> None:
    """Exact resume inside a fit; and the row of workers: kill -9."""
    name = sorted(FITS)[seed % len(FITS)]
    expected = bench.undisturbed(name)
    began = time.monotonic()
    bench.run(ask(**FITS[name]))
    taken = time.monotonic() - began
    pid = bench.pid()
    killer = threading.Timer(random.Random(seed).random() * taken, os.kill, (pid, signal.SIGKILL))
    killer.start()
    outcome = bench.run(ask(tmp_path / "checkpoint.npz", **FITS[name]))
    killer.join()
    bench.executor.release()  # It may have been struck when its fit had ended.
    assert describe(outcome) == expected
    tally(RESUME)


# Stopped


@pytest.mark.parametrize("moment", ["mid-epoch", *TORTURE * ["between", "at the end"]])
def test_a_stopped_workers_fit_is_done_again(
    bench: Bench, moment: str, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    expected = describe(bench.run(ask(**FITS["plain"])))  # So that there is a worker to stop.
    # At the end its result is on its way: a message that may be cut off in the middle.
    moments = {**MOMENTS, "at the end": lambda progress: progress.step == progress.num_steps}
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 6.0)
    stop = once(moments[moment], signal.SIGSTOP)
    stopped = bench.pid()

    def cause(progress: Progress, pid: int) -> None:
        stop(progress, pid)
        if pid != stopped:  # Its heir has all the time that a busy machine needs.
            watchdog.SILENT_SECONDS = 600.0

    bench.fault = cause
    outcome = bench.run(ask(**FITS["plain"]))
    assert describe(outcome) == expected
    if moment != "at the end":
        assert bench.lost
        assert is_gone(bench.lost[0])
    elif not bench.lost:  # Its result was out already.
        os.kill(bench.pid(), signal.SIGCONT)
    tally(WORKERS)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_a_fit_whose_workers_are_all_stopped_is_recorded_with_the_reason(
    bench: Bench, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    expected = bench.undisturbed("plain")
    with monkeypatch.context() as patch:
        patch.setattr(watchdog, "SILENT_SECONDS", 6.0)
        bench.fault = lambda progress, pid: os.kill(pid, signal.SIGSTOP)
        failed = bench.run(ask(**FITS["plain"]))
    assert failed.failure == "its worker process gave no sign of life for 6 seconds, 2 times"
    assert describe(bench.run(ask(**FITS["plain"]))) == expected
    tally(WORKERS, 2)


# Hung


def test_a_hung_worker_is_given_up_and_its_fit_recorded_with_the_reason(
    bench: Bench, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    expected = bench.undisturbed("plain")
    pipe = tmp_path / "checkpoint.npz"
    os.mkfifo(pipe)  # Who opens it to read waits for somebody who writes: nobody does.
    with monkeypatch.context() as patch:
        patch.setattr(watchdog, "START_SECONDS", 3.0)
        hung = bench.run(ask(pipe, **FITS["plain"]))
    assert hung.failure == "its worker process did no step for 3 seconds, 2 times"
    assert bench.lost
    assert describe(bench.run(ask(**FITS["plain"]))) == expected
    tally(WORKERS, 2)


# Too large


@pytest.mark.skipif(not TORTURE, reason="make torture")
@pytest.mark.skipif(not can_measure_memory(), reason="memory is measured on Linux alone")
def test_a_fit_that_takes_more_memory_than_allowed_is_recorded_with_the_reason(
    bench: Bench, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    expected = bench.undisturbed("plain")
    warm = measure_memory(bench.pid())
    assert warm is not None
    monkeypatch.setattr(bench.executor, "_memory", warm + 150_000_000)
    bench.executor.release()  # The next worker is held to it.
    # Its weights alone, with the optimizer's state and the gradients, take 400 MB; a step
    # of it takes long enough to be looked at.
    large = bench.run(ask(hidden_layer_size=5000, num_hidden_layers=2, max_epochs=2.0))
    assert large.failure is not None
    assert "GB of memory, and " in large.failure
    assert large.failure.count("took ") == 2 or large.failure.endswith("2 times")
    monkeypatch.undo()
    assert describe(bench.run(ask(**FITS["plain"]))) == expected
    tally(WORKERS, 2)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_the_fits_of_this_module_are_what_they_claim(bench: Bench) -> None:
    """Exact resume inside a fit: each listed thing is used by the fits above."""
    one_cycle, patience = (bench.undisturbed(name)[1] for name in ("one-cycle", "patience"))
    assert isinstance(one_cycle, FitResult)
    rates = [epoch.learning_rate for epoch in one_cycle.history]
    assert len(set(rates)) == len(rates)
    assert patience.stopped_early
    assert patience.best_epoch == patience.epochs - 2
