"""Intervals of accuracies."""

from __future__ import annotations

import math

NORMAL_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


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
