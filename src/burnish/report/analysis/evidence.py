"""What a run's predictions allow to be claimed: intervals, comparisons, calibration.

All of it is computed again from the predictions in the run folder, on the validation images,
which every stage was judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from burnish.errors import RunFolderError
from burnish.runfolder.hard_images import find_always_wrong
from burnish.runfolder.predictions import SplitPredictions, find_predictions
from burnish.runfolder.store import StageRecord
from burnish.stats.bootstrap import NUM_RESAMPLES, bca_interval, resample_means
from burnish.stats.calibration import Calibration, apply_temperature, calibrate, fit_temperature
from burnish.stats.intervals import Interval, wilson_interval
from burnish.stats.paired_tests import correct_holm, difference_from, mcnemar

NO_DIFFERENCE = "no difference shown"

LEVEL = 0.05
"""What a corrected p-value must lie below for a difference to count as shown."""


@dataclass(frozen=True)
class StageEvidence:
    """What one stage's validation predictions say of it.

    ``loss`` in nats with its 95 % bootstrap interval, ``accuracy`` with Wilson's; the
    calibration as it is and with logits divided by ``temperature``.
    """

    num_images: int
    loss: float
    loss_interval: Interval
    accuracy: float
    accuracy_interval: Interval
    calibration: Calibration
    temperature: float
    recalibrated: Calibration


@dataclass(frozen=True)
class Comparison:
    """Two stages on the same validation images; differences are second minus first.

    ``loss_p`` of the paired bootstrap and ``accuracy_p`` of McNemar's exact test are
    corrected after Holm over all tests of the page.
    """

    first: str
    second: str
    of_base: bool
    loss: float
    loss_interval: Interval
    loss_p: float
    only_first: int
    only_second: int
    accuracy_p: float

    @property
    def loss_verdict(self) -> str:
        """What may be said of the second's loss."""
        if self.loss_p >= LEVEL:
            return NO_DIFFERENCE
        return "lower loss" if self.loss < 0 else "higher loss"

    @property
    def accuracy_verdict(self) -> str:
        """What may be said of the second's accuracy."""
        if self.accuracy_p >= LEVEL:
            return NO_DIFFERENCE
        return "higher accuracy" if self.only_second > self.only_first else "lower accuracy"


@dataclass(frozen=True)
class Evidence:
    """All that the predictions of a run's stages say; ``stages`` by name, those that kept any."""

    stages: Mapping[str, StageEvidence]
    comparisons: Sequence[Comparison]
    num_tests: int
    num_resamples: int
    always_wrong: Sequence[int]
    predictions: Mapping[str, SplitPredictions]

    def against_base(self, name: str) -> Comparison | None:
        """How a stage compares with its base."""
        return next((c for c in self.comparisons if c.of_base and c.second == name), None)


def collect_evidence(fits: Sequence[StageRecord]) -> Evidence:
    """Compute the evidence of a run's stages.

    Parameters
    ----------
    fits
        Its finished stages that fitted models, in their order.

    Raises
    ------
    RunFolderError
        If predictions cannot be read, or are not all of the same images.
    """
    known = {
        record.name: found
        for record in fits
        if (found := find_predictions(record.folder)) is not None
    }
    _refuse_other_images(fits, known)
    if not known:
        return Evidence({}, (), 0, 0, (), {})
    results = {record.name: record.result for record in fits}
    bases = {name: str(results[name].get("base")) for name in known}
    pairs = list(combinations(known, 2))
    num_tests = 2 * len(pairs)
    # So many that the least p-value stays below the level when it is corrected.
    num_resamples = max(NUM_RESAMPLES, 100 * num_tests)
    names = list(known)
    losses = np.column_stack([known[name].losses for name in names])
    weights = known[names[0]].weights(_class_weight(results[names[0]]))
    means = resample_means(losses, weights, num_resamples=num_resamples)
    columns = {name: (losses[:, at], means[:, at]) for at, name in enumerate(names)}
    stages = {name: _judge_stage(known[name], *columns[name], weights) for name in names}
    differences = [
        difference_from(columns[a][0], columns[b][0], columns[a][1], columns[b][1], weights)
        for a, b in pairs
    ]
    balances = [mcnemar(known[a].right, known[b].right) for a, b in pairs]
    corrected = correct_holm([d.p_value for d in differences] + [m.p_value for m in balances])
    comparisons = [
        Comparison(
            first=a,
            second=b,
            of_base=bases[b] == a,
            loss=difference.difference,
            loss_interval=difference.interval,
            loss_p=corrected[at],
            only_first=balance.only_first,
            only_second=balance.only_second,
            accuracy_p=corrected[len(pairs) + at],
        )
        for at, ((a, b), difference, balance) in enumerate(
            zip(pairs, differences, balances, strict=True)
        )
    ]
    wrong = find_always_wrong(list(known.values()))
    return Evidence(
        stages, comparisons, num_tests, num_resamples, [int(row) for row in wrong], known
    )


@dataclass(frozen=True)
class TestCalibration:
    """Calibration on the test split, as it is and under the temperature fitted on validation."""

    calibration: Calibration
    temperature: float
    recalibrated: Calibration

    __test__ = False  # Not a test class, whatever its name begins with.


def calibrate_test(test: SplitPredictions, temperature: float) -> TestCalibration:
    """Judge the temperature of the validation split on the test split."""
    recalibrated = apply_temperature(test.probabilities, temperature)
    return TestCalibration(
        calibrate(test.probabilities, test.labels),
        temperature,
        calibrate(recalibrated, test.labels),
    )


def _judge_stage(
    predictions: SplitPredictions, losses: Any, means: Any, weights: Any
) -> StageEvidence:
    num_images, num_right = len(predictions.labels), int(predictions.right.sum())
    temperature = fit_temperature(predictions.probabilities, predictions.labels)
    recalibrated = apply_temperature(predictions.probabilities, temperature)
    return StageEvidence(
        num_images=num_images,
        loss=float(np.average(losses, weights=weights)),
        loss_interval=bca_interval(losses, means, weights),
        accuracy=num_right / num_images,
        accuracy_interval=wilson_interval(num_right, num_images),
        calibration=calibrate(predictions.probabilities, predictions.labels),
        temperature=temperature,
        recalibrated=calibrate(recalibrated, predictions.labels),
    )


def _class_weight(result: Mapping[str, Any]) -> str:
    return str(result.get("settings", {}).get("class_weight", "none"))


def _refuse_other_images(
    fits: Sequence[StageRecord], known: Mapping[str, SplitPredictions]
) -> None:
    first = next(iter(known.values()), None)
    for record in fits:
        found = known.get(record.name)
        if found is None or first is None or found is first:
            continue
        same = found.labels.shape == first.labels.shape and (found.labels == first.labels).all()
        if not same or found.probabilities.shape != first.probabilities.shape:
            raise RunFolderError(
                f"{record.folder} holds predictions of other images than the stages before it: "
                "the files are not of the same run. Run the study again in a new folder."
            )
