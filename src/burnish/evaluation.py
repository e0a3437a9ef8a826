"""Judging a finished model: the one reading of the test split.

This is the only module that opens a :class:`burnish.data.SealedTest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data import SealedTest
from burnish.metrics import accuracy, balanced_accuracy, cross_entropy
from burnish.stats.intervals import wilson_interval
from burnish.training.engine import make_predictor


@dataclass(frozen=True)
class Mistakes:
    """The most confidently wrong images, most confident first.

    ``index`` (num,) counts within the split; ``images`` are uint8, shape
    (num, height, width, channels).
    """

    index: NDArray[np.int64]
    images: NDArray[np.uint8]


@dataclass(frozen=True)
class TestReading:
    """What one reading of the test split gave.

    ``labels`` int32, shape (num_images,); ``probabilities`` float32, shape
    (num_images, num_classes); ``names`` of the images, where their source has any.
    """

    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    mistakes: Mistakes
    names: Sequence[str] | None = None

    __test__ = False  # Not a test class, whatever its name begins with.

    @property
    def num_correct(self) -> int:
        """Number of images classified rightly."""
        return int((self.probabilities.argmax(axis=1) == self.labels).sum())

    def summary(self) -> dict[str, Any]:
        """Accuracy, loss (nats), and the accuracy's 95 % interval, as plain data."""
        num_images = len(self.labels)
        return {
            "accuracy": accuracy(self.probabilities, self.labels),
            "loss": cross_entropy(self.probabilities, self.labels),
            "num_images": num_images,
            "num_correct": self.num_correct,
            "balanced_accuracy": balanced_accuracy(self.probabilities, self.labels),
            "accuracy_interval": list(wilson_interval(self.num_correct, num_images)),
        }


def read_test_split(model: Any, sealed: SealedTest, num_mistakes: int = 24) -> TestReading:
    """Open the sealed test split and predict it.

    The caller must have frozen its selection, and must record the reading.

    Parameters
    ----------
    model
        An inference model: pixel values in, probabilities out.
    sealed
        The test split.
    num_mistakes
        How many of the most confidently wrong images to keep.
    """
    test = sealed.open()
    probabilities = make_predictor(model, test).predict()
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    by_confidence = np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")
    worst = wrong[by_confidence][:num_mistakes]
    mistakes = Mistakes(worst, test.read(worst))
    return TestReading(test.labels, probabilities, mistakes, test.names)
