"""What can be claimed from so many images: intervals, paired tests, calibration.

Plain arrays in, plain numbers out. Everything random takes a seed, so that a report that is
written twice says the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""

NUM_RESAMPLES = 10_000
"""Bootstrap resamples: the ends of an interval then move by about a hundredth of its width."""

NUM_BINS = 15
"""Bins of a calibration curve, as Guo et al. 2017 have them."""

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def wilson_interval(num_correct: int, num_images: int) -> Interval:
    """95 % confidence interval of an accuracy.

    Wilson's score interval (E. B. Wilson, 1927, "Probable inference, the law of
    succession, and statistical inference", JASA 22): it stays within [0, 1] and
    holds near 100 %, where the usual normal interval does not.

    Raises
    ------
    ValueError
        If there is no image, or more correct ones than images.

    >>> [round(end, 4) for end in wilson_interval(9946, 10000)]
    [0.993, 0.9959]
    """
    if not 0 <= num_correct <= num_images or num_images == 0:
        raise ValueError(f"{num_correct} of {num_images} is no proportion")
    z2 = NORMAL_95**2
    share = num_correct / num_images
    centre = share + z2 / (2 * num_images)
    spread = NORMAL_95 * math.sqrt(share * (1 - share) / num_images + z2 / (4 * num_images**2))
    scale = 1 + z2 / num_images
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


# ---- bootstrap


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
    from scipy.stats import norm

    usable = means[np.isfinite(means)]
    mean = float(np.average(values, weights=weights))
    if len(values) < 2 or np.ptp(values) == 0 or len(usable) == 0:
        return mean, mean
    share = (np.count_nonzero(usable < mean) + 0.5 * np.count_nonzero(usable == mean)) / len(usable)
    bias = float(norm.ppf(np.clip(share, 1 / (len(usable) + 1), 1 - 1 / (len(usable) + 1))))
    acceleration = _accelerate(values, weights)
    ends = []
    for z in norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2]):
        moved = bias + z
        ends.append(float(norm.cdf(bias + moved / (1 - acceleration * moved))))
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


# ---- tests


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


# ---- calibration


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


# ---- classes and labels


@dataclass(frozen=True)
class ClassRates:
    """How a classifier does on one class; a rate without images to count is ``None``."""

    num_images: int
    num_wrong: int
    precision: float | None
    recall: float | None
    f1: float | None


def count_confusions(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Images by true class (row) and predicted class (column)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def rate_classes(counts: NDArray[np.int64]) -> list[ClassRates]:
    """Precision, recall and F1 of each class, from what :func:`count_confusions` gives.

    C. J. van Rijsbergen, 1979, "Information retrieval", chapter 7.
    """
    rates = []
    for number, row in enumerate(counts):
        right, present, given = int(row[number]), int(row.sum()), int(counts[:, number].sum())
        rates.append(
            ClassRates(
                num_images=present,
                num_wrong=present - right,
                precision=right / given if given else None,
                recall=right / present if present else None,
                f1=2 * right / (present + given) if present + given else None,
            )
        )
    return rates


@dataclass(frozen=True, eq=False)
class SuspectLabels:
    """Images whose label is likely wrong, most likely first.

    ``rows`` int64 (num_suspects,), which images; ``suggested`` int64 (num_suspects,), the class
    that each belongs to instead.
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def suspect_labels(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> SuspectLabels:
    """Find the images whose label is likely wrong.

    Confident learning (C. Northcutt et al. 2021, "Confident learning: estimating uncertainty
    in dataset labels", sections 3.1 and 3.2): another class than the label has a probability
    of at least that class's mean over the images so labelled; ranked by how far it lies
    above the label's. The images must not have been trained on.

    Parameters
    ----------
    probabilities
        Shape (num_images, num_classes).
    labels
        Shape (num_images,), the classes as given.
    """
    num_classes = probabilities.shape[1]
    # A class without an image has no mean; nothing is sure enough to belong to it.
    usual = np.full(num_classes, np.inf)
    for number in np.unique(labels):
        usual[number] = probabilities[labels == number, number].mean()
    rows = np.arange(len(labels))
    sure = np.where(probabilities >= usual, probabilities, 0.0)
    other = sure.argmax(axis=1)
    suspects = np.flatnonzero((sure.max(axis=1) > 0) & (other != labels))
    margin = (probabilities[rows, other] - probabilities[rows, labels])[suspects]
    keep = margin > 0
    found = suspects[keep][np.argsort(-margin[keep], kind="stable")].astype(np.int64)
    return SuspectLabels(found, other[found].astype(np.int64))
