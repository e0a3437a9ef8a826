"""Schedules: how much training each trial gets, and which go on."""

from burnish.tuning.schedules.full import plan_full
from burnish.tuning.schedules.hyperband import plan_hyperband
from burnish.tuning.schedules.schedule import (
    Bracket,
    Promotion,
    Rung,
    Schedule,
    ScheduleOptions,
)
from burnish.tuning.schedules.schedules import SCHEDULES
from burnish.tuning.schedules.successive_halving import plan_successive_halving

__all__ = [
    "SCHEDULES",
    "Bracket",
    "Promotion",
    "Rung",
    "Schedule",
    "ScheduleOptions",
    "plan_full",
    "plan_hyperband",
    "plan_successive_halving",
]
