"""Learning rates by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.training.request import LearningRateSchedule

WARM_UP = 0.25
"""Share of a one-cycle budget over which the learning rate rises."""


def learning_rates(
    schedule: LearningRateSchedule, peak: float, num_steps: int
) -> NDArray[np.float32]:
    """Learning rate of each step of a fit.

    Parameters
    ----------
    schedule
        ``constant``: ``peak`` throughout. ``one-cycle`` (Smith & Topin 2018, in its
        triangular form): linearly from near zero to ``peak`` over the first quarter,
        linearly down to near zero over the rest.
    peak
        The hyperparameter ``learning_rate``.
    num_steps
        Steps of the whole budget.

    Returns
    -------
    Shape (num_steps,); never zero, so that no step is wasted.
    """
    if schedule == "constant":
        return np.full(num_steps, peak, np.float32)
    position = (np.arange(num_steps) + 0.5) / num_steps
    rates = peak * np.minimum(position / WARM_UP, (1 - position) / (1 - WARM_UP))
    return rates.astype(np.float32)
