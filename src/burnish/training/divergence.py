"""Fits that have diverged: refused as soon as a loss or a weight is not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import TrainingError


def refuse_divergence(loss: float, epoch: float, learning_rate: object) -> None:
    """Refuse a loss of NaN or infinity.

    Raises
    ------
    TrainingError
        Names the epoch and the learning rate.
    """
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} {_explain(epoch, learning_rate)}")


def refuse_broken_weights(
    weights: Sequence[NDArray[Any]], epoch: float, learning_rate: object
) -> None:
    """Refuse NaN and infinity in weights: a loss can be finite in spite of them.

    What an activation makes of NaN is a matter of the processor; of infinity, a
    number. Such a model would be another one wherever else it runs.

    Raises
    ------
    TrainingError
        Names the epoch and the learning rate.
    """
    broken = sum(not np.isfinite(array).all() for array in weights)
    if broken:
        raise TrainingError(
            f"{broken} of {len(weights)} arrays of weights are not finite "
            f"{_explain(epoch, learning_rate)}"
        )


def _explain(epoch: float, learning_rate: object) -> str:
    return (
        f"in epoch {epoch:.2f} at learning_rate = {learning_rate}: the fit has diverged. "
        "Lower the learning rate."
    )
