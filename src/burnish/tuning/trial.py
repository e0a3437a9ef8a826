"""Trials: what one configuration of a search gave, round by round, and where that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from burnish.training import FitResult
from burnish.tuning.samplers import Point

TrialState = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class RungResult:
    """What one trial gave in one round: the mean over its folds, or a failure's reason.

    ``epochs`` are those of the budget in all, ``seconds`` those that the round added.
    """

    epochs: float
    loss: float | None
    std: float | None
    accuracy: float | None
    seconds: float
    failure: str | None = None


@dataclass
class Trial:
    """One configuration, and what its rounds gave."""

    number: int
    bracket: int
    params: Point
    seed: int
    rungs: list[RungResult] = field(default_factory=list)
    state: TrialState = "running"

    @property
    def loss(self) -> float | None:
        """Loss of the last round; ``None`` before the first, and where it failed."""
        return self.rungs[-1].loss if self.rungs else None

    def describe(self) -> dict[str, Any]:
        """The trial as plain data, for the stage's result."""
        last = self.rungs[-1] if self.rungs else None
        return {
            "number": self.number,
            "bracket": self.bracket,
            "state": self.state,
            "params": self.params,
            "loss": self.loss,
            "std": last.std if last else None,
            "accuracy": last.accuracy if last else None,
            "epochs": last.epochs if last else 0.0,
            "seconds": sum(rung.seconds for rung in self.rungs),
            "failure": last.failure if last else None,
            "rungs": [{"epochs": rung.epochs, "loss": rung.loss} for rung in self.rungs],
        }


class Journal(Protocol):
    """Where a tuning stage's results are kept; what is there is not done again."""

    def find(self, trial: Trial, rung: int) -> RungResult | None:
        """Return the recorded result of a trial's round, if there is one."""
        ...

    def record(
        self, trial: Trial, rung: int, result: RungResult, fits: Sequence[FitResult | None]
    ) -> None:
        """Record a round's result, and the histories of its fits (one per fold)."""
        ...

    def trial_changed(self, trial: Trial) -> None:
        """A trial was proposed, has finished a round, or is over."""
        ...

    def checkpoint(self, trial: Trial, rung: int, fold: int) -> Path:
        """Where a fit keeps its checkpoint."""
        ...
