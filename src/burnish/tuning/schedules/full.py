"""Schedule ``full``: every trial gets the whole budget."""

from __future__ import annotations

from burnish.tuning.schedules.schedule import (
    NUM_TRIALS,
    Bracket,
    Rung,
    Schedule,
    ScheduleOptions,
)


def plan_full(num_trials: int, max_epochs: float) -> tuple[Bracket, ...]:
    """Every trial gets the whole budget."""
    return (Bracket((Rung(num_trials, max_epochs),)),)


def _explain_misuse(options: ScheduleOptions) -> str | None:
    if options.min_epochs is not None:
        return "min_epochs belongs to successive-halving alone"
    if options.factor is not None:
        return "factor belongs to hyperband and successive-halving alone"
    return None


FULL = Schedule(
    name="full",
    plan=lambda options: plan_full(options.num_trials(NUM_TRIALS), options.max_epochs),
    explain_misuse=_explain_misuse,
)
