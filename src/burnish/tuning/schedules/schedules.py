"""The schedules that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from burnish.errors import StudyError
from burnish.registry import Registry
from burnish.tuning.schedules.full import FULL
from burnish.tuning.schedules.hyperband import HYPERBAND
from burnish.tuning.schedules.schedule import Schedule
from burnish.tuning.schedules.successive_halving import SUCCESSIVE_HALVING

SCHEDULES: Registry[Schedule] = Registry(
    "schedule", StudyError, (FULL, HYPERBAND, SUCCESSIVE_HALVING)
)
