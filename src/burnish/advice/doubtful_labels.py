"""Labels that are likely wrong, by the predictions that a finished run kept.

Two splits are judged, each by a model that has not trained on it: the validation split by the
predictions of the chosen stage, the test split by those of the final stage. Nothing is read
again. The train split is not judged: the model has learned its labels, the wrong ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import SplitPredictions, read_predictions
from burnish.runfolder.store import RunFolder, StageRecord
from burnish.spreadsheet import write_table
from burnish.stats.label_errors import suspect_labels

HEADING = (
    "rank",
    "split",
    "file",
    "label",
    "suggested_label",
    "probability",
    "label_probability",
)
"""Columns of the table that `list_labels_as_csv` writes."""


@dataclass(frozen=True)
class DoubtfulLabel:
    """An image whose label a person should look at.

    Attributes
    ----------
    rank
        From 1; the label that is most likely wrong comes first.
    split, number
        ``val`` or ``test``, and the image's row in that split.
    name
        Path, or row, as the data came; ``None`` where the run has no names.
    label, suggested
        The class as given, and the class that the model gives.
    probability, label_probability
        What the model gives to the suggested class, and to the label.
    """

    rank: int
    split: str
    number: int
    name: str | None
    label: str
    suggested: str
    probability: float
    label_probability: float

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as plain data, with the columns of the table."""
        return dict(zip(HEADING, self.as_row(), strict=True))

    def as_row(self) -> tuple[int, str, str, str, str, float, float]:
        """Return the entry's cells, in the order of `HEADING`."""
        return (
            self.rank,
            self.split,
            self.name or "",
            self.label,
            self.suggested,
            round(self.probability, 6),
            round(self.label_probability, 6),
        )


@dataclass(frozen=True)
class DoubtfulLabels:
    """What a run says of its labels: the doubtful ones, and how many were judged by split."""

    labels: Sequence[DoubtfulLabel]
    num_judged: dict[str, int]

    @property
    def num_by_split(self) -> dict[str, int]:
        """Doubtful labels by split."""
        return {
            split: sum(entry.split == split for entry in self.labels) for split in self.num_judged
        }

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, for JSON."""
        return {
            "num_judged": self.num_judged,
            "num_doubtful": self.num_by_split,
            "labels": [entry.as_dict() for entry in self.labels],
        }


def find_doubtful_labels(run: RunFolder) -> DoubtfulLabels:
    """Find the labels of a finished run that are likely wrong, and name their images.

    Raises
    ------
    RunFolderError
        If the run has not finished, or does not know what its images are called.
    """
    run.check()
    records = {record.name: record for record in run.stages()}
    final = next((record for record in records.values() if record.kind == "final"), None)
    if final is None:
        raise RunFolderError(
            f"{run.path} has not finished: labels are judged by the model that its final stage "
            "chooses. Let 'burnish run' finish, then ask again."
        )
    class_names = read_json(run.path / "provenance.json")["data"]["class_names"]
    judges = {"val": records[str(final.result["chosen"])], "test": final}
    kept = {split: _read_named(record) for split, record in judges.items()}
    found = [
        entry
        for split, predictions in kept.items()
        for entry in judge_labels(split, predictions, class_names)
    ]
    found.sort(key=lambda entry: entry.label_probability - entry.probability)
    ranked = [replace(entry, rank=rank) for rank, entry in enumerate(found, start=1)]
    return DoubtfulLabels(ranked, {split: len(p.labels) for split, p in kept.items()})


def judge_labels(
    split: str, predictions: SplitPredictions, class_names: Sequence[str]
) -> list[DoubtfulLabel]:
    """List the doubtful labels of one split, the one that is most likely wrong first.

    See `burnish.stats.label_errors.suspect_labels` for what makes a label doubtful.
    """
    suspects = suspect_labels(predictions.probabilities, predictions.labels)
    return [
        DoubtfulLabel(
            rank=rank,
            split=split,
            number=row,
            name=None if predictions.names is None else predictions.names[row],
            label=class_names[predictions.labels[row]],
            suggested=class_names[suggested],
            probability=float(predictions.probabilities[row, suggested]),
            label_probability=float(predictions.probabilities[row, predictions.labels[row]]),
        )
        for rank, (row, suggested) in enumerate(
            zip(suspects.rows.tolist(), suspects.suggested.tolist(), strict=True), start=1
        )
    ]


def list_labels_as_csv(labels: Sequence[DoubtfulLabel]) -> str:
    """Return doubtful labels as a table with the columns of `HEADING`."""
    return write_table(HEADING, (entry.as_row() for entry in labels))


def _read_named(record: StageRecord) -> SplitPredictions:
    predictions = read_predictions(record.folder / PREDICTIONS)
    if predictions.names is None:
        raise RunFolderError(
            f"{record.folder / PREDICTIONS} does not say what the images are called: an older "
            "burnish wrote it, or the data's source names no images. Run the study again in a new "
            "folder ('burnish run STUDY --out runs/again')."
        )
    return predictions
