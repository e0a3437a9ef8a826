"""Schedule ``hyperband``: brackets of successive halving, from many short trials to few long."""

from __future__ import annotations

from burnish.tuning.schedules.schedule import (
    FACTOR,
    Bracket,
    Rung,
    Schedule,
    ScheduleOptions,
    ceil_ratio,
)


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
        first = ceil_ratio((most + 1) * factor**s, s + 1)
        brackets.append(
            Bracket(
                tuple(
                    Rung(ceil_ratio(first, factor**i), max_epochs / factor ** (s - i))
                    for i in range(s + 1)
                )
            )
        )
    return tuple(brackets)


def _floor_log(value: float, base: int) -> int:
    """Largest whole s with base**s <= value, without the rounding of logarithms."""
    power = 0
    while base ** (power + 1) <= value * (1 + 1e-9):
        power += 1
    return power


def _explain_misuse(options: ScheduleOptions) -> str | None:
    if options.trials is not None:
        return "hyperband sets the number of trials from max_epochs and factor; take 'trials' away"
    if options.max_epochs < 1:
        return f"hyperband needs max_epochs of at least 1, not {options.max_epochs}"
    if options.min_epochs is not None:
        return "min_epochs belongs to successive-halving alone"
    return None


HYPERBAND = Schedule(
    name="hyperband",
    plan=lambda options: plan_hyperband(options.max_epochs, options.factor or FACTOR),
    explain_misuse=_explain_misuse,
    sets_trials=True,
)
