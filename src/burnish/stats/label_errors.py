"""Labels that are likely wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
