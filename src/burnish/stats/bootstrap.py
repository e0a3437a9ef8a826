"""What means of few images may be otherwise: bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.stats.intervals import Interval

NUM_RESAMPLES = 10_000
"""Bootstrap resamples: the ends of an interval then move by about a hundredth of its width."""


Floats = NDArray[np.float64]


def resample_means(
    values: Floats,
    weights: Floats | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Means of several columns over the same images, drawn again and again with replacement.

    The bootstrap (B. Efron, 1979, "Bootstrap methods: another look at the jackknife"). All
    columns are taken over the same draw, so that differences between them are paired.

    Parameters
    ----------
    values
        Shape (num_images, num_columns), for example each image's loss under each model.
    weights
        Shape (num_images,), each image's weight in the mean; all 1 when ``None``.
    num_resamples, seed
        How many draws, from which seed.

    Returns
    -------
    Shape (num_resamples, num_columns).

    Raises
    ------
    ValueError
        If there is no image.
    """
    num_images, num_columns = values.shape
    if num_images == 0:
        raise ValueError("there is no image to resample")
    given = np.ones(num_images) if weights is None else weights.astype(np.float64)
    columns = np.column_stack([values * given[:, None], given])
    generator = np.random.default_rng(seed)
    means = np.empty((num_resamples, num_columns))
    for row in range(num_resamples):
        drawn = np.bincount(generator.integers(num_images, size=num_images), minlength=num_images)
        sums = drawn @ columns
        means[row] = sums[:-1] / sums[-1] if sums[-1] else np.nan
    return means


def bca_interval(
    values: Floats, means: Floats, weights: Floats | None = None, confidence: float = 0.95
) -> Interval:
    """Interval of a (weighted) mean from its resampled means, bias-corrected and accelerated.

    B. Efron, 1987, "Better bootstrap confidence intervals", JASA 82: the percentiles are
    moved by the resampled means' bias and by the skewness of the jackknifed mean, which the
    few large losses of a good classifier make considerable.

    Parameters
    ----------
    values
        Shape (num_images,), what the mean is of.
    means
        Shape (num_resamples,), its column of :func:`resample_means`.
    weights
        Shape (num_images,), as there.
    confidence
        Share of such intervals that hold the true mean.

    Returns
    -------
    Lower and upper end; both the mean itself where all values are the same.
    """
    # The normal distribution as scipy.stats.norm computes it, which takes a second to import.
    from scipy.special import ndtr, ndtri

    usable = means[np.isfinite(means)]
    mean = float(np.average(values, weights=weights))
    if len(values) < 2 or np.ptp(values) == 0 or len(usable) == 0:
        return mean, mean
    share = (np.count_nonzero(usable < mean) + 0.5 * np.count_nonzero(usable == mean)) / len(usable)
    bias = float(ndtri(np.clip(share, 1 / (len(usable) + 1), 1 - 1 / (len(usable) + 1))))
    acceleration = _accelerate(values, weights)
    ends = []
    for z in ndtri([(1 - confidence) / 2, (1 + confidence) / 2]):
        moved = bias + z
        ends.append(float(ndtr(bias + moved / (1 - acceleration * moved))))
    low, high = np.quantile(usable, ends)
    return float(low), float(high)


def mean_interval(
    values: Floats,
    weights: Floats | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """95 % bootstrap interval of a mean, for example of a loss over the images of a split.

    See :func:`resample_means` and :func:`bca_interval`.
    """
    means = resample_means(values[:, None], weights, num_resamples=num_resamples, seed=seed)[:, 0]
    return bca_interval(values, means, weights)


def bootstrap_p_value(means: Floats) -> float:
    """Two-sided p-value of a mean difference of zero, from its resampled means.

    Twice the smaller share of resamples on either side of zero, with one added to both
    counts (A. C. Davison & D. V. Hinkley, 1997, "Bootstrap methods and their application",
    section 4.2): with 10,000 resamples it is never below 0.0002.
    """
    usable = means[np.isfinite(means)]
    below = (np.count_nonzero(usable <= 0) + 1) / (len(usable) + 1)
    above = (np.count_nonzero(usable >= 0) + 1) / (len(usable) + 1)
    return min(1.0, 2 * min(below, above))


def _accelerate(values: Floats, weights: Floats | None) -> float:
    """Efron's acceleration: a sixth of the skewness of the means without one image each."""
    given = np.ones(len(values)) if weights is None else weights
    left = given.sum() - given
    if (left <= 0).any():
        return 0.0
    without = ((values * given).sum() - values * given) / left
    off = without.mean() - without
    spread = float((off**2).sum())
    return float((off**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0
