"""Two models on the same images: paired differences, tests, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.stats.bootstrap import (
    NUM_RESAMPLES,
    Floats,
    bca_interval,
    bootstrap_p_value,
    resample_means,
)
from burnish.stats.intervals import Interval


@dataclass(frozen=True)
class PairedDifference:
    """How much a mean differs over the same images: second minus first, 95 % interval, p."""

    difference: float
    interval: Interval
    p_value: float


def compare_means(
    first: Floats,
    second: Floats,
    weights: Floats | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Paired bootstrap of the difference of two means over the same images.

    Parameters
    ----------
    first, second
        Shape (num_images,) each, for example an image's loss under two models.
    weights, num_resamples, seed
        As in :func:`resample_means`.
    """
    both = np.column_stack([first, second])
    means = resample_means(both, weights, num_resamples=num_resamples, seed=seed)
    return difference_from(first, second, means[:, 0], means[:, 1], weights)


def difference_from(
    first: Floats,
    second: Floats,
    first_means: Floats,
    second_means: Floats,
    weights: Floats | None = None,
) -> PairedDifference:
    """Make a :class:`PairedDifference` of two columns that were resampled together."""
    values, means = second - first, second_means - first_means
    difference = float(np.average(values, weights=weights))
    # Two models of the same losses differ in nothing, whatever the rounding of means says.
    p_value = 1.0 if not values.any() else bootstrap_p_value(means)
    return PairedDifference(difference, bca_interval(values, means, weights), p_value)


@dataclass(frozen=True)
class McNemar:
    """Images that one of two classifiers alone gets right, and the p-value of their balance."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """Exact two-sided test of McNemar that two classifiers have the same accuracy.

    Q. McNemar, 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages"; exact by the binomial distribution with p = 1/2 over the
    images on which they disagree.

    Parameters
    ----------
    first_right, second_right
        Shape (num_images,) each: whether the image is classified rightly.
    """
    from scipy.stats import binomtest

    only_first = int(np.count_nonzero(first_right & ~second_right))
    only_second = int(np.count_nonzero(second_right & ~first_right))
    disagreed = only_first + only_second
    p_value = float(binomtest(only_first, disagreed, 0.5).pvalue) if disagreed else 1.0
    return McNemar(only_first, only_second, p_value)


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by the step-down procedure of Holm.

    S. Holm, 1979, "A simple sequentially rejective multiple test procedure": below 0.05,
    a claim among them is wrong with a probability of at most 5 % for all together.

    >>> [round(p, 2) for p in correct_holm([0.01, 0.02, 0.03, 0.04, 0.05])]
    [0.05, 0.08, 0.09, 0.09, 0.09]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = highest
    return corrected
