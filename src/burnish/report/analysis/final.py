"""What a run folder says of the final stage: the test split, and which images are hard."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.advice.doubtful_labels import DoubtfulLabel, judge_labels
from burnish.errors import RunFolderError
from burnish.files import read_sealed
from burnish.report.analysis.evidence import Evidence, TestCalibration, calibrate_test
from burnish.report.formatting import need
from burnish.runfolder.hard_images import FILE as HARD
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import SplitPredictions, read_predictions
from burnish.runfolder.store import StageRecord
from burnish.stats.class_rates import count_confusions

_MAX_CONFUSIONS = 10

MAX_SHOWN = 24
"""Images that are shown of one kind, on the page and in a picture."""


@dataclass(frozen=True)
class HardImages:
    """Validation images that every stage got wrong, and those whose label is likely wrong.

    Attributes
    ----------
    judge
        SplitPredictions of the chosen stage.
    always_wrong, suspects
        Those with pictures among the first, by number: the class that is said of each.
    num_always_wrong, doubtful
        How many there are of the first kind; all of the second.
    images
        The pictures that the run keeps, by number.
    num_stages
        Stages that kept their predictions.
    """

    judge: SplitPredictions
    always_wrong: Mapping[int, str]
    suspects: Mapping[int, str]
    num_always_wrong: int
    doubtful: Sequence[DoubtfulLabel]
    images: Mapping[int, NDArray[Any]]
    num_stages: int


@dataclass(frozen=True)
class FinalFacts:
    """The final stage.

    Attributes
    ----------
    record
        The stage.
    source, class_names
        Names of the data and of its classes.
    chosen
        Name of the stage whose model was tested.
    test
        What its ``result.json`` says of the test.
    kept
        SplitPredictions of the test images.
    counts
        Test images by true class (row) and predicted class (column).
    wrong, wrong_images
        Test images that are wrong with the most confidence: their numbers and pixels.
    calibrated
        Its calibration; ``None`` where the chosen stage kept no predictions.
    hard
        Validation images that are hard; ``None`` likewise.
    """

    record: StageRecord
    source: str
    class_names: Sequence[str]
    chosen: str
    test: Mapping[str, Any]
    kept: SplitPredictions
    counts: NDArray[Any]
    wrong: NDArray[np.intp]
    wrong_images: NDArray[np.uint8]
    calibrated: TestCalibration | None
    hard: HardImages | None

    @property
    def wrong_probabilities(self) -> NDArray[np.floating[Any]]:
        """Of the class that was predicted, for each of the wrong images."""
        kept = self.kept
        found: NDArray[np.floating[Any]] = kept.probabilities[
            self.wrong, kept.predicted[self.wrong]
        ]
        return found

    @property
    def confusions(self) -> list[tuple[str, str, int, float]]:
        """The most frequent errors: true class, predicted class, images, share of the class."""
        counts, names = self.counts, self.class_names
        errors = [
            (int(counts[row, column]), int(row), int(column))
            for row, column in np.argwhere(counts > 0)
            if row != column
        ]
        errors.sort(key=lambda error: (-error[0], error[1], error[2]))
        return [
            (names[row], names[column], count, count / int(counts[row].sum()))
            for count, row, column in errors[:_MAX_CONFUSIONS]
        ]


def read_final(
    record: StageRecord, evidence: Evidence, data: Mapping[str, Any], source: str
) -> FinalFacts:
    """Collect the facts of the final stage.

    Parameters
    ----------
    record
        The stage.
    evidence
        Of the whole run.
    data, source
        What the run's provenance says of the data, and their name.

    Raises
    ------
    RunFolderError
        If the final stage's files are damaged or of another run.
    """
    test = need(record.result, "test", record.folder)
    kept = read_predictions(record.folder / PREDICTIONS)
    num_classes = kept.probabilities.shape[1]
    names = [str(name) for name in data.get("class_names") or range(num_classes)]
    if len(names) != num_classes:
        raise RunFolderError(
            f"{record.folder / PREDICTIONS} has {num_classes} classes, but "
            f"provenance.json names {len(names)}: the files are not of the same run. "
            "Run the study again in a new folder."
        )
    wrong = _read_arrays(record.folder / "mistakes.npz", ("index", "images"))
    chosen = str(record.result["chosen"])
    judged = evidence.stages.get(chosen)
    judge = evidence.predictions.get(chosen)
    return FinalFacts(
        record=record,
        source=source,
        class_names=names,
        chosen=chosen,
        test=test,
        kept=kept,
        counts=count_confusions(kept.labels, kept.predicted, num_classes),
        wrong=wrong["index"].astype(int),
        wrong_images=wrong["images"],
        calibrated=calibrate_test(kept, judged.temperature) if judged else None,
        hard=_find_hard(record.folder, judge, evidence, names) if judge is not None else None,
    )


def _find_hard(
    folder: Path, judge: SplitPredictions, evidence: Evidence, names: Sequence[str]
) -> HardImages:
    doubtful = judge_labels("val", judge, names)
    images: dict[int, NDArray[Any]] = {}
    if (folder / HARD).exists():
        arrays = _read_arrays(folder / HARD, ("index", "images"))
        images = dict(zip(arrays["index"].tolist(), arrays["images"], strict=True))

    def keep(said: Mapping[int, str]) -> dict[int, str]:
        return dict([(row, name) for row, name in said.items() if row in images][:MAX_SHOWN])

    return HardImages(
        judge=judge,
        always_wrong=keep({row: names[judge.predicted[row]] for row in evidence.always_wrong}),
        suspects=keep({entry.number: entry.suggested for entry in doubtful}),
        num_always_wrong=len(evidence.always_wrong),
        doubtful=doubtful,
        images=images,
        num_stages=len(evidence.stages),
    )


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(read_sealed(path)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}); the final stage writes it with the arrays "
            f"{', '.join(names)}. Run the study again: the final stage is done anew."
        ) from error
