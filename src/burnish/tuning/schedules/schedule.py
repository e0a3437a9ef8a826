"""What a schedule is: a plug point. It says how much training each trial gets, and which go on.

A schedule makes a table of brackets, each a list of rungs: so many trials, each trained up to so
many epochs; the best of one rung go on to the next, when all of that rung are done (synchronous
rounds).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Promotion = Literal["continue", "restart"]


@dataclass(frozen=True)
class Rung:
    """One round: ``num_trials`` trials, each trained up to ``epochs`` in all."""

    num_trials: int
    epochs: float


@dataclass(frozen=True)
class Bracket:
    """Rounds that begin with trials of their own; each keeps the best of the one before."""

    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class ScheduleOptions:
    """What a stage says of its schedule; ``None`` where it says nothing.

    Attributes
    ----------
    max_epochs
        The most that one trial gets.
    trials
        As the study file has it.
    num_points
        Points of the search space; ``None`` where they cannot be counted.
    exhaustive
        Whether the sampler goes through all of them.
    min_epochs
        Of the first rung.
    factor
        One in so many goes on.
    """

    max_epochs: float
    trials: int | None = None
    num_points: int | None = None
    exhaustive: bool = False
    min_epochs: float | None = None
    factor: int | None = None

    def num_trials(self, default: int) -> int:
        """Return how many trials there are: as asked, or all of a grid; no more than points."""
        asked = self.trials or (self.num_points if self.exhaustive else None) or default
        return asked if self.num_points is None else min(asked, self.num_points)


@dataclass(frozen=True)
class Schedule:
    """A way to divide training among trials.

    Attributes
    ----------
    name
        The name by which a study file asks for it.
    plan
        From options that were not refused to brackets.
    explain_misuse
        Says which option does not suit it, beginning with a verb or an option's name; or returns
        ``None``.
    sets_trials
        Whether it decides the number of trials itself.
    """

    name: str
    plan: Callable[[ScheduleOptions], tuple[Bracket, ...]]
    explain_misuse: Callable[[ScheduleOptions], str | None]
    sets_trials: bool = False


NUM_TRIALS = 30
"""Trials of a stage that does not say how many."""

FACTOR = 3
"""One in so many goes on, where a stage does not say."""


def ceil_ratio(numerator: int, denominator: int) -> int:
    """Return the ratio, rounded up."""
    return -(-numerator // denominator)
