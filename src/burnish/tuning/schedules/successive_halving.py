"""Schedule ``successive-halving``: one bracket, whose trials are thinned out round by round."""

from __future__ import annotations

import math

from burnish.tuning.schedules.full import plan_full
from burnish.tuning.schedules.schedule import (
    FACTOR,
    NUM_TRIALS,
    Bracket,
    Rung,
    Schedule,
    ScheduleOptions,
    ceil_ratio,
)


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
        left = ceil_ratio(num_trials, factor**i)
        epochs = max_epochs if i == rounds else float(f"{min_epochs * growth**i:.6g}")
        rungs.append(Rung(left, epochs))
    return (Bracket(tuple(rungs)),)


def _plan(options: ScheduleOptions) -> tuple[Bracket, ...]:
    return plan_successive_halving(
        options.num_trials(NUM_TRIALS),
        options.min_epochs or options.max_epochs,
        options.max_epochs,
        options.factor or FACTOR,
    )


def _explain_misuse(options: ScheduleOptions) -> str | None:
    if options.min_epochs is None:
        return "successive-halving needs schedule.min_epochs"
    if options.min_epochs > options.max_epochs:
        return f"min_epochs {options.min_epochs} is above {options.max_epochs}"
    return None


SUCCESSIVE_HALVING = Schedule("successive-halving", _plan, _explain_misuse)
