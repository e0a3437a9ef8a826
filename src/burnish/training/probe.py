"""What a fit costs, from a few steps of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from burnish.backend import release_models
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.models import sum_operations
from burnish.training.dense import DenseNetwork
from burnish.training.fit import Fit
from burnish.training.request import FitRequest

STEPS, PIECES = 3, 5
"""Steps that are timed at a time, and how often: a second or two for the networks that a laptop
can tune. The median counts, so that what else the machine does for a moment does not."""

IMAGES = 1000
"""Validation images that are timed."""


@dataclass(frozen=True)
class FitCost:
    """Seconds that the parts of a fit take, and the number of its weights.

    Attributes
    ----------
    start_seconds
        Building and compiling the model, once a fit.
    step_seconds
        One training step.
    validation_seconds
        Validation, once an epoch.
    num_parameters
        Weights of the model.
    mflops
        Floating-point operations of a prediction of one image, in millions; 0 where they
        cannot be counted.
    """

    start_seconds: float
    step_seconds: float
    validation_seconds: float
    num_parameters: int
    mflops: float = 0.0

    def estimate_seconds(
        self, epochs: float, steps_per_epoch: int, validated: float = 1.0
    ) -> float:
        """Forecast a fit.

        Parameters
        ----------
        epochs, steps_per_epoch
            How long it trains.
        validated
            Images that it is validated on, as a multiple of those of the validation split.
        """
        validations = max(1.0, epochs) * validated
        training = self.step_seconds * epochs * steps_per_epoch
        return self.start_seconds + training + self.validation_seconds * validations

    def scaled(self, factor: float) -> FitCost:
        """Return the cost of a network whose steps and predictions take so many times as long."""
        return replace(
            self,
            step_seconds=self.step_seconds * factor,
            validation_seconds=self.validation_seconds * factor,
        )


def _count_mflops(model: Any) -> float:
    if isinstance(model, DenseNetwork):  # What is before its layers is not known here.
        return 0.0
    try:
        return sum_operations(model) / 1e6
    except StudyError:
        return 0.0


def measure_cost(request: FitRequest, dataset: Dataset) -> FitCost:
    """Time the start, some steps and some of the validation of a fit.

    Parameters
    ----------
    request
        The fit; its budget does not matter.
    dataset
        What it would train on.
    """
    started = time.perf_counter()
    few = dataset.val
    if len(few) > IMAGES:
        few = few.take(np.arange(IMAGES))
    probed = Fit(replace(request, checkpoint=None), replace(dataset, val=few))
    batch_size = request.settings.batch_size
    indices = np.resize(np.arange(len(dataset.train), dtype=np.int32), (STEPS, batch_size))
    transforms = None
    if probed.augmentation.is_active:
        generator = np.random.default_rng(0)
        drawn = probed.augmentation.draw(generator, indices.size, dataset.image_shape)
        transforms = drawn.reshape(*indices.shape, probed.augmentation.width)

    def train(steps: int) -> None:
        rates = np.full(steps, 1e-6, np.float32)
        drawn = None if transforms is None else transforms[:steps]
        probed.trainer.run(indices[:steps], drawn, rates)

    train(2)
    probed.predictor.predict()
    ready = time.perf_counter()
    marks = [ready]
    for _ in range(PIECES):
        train(STEPS)
        marks.append(time.perf_counter())
    trained = marks[-1]
    probed.predictor.predict()
    validated = time.perf_counter()
    cost = FitCost(
        start_seconds=ready - started,
        step_seconds=median(end - start for start, end in pairwise(marks)) / STEPS,
        validation_seconds=(validated - trained) * len(dataset.val) / len(few),
        num_parameters=probed.inference_model.count_params(),
        mflops=_count_mflops(probed.inference_model),
    )
    release_models()
    return cost
