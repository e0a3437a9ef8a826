"""Schedules: how much training each trial gets, and which go on.

A schedule is a table of brackets, each a list of rungs: so many trials, each
trained up to so many epochs; the best of one rung go on to the next, when all of
that rung are done (synchronous rounds). A new schedule is one function here and
one line in ``SCHEDULES``.
"""

from __future__ import annotations

import math
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


def plan_full(num_trials: int, max_epochs: float) -> tuple[Bracket, ...]:
    """Every trial gets the whole budget."""
    return (Bracket((Rung(num_trials, max_epochs),)),)


def plan_hyperband(max_epochs: float, factor: int) -> tuple[Bracket, ...]:
    """Hyperband's brackets, the most exploring one first.

    Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter
    optimization", algorithm 1, with one epoch as the unit of resource; numbers of
    survivors are rounded up, so that no bracket dies out.

    Parameters
    ----------
    max_epochs
        R, the most that one trial gets; at least 1.
    factor
        eta, at least 2: one in ``factor`` goes on, with ``factor`` times the epochs.
    """
    most = _floor_log(max_epochs, factor)
    brackets = []
    for s in range(most, -1, -1):
        first = _ceil_ratio((most + 1) * factor**s, s + 1)
        brackets.append(
            Bracket(
                tuple(
                    Rung(_ceil_ratio(first, factor**i), max_epochs / factor ** (s - i))
                    for i in range(s + 1)
                )
            )
        )
    return tuple(brackets)


def plan_successive_halving(
    num_trials: int, min_epochs: float, max_epochs: float, factor: int
) -> tuple[Bracket, ...]:
    """One bracket from ``min_epochs``, which may be a fraction, to ``max_epochs``.

    Jamieson & Talwalkar 2016. Each round keeps one in ``factor``, rounded up, and
    multiplies the epochs so that the last round gets ``max_epochs``; the number of
    rounds is the nearest that ``factor`` allows. Where both ends are the same, nothing
    can be halved: there is one round.
    """
    if min_epochs == max_epochs:
        return plan_full(num_trials, max_epochs)
    rounds = max(1, round(math.log(max_epochs / min_epochs, factor)))
    growth = (max_epochs / min_epochs) ** (1 / rounds)
    rungs = []
    for i in range(rounds + 1):
        left = _ceil_ratio(num_trials, factor**i)
        epochs = max_epochs if i == rounds else float(f"{min_epochs * growth**i:.6g}")
        rungs.append(Rung(left, epochs))
    return (Bracket(tuple(rungs)),)


SCHEDULES: dict[str, Callable[..., tuple[Bracket, ...]]] = {
    "full": plan_full,
    "hyperband": plan_hyperband,
    "successive-halving": plan_successive_halving,
}


def _ceil_ratio(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _floor_log(value: float, base: int) -> int:
    """Largest whole s with base**s <= value, without the rounding of logarithms."""
    power = 0
    while base ** (power + 1) <= value * (1 + 1e-9):
        power += 1
    return power
