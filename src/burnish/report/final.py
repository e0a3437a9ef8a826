"""The final stage of a run as the page shows it: the test split, and what is hard about it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from burnish.advice.doubtful_labels import DoubtfulLabel, judge_labels
from burnish.errors import RunFolderError
from burnish.files import read_sealed
from burnish.metrics import balanced_accuracy
from burnish.report import evidence_figures, figures
from burnish.report.evidence import Evidence, TestCalibration, calibrate_test
from burnish.report.figure_set import FigureSet
from burnish.report.formatting import need
from burnish.report.gallery import MOST, Exhibit, make_exhibit, name_image
from burnish.report.stages import StageView, calibration_titles
from burnish.runfolder.hard_images import FILE as HARD
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import read_predictions
from burnish.runfolder.store import StageRecord
from burnish.stats.class_rates import ClassRates, count_confusions, rate_classes
from burnish.stats.intervals import Interval

_MAX_CONFUSIONS = 10
_MAX_LISTED = MOST


@dataclass(frozen=True)
class HardView:
    """Validation images that every stage got wrong, and those whose label is likely wrong.

    Both galleries hold the images whose pictures the run keeps, `_MAX_LISTED` at most.
    """

    num_stages: int
    has_names: bool
    num_always_wrong: int
    always_wrong: Sequence[Exhibit]
    num_suspects: int
    suspects: Sequence[Exhibit]
    listed: Sequence[DoubtfulLabel]


@dataclass(frozen=True)
class FinalView:
    """The final stage as the page shows it."""

    chosen: str
    chosen_anchor: str
    model: str
    why: str
    accuracy: float
    interval: Interval
    loss: float
    balanced: bool
    balanced_accuracy: float
    num_images: int
    num_correct: int
    classes: Sequence[tuple[str, ClassRates]]
    confusions: Sequence[tuple[str, str, int, float]]
    confusion: str
    has_names: bool
    mistakes: Sequence[Exhibit]
    calibration: Markup | None
    calibrated: TestCalibration | None
    hard: HardView | None


def view_final(
    record: StageRecord,
    stages: Sequence[StageView],
    evidence: Evidence,
    data: Mapping[str, Any],
    source: str,
    figure_set: FigureSet,
) -> FinalView:
    """Collect what the page shows of the test split, and draw its pictures.

    Raises
    ------
    RunFolderError
        If the final stage's files are damaged or of another run.
    """
    result = record.result
    test = need(result, "test", record.folder)
    kept = read_predictions(record.folder / PREDICTIONS)
    labels, probabilities, predicted = kept.labels, kept.probabilities, kept.predicted
    num_classes = probabilities.shape[1]
    names = [str(name) for name in data.get("class_names") or range(num_classes)]
    if len(names) != num_classes:
        raise RunFolderError(
            f"{record.folder / PREDICTIONS} has {num_classes} classes, but "
            f"provenance.json names {len(names)}: the files are not of the same run. "
            "Run the study again in a new folder."
        )
    counts = count_confusions(labels, predicted, num_classes)
    confusion = figure_set.embed("confusion", figures.draw_confusion(counts, names, source=source))
    wrong = _read_arrays(record.folder / "mistakes.npz", ("index", "images"))
    index = wrong["index"].astype(int)
    said = [figures.name_probability(float(p)) for p in probabilities[index, predicted[index]]]
    if len(index):
        figure_set.keep(
            "mistakes",
            figures.draw_images(
                wrong["images"],
                [names[label] for label in labels[index]],
                [names[label] for label in predicted[index]],
                said,
                title="Wrong with the most confidence",
                source=source,
                subtitle=f"{{num}} of {int((labels != predicted).sum()):,} wrong test images; "
                "true → predicted, p = its probability",
            ),
        )
    mistakes = [
        make_exhibit(
            image, name_image(kept.names, row), f"{names[labels[row]]} → {names[predicted[row]]}", p
        )
        for image, row, p in zip(wrong["images"], index.tolist(), said, strict=True)
    ]
    chosen = str(result["chosen"])
    anchors = {stage.name: stage.anchor for stage in stages}
    low, high = test["accuracy_interval"]
    judged = evidence.stages.get(chosen)
    calibrated = calibrate_test(kept, judged.temperature) if judged else None
    return FinalView(
        chosen=chosen,
        chosen_anchor=anchors.get(chosen, "stages"),
        model=str(result.get("model", "")),
        why=_explain_choice(chosen, stages),
        accuracy=float(test["accuracy"]),
        interval=(float(low), float(high)),
        loss=float(test["loss"]),
        balanced=result.get("class_weight") == "balanced",
        balanced_accuracy=balanced_accuracy(probabilities, labels),
        num_images=int(test["num_images"]),
        num_correct=int(test["num_correct"]),
        classes=list(zip(names, rate_classes(counts), strict=True)),
        confusions=_list_confusions(counts, names),
        confusion=confusion,
        has_names=kept.names is not None,
        mistakes=mistakes,
        calibration=_draw_calibration(calibrated, source, figure_set) if calibrated else None,
        calibrated=calibrated,
        hard=_view_hard(record.folder, chosen, evidence, names, source, figure_set)
        if chosen in evidence.predictions
        else None,
    )


def _draw_calibration(calibrated: TestCalibration, source: str, figure_set: FigureSet) -> Markup:
    return figure_set.inline(
        "calibration",
        evidence_figures.draw_calibration(
            calibrated.calibration,
            calibrated.mended,
            calibrated.temperature,
            title="Calibration of the final model, test split",
            source=source,
        ),
        f"Accuracy against confidence of the final model on the test images of {source}.",
        calibration_titles(calibrated.calibration, calibrated.mended),
    )


def _view_hard(
    folder: Path,
    chosen: str,
    evidence: Evidence,
    names: Sequence[str],
    source: str,
    figure_set: FigureSet,
) -> HardView:
    judge = evidence.predictions[chosen]
    suspects = judge_labels("val", judge, names)
    kept: dict[int, NDArray[Any]] = {}
    if (folder / HARD).exists():
        arrays = _read_arrays(folder / HARD, ("index", "images"))
        kept = dict(zip(arrays["index"].tolist(), arrays["images"], strict=True))

    def show(name: str, said: Mapping[int, str], title: str, subtitle: str) -> Sequence[Exhibit]:
        shown = [row for row in said if row in kept][:_MAX_LISTED]
        if not shown:
            return ()
        called = [name_image(judge.names, row) for row in shown]
        labels = [names[judge.labels[row]] for row in shown]
        figure = figures.draw_images(
            np.stack([kept[row] for row in shown]),
            labels,
            [said[row] for row in shown],
            [figures.shorten(one, 18) for one in called],
            title=title,
            source=source,
            subtitle=subtitle,
        )
        figure_set.keep(name, figure)
        return [
            make_exhibit(kept[row], one, f"{label} → {said[row]}")
            for row, one, label in zip(shown, called, labels, strict=True)
        ]

    wrong = evidence.always_wrong
    return HardView(
        num_stages=len(evidence.stages),
        has_names=judge.names is not None,
        num_always_wrong=len(wrong),
        always_wrong=show(
            "always-wrong",
            {row: names[judge.predicted[row]] for row in wrong},
            "Wrong in every stage",
            f"{{num}} of {len(wrong):,} validation images; label → said by the final model",
        ),
        num_suspects=len(suspects),
        suspects=show(
            "suspects",
            {entry.number: entry.suggested for entry in suspects},
            "Labels that are likely wrong",
            f"{{num}} of {len(suspects):,} validation images; label → suggested label",
        ),
        listed=suspects[:_MAX_LISTED],
    )


def _explain_choice(chosen: str, stages: Sequence[StageView]) -> str:
    ranked = sorted(stages, key=lambda stage: stage.val_loss)
    if ranked[0].name != chosen:
        return f"The study's own objective chose {chosen}."
    if len(ranked) == 1:
        return f"There was one candidate, {chosen}."
    return (
        f"Of {len(ranked)} stages, {chosen} has the lowest validation loss, "
        f"{ranked[0].val_loss:.4f}; next is {ranked[1].name} with {ranked[1].val_loss:.4f}."
    )


def _list_confusions(
    counts: NDArray[Any], names: Sequence[str]
) -> list[tuple[str, str, int, float]]:
    """List the most frequent errors: true class, predicted class, images, share of the class."""
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


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(read_sealed(path)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}); the final stage writes it with the arrays "
            f"{', '.join(names)}. Run the study again: the final stage is done anew."
        ) from error
