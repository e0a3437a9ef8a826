"""Whether probabilities are as sure as they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.stats.bootstrap import Floats

NUM_BINS = 15
"""Bins of a calibration curve, as Guo et al. 2017 have them."""


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in (``low``, ``high``]: how many, how sure, how right."""

    low: float
    high: float
    num_images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """A reliability curve (bins without images are left out) and the expected error."""

    bins: tuple[Bin, ...]
    error: float


def calibrate(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], num_bins: int = NUM_BINS
) -> Calibration:
    """How well a classifier's confidence agrees with its accuracy.

    The confidence is the probability of the predicted class; bins are of equal width; the
    expected calibration error is the mean over all images of their bin's distance between
    confidence and accuracy (Naeini et al. 2015; C. Guo et al. 2017, "On calibration of
    modern neural networks", equation 3).

    Parameters
    ----------
    probabilities
        Shape (num_images, num_classes).
    labels
        Shape (num_images,), the true classes.
    num_bins
        Bins between 0 and 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    bins, error = [], 0.0
    for number in range(num_bins):
        inside = place == number
        count = int(inside.sum())
        if count == 0:
            continue
        sure, is_right = float(confidence[inside].mean()), float(right[inside].mean())
        bins.append(Bin(number / num_bins, (number + 1) / num_bins, count, sure, is_right))
        error += count / len(labels) * abs(sure - is_right)
    return Calibration(tuple(bins), error)


def fit_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature under which the given probabilities have the lowest cross-entropy.

    C. Guo et al. 2017, section 4.2: logits are divided by one number, which changes no
    prediction. Above 1 the model was too sure, below 1 too timid. To be fitted on images
    that are not then used to judge it. Between 0.05 and 20; without a single mistake the
    cross-entropy only falls with the temperature, and the lowest is given.

    Parameters
    ----------
    probabilities
        Shape (num_images, num_classes); their logarithms stand for the logits, from which
        they differ by a constant a row.
    labels
        Shape (num_images,), the true classes.
    """
    from scipy.optimize import minimize_scalar

    logits = _logits(probabilities)
    true = logits[np.arange(len(labels)), labels]

    def cross_entropy_at(log_temperature: float) -> float:
        cool = math.exp(-log_temperature)
        return float((_log_sum_exp(logits * cool) - true * cool).mean())

    found = minimize_scalar(
        cross_entropy_at,
        bounds=(math.log(0.05), math.log(20.0)),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return math.exp(float(found.x))


def apply_temperature(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Probabilities of the same logits divided by a temperature; same shape, rows sum to one."""
    logits = _logits(probabilities) / temperature
    return np.asarray(np.exp(logits - _log_sum_exp(logits)[:, None]))


def _logits(probabilities: NDArray[np.floating]) -> Floats:
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))


def _log_sum_exp(logits: Floats) -> Floats:
    highest = logits.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))
