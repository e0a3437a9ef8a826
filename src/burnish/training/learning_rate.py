"""Learning rates by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from burnish.training.pace import Decision, locate
from burnish.training.request import LearningRateSchedule

WARM_UP = 0.25
"""Share of a one-cycle budget over which the learning rate rises."""


def learning_rates(
    schedule: LearningRateSchedule, peak: float, pace: Sequence[Decision]
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
    pace
        How many steps the fit takes, as it was decided; see :func:`burnish.training.pace.locate`.

    Returns
    -------
    Of each step from the first decision's on; never zero, so that no step is wasted.
    """
    position = locate(pace)
    if schedule == "constant":
        return np.full(len(position), peak, np.float32)
    rates = peak * np.minimum(position / WARM_UP, (1 - position) / (1 - WARM_UP))
    return rates.astype(np.float32)
