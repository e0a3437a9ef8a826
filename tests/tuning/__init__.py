"""What the tests of tuning share: an executor that computes losses, a journal in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from burnish.space import Choice, Float, Int, SearchSpace, Value
from burnish.training import Epoch, FitResult, TrainingSettings
from burnish.tuning.executor import FitTask, Outcome
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import plan_full
from burnish.tuning.trial import RungResult, Trial
from burnish.tuning.tuner import TuningPlan

SPACE = SearchSpace(
    {
        "num_hidden_layers": Int(1, 3),
        "hidden_layer_size": Choice((32, 64, 128, 256)),
        "activation": Choice(("relu", "tanh")),
        "dropout_rate": Float(0.1, 0.5, step=0.05),
        "learning_rate": Float(1e-4, 1e-2, log=True),
    }
)
"""Every kind of range: whole numbers, ordered and unordered choices, steps, a logarithm."""

Answer = float | str
"""A loss, or the reason of a failure."""


def slope(task: FitTask) -> Answer:
    """A loss that falls with the budget and is lowest in the middle of ``SPACE``."""
    params = task.request.params
    rate, dropout = float(params["learning_rate"]), float(params["dropout_rate"])
    size, layers = int(params["hidden_layer_size"]), int(params["num_hidden_layers"])
    distance = abs(rate - 0.003) * 100 + abs(dropout - 0.2) + abs(size - 128) / 256
    fold = 0 if task.fold is None else task.fold.index
    noise = (task.request.seed % 1000) / 1e5 + fold / 50
    return 0.1 + distance + abs(layers - 2) / 10 + 1 / task.request.settings.max_epochs + noise


class Killed(BaseException):
    """Stands for the end of the process."""


class MemoryJournal:
    """Keeps results in memory, and every event in order."""

    def __init__(self) -> None:
        self.results: dict[tuple[int, int], RungResult] = {}
        self.fits: dict[tuple[int, int], int] = {}
        self.states: list[tuple[int, str, int]] = []

    def find(self, trial: Trial, rung: int) -> RungResult | None:
        return self.results.get((trial.number, rung))

    def record(
        self, trial: Trial, rung: int, result: RungResult, fits: Sequence[FitResult | None]
    ) -> None:
        assert (trial.number, rung) not in self.results, "recorded twice"
        self.results[trial.number, rung] = result
        self.fits[trial.number, rung] = len(fits)

    def trial_changed(self, trial: Trial) -> None:
        self.states.append((trial.number, trial.state, len(trial.rungs)))

    def checkpoint(self, trial: Trial, rung: int, fold: int) -> Path:
        return Path(f"trial-{trial.number}-round-{rung}-fold-{fold}")


class FakeExecutor:
    """Computes a loss instead of training; gives outcomes in any order that is asked for.

    ``order`` takes the waiting tasks by submission, latest first, or at random. With
    ``kill_after``, the process ends when it wants one more outcome than so many.
    """

    def __init__(
        self,
        answer: Callable[[FitTask], Answer] = slope,
        order: Literal["first", "last", "random"] = "first",
        *,
        seed: int = 0,
        kill_after: int | None = None,
    ) -> None:
        self._answer = answer
        self._order = order
        self._random = random.Random(seed)
        self._kill_after = kill_after
        self._waiting: list[FitTask] = []
        self.submitted: list[FitTask] = []
        self.done: list[str] = []
        self.most_waiting = 0

    def submit(self, task: FitTask) -> None:
        self.submitted.append(task)
        self._waiting.append(task)
        self.most_waiting = max(self.most_waiting, len(self._waiting))

    def wait(self) -> Outcome:
        if len(self.done) == self._kill_after:
            raise Killed
        assert self._waiting, "nothing to wait for"
        index = {
            "first": 0,
            "last": len(self._waiting) - 1,
            "random": self._random.randrange(len(self._waiting)),
        }[self._order]
        task = self._waiting.pop(index)
        self.done.append(task.key)
        answer = self._answer(task)
        if isinstance(answer, str):
            return Outcome(task.key, None, answer)
        return Outcome(task.key, make_result(answer, task.request.settings.max_epochs), None)

    def close(self) -> None:
        self._waiting.clear()


def make_result(loss: float, epochs: float) -> FitResult:
    """Return the result of a fit that ended with this validation loss."""
    epoch = Epoch(epochs, loss, 0.5, loss, 1 - loss / 10, 0.001, 0.25)
    return FitResult((epoch,), epochs, loss, 1 - loss / 10, 0.25, 10, "float32", False, ())


def make_plan(**changes: Any) -> TuningPlan:
    """Return a plan of eight random trials, changed as asked."""
    plan = TuningPlan(
        model="fnn",
        fixed={"l2_strength": 0.0},
        settings=TrainingSettings(batch_size=32, max_epochs=50, patience=5),
        space=SPACE,
        sampler=find_sampler("random"),
        brackets=plan_full(8, 4.0),
        promotion="continue",
        num_folds=1,
        first=(),
        concurrency=2,
        derive_seed=lambda trial: 1000 + trial,
        folds_seed=999,
    )
    return replace(plan, **changes)


def describe(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return trials as plain data, to be compared."""
    return [trial.describe() for trial in trials]


def points_of(trials: Sequence[Trial]) -> list[Mapping[str, Value]]:
    """Return what was proposed, in order."""
    return [trial.params for trial in trials]
