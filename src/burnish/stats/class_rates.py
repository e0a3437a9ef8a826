"""How each class fares: confusions, precision, recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
