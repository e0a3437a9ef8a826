"""Averaged weights: an exponential average over training steps, which is validated and kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.backend import keras

WARM_UP = 10.0
"""Steps after which the average begins to forget more slowly than by a tenth."""


class WeightAverage:
    """The exponential average of all of a model's weights, statistics of batches included.

    After step t an average moves by 1 - d_t towards the weights, d_t = min(decay,
    (1 + t) / (10 + t)): so the first weights, which are random, are forgotten at once
    (``tf.train.ExponentialMovingAverage``, ``num_updates``).

    Parameters
    ----------
    model
        A built Keras model.
    decay
        At least 0, below 1.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self._decay = decay
        self._weights = model.weights
        self._averages = [
            keras.Variable(weight, dtype=weight.dtype, trainable=False) for weight in model.weights
        ]
        self._steps = keras.Variable(0.0, dtype="float32", trainable=False)
        self.variables = [self._steps, *self._averages]

    def update(self) -> None:
        """Take the weights into the average, after a step; within a compiled graph."""
        import tensorflow as tf

        self._steps.assign_add(1.0)
        step = self._steps.value
        moved = 1.0 - tf.minimum(self._decay, (1.0 + step) / (WARM_UP + step))
        for average, weight in zip(self._averages, self._weights, strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.value.handle,
                alpha=tf.cast(moved, average.dtype),
                delta=average.value - weight.value,
            )

    def get_weights(self) -> list[NDArray[Any]]:
        """Return the averages, in the order of the model's weights."""
        return [np.array(average) for average in self._averages]
