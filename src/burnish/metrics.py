"""The numbers that everything is judged by, from predicted probabilities."""

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


def cross_entropy(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int32],
    class_weights: NDArray[np.float32] | None = None,
) -> float:
    """Mean cross-entropy in nats; arguments as :func:`cross_entropy_per_image`.

    With ``class_weights``, shape (num_classes,), each image counts by its class.
    """
    losses = cross_entropy_per_image(probabilities, labels)
    return float(
        np.average(losses, weights=None if class_weights is None else class_weights[labels])
    )


def balance_classes(labels: NDArray[np.int32], num_classes: int) -> NDArray[np.float32]:
    """Weights under which every class counts the same: num_images / (num_classes * count).

    King & Zeng 2001, "Logistic regression in rare events data"; scikit-learn's
    ``class_weight="balanced"``.

    Returns
    -------
    Shape (num_classes,), with 0 for a class that has no image.
    """
    counts = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0).astype(np.float32)


def balanced_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Mean over the classes of the share of their images that are classified rightly.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    Classes without an image do not count.
    """
    right = probabilities.argmax(axis=1) == labels
    counts = np.bincount(labels)
    shares = np.bincount(labels, weights=right)[counts > 0] / counts[counts > 0]
    return float(shares.mean())


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Share of images whose most probable class is the true one, from 0 to 1."""
    return float((probabilities.argmax(axis=1) == labels).mean())
