"""The two numbers that everything is judged by, from predicted probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cross_entropy_per_image(
    probabilities: NDArray[np.float32], labels: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Negative log of the probability given to the true class, in nats.

    Parameters
    ----------
    probabilities
        Shape (num_images, num_classes), rows summing to one.
    labels
        Shape (num_images,), the true classes.

    Returns
    -------
    Shape (num_images,). A probability that underflowed to zero counts as the
    smallest normal float32, so one image costs at most 87.3.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    # A NaN stays one: a model that gives it must not be scored as a model.
    return np.asarray(-np.log(np.maximum(true, np.finfo(np.float32).tiny)))


def cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Mean cross-entropy in nats; arguments as :func:`cross_entropy_per_image`."""
    return float(cross_entropy_per_image(probabilities, labels).mean())


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Share of images whose most probable class is the true one, from 0 to 1."""
    return float((probabilities.argmax(axis=1) == labels).mean())
