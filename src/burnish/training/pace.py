"""The pace of a fit that must end in time: how many steps it takes, decided as it goes.

A cycle of learning rates is laid over the steps that are left; where the machine turns out slower
or faster than it seemed, it is laid over fewer or more. Each decision is kept, so that the same
fit can be done again without the clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Decision = tuple[int, int, int]
"""From which step on, how many steps the fit takes in all, and how many it takes at a time."""

MOST_STEPS_AT_A_TIME = 100
"""Steps between two looks at the progress: the cost of a call vanishes, a bar still moves."""

FIRST_STEPS = (1, 5)
"""Steps of a fit's first calls: one compiles, one is timed."""

LOOK_SECONDS = 2.0
"""Between two looks at the clock, about."""

TOLERANCE = 0.02
"""Share of the steps left by which a decision must change to be made."""

WEIGHT = 0.3
"""Of the newest measurement, in the mean that a forecast is made by."""


def locate(pace: Sequence[Decision]) -> NDArray[np.float64]:
    """Return where in its cycle each step of a fit lies, from 0 to 1, shape (num_steps,).

    Parameters
    ----------
    pace
        What was decided, in order; the last decision holds to the end.
    """
    pieces: list[NDArray[np.float64]] = []
    begun = 0.0
    for number, (first, num_steps, _) in enumerate(pace):
        last = pace[number + 1][0] if number + 1 < len(pace) else num_steps
        within = (np.arange(last - first) + 0.5) / max(1, num_steps - first)
        pieces.append(begun + (1 - begun) * within)
        begun += (1 - begun) * (last - first) / max(1, num_steps - first)
    return np.concatenate(pieces)


class Pacer:
    """Decides how many steps fit into the seconds that a fit has.

    Parameters
    ----------
    seconds
        That the fit may take, from now on.
    steps_per_epoch
        Steps between two validations.
    clock
        Returns seconds, from whenever on.
    """

    def __init__(
        self,
        seconds: float,
        steps_per_epoch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._steps_per_epoch = steps_per_epoch
        self._step_seconds: float | None = None
        self._validation_seconds: float | None = None
        self._calls = 0

    def note_steps(self, num_steps: int, seconds: float) -> None:
        """Learn what steps took; the first ones, which compile, say nothing."""
        self._calls += 1
        if self._calls > 1:
            self._step_seconds = _mix(self._step_seconds, seconds / num_steps)

    def note_validation(self, seconds: float) -> None:
        """Learn what a validation took."""
        # The first one compiles: those after it are faster, and count more.
        self._validation_seconds = _mix(self._validation_seconds, seconds)

    def decide(self, step: int, present: Decision, most: int) -> Decision:
        """Return the decision that holds from a step on: the present one, or a new one.

        Parameters
        ----------
        step
            Steps done.
        present
            What holds now.
        most
            Steps that the fit may take in all, however much time there is.
        """
        if self._step_seconds is None:
            return present
        left = self._end - self._clock()
        validation = self._validation_seconds or 0.0
        each = self._step_seconds + validation / self._steps_per_epoch
        # The last epoch's validation is still to come, wherever in it the fit ends.
        fitting = max(0, math.floor((left - validation) / each))
        num_steps = min(most, step + fitting)
        at_a_time = round(LOOK_SECONDS / self._step_seconds)
        at_a_time = max(1, min(MOST_STEPS_AT_A_TIME, at_a_time))
        planned = present[1] - step
        is_alike = abs(num_steps - step - planned) <= TOLERANCE * planned
        if is_alike and 0.5 <= at_a_time / present[2] <= 2:
            return present
        return step, num_steps, at_a_time


def _mix(before: float | None, new: float) -> float:
    return new if before is None else (1 - WEIGHT) * before + WEIGHT * new
