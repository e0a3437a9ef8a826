"""The report's lists of images as CSV, whole, beside the page that shows the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from burnish.advice.doubtful_labels import judge_labels, list_labels_as_csv
from burnish.files import read_json, write_whole
from burnish.report.formatting import need
from burnish.runfolder.hard_images import find_always_wrong
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import SplitPredictions, find_predictions, read_predictions
from burnish.runfolder.store import RunFolder
from burnish.spreadsheet import write_table

TABLES = ("mistakes.csv", "always-wrong.csv", "doubtful-labels.csv")
"""Wrong test images; validation images that every stage got wrong, or whose label is doubtful."""

COLUMNS = ("file", "number", "label", "predicted", "probability", "label_probability")
"""Columns of the first two; ``number`` is the image's row in its split, from 0."""


def write_tables(run: RunFolder) -> None:
    """Write the lists of a finished run into its report; remove those of an earlier one.

    Raises
    ------
    RunFolderError
        If predictions are damaged, or the folder cannot be written.
    """
    tables = _make_tables(run)
    for name in TABLES:
        if name in tables:
            write_whole(run.report / name, tables[name].encode())
        else:
            (run.report / name).unlink(missing_ok=True)


def list_mistakes(run: RunFolder) -> list[list[str | float]]:
    """Return the wrong test images, those with the most confidence first, by `COLUMNS`.

    There are none before the final stage.

    Raises
    ------
    RunFolderError
        If predictions are damaged.
    """
    final = next((record for record in run.stages() if record.kind == "final"), None)
    if final is None:
        return []
    test = read_predictions(final.folder / PREDICTIONS)
    wrong = np.flatnonzero(~test.right)
    confidence = test.probabilities[wrong, test.predicted[wrong]]
    order = wrong[np.argsort(-confidence, kind="stable")].tolist()
    return list(_list_rows(test, order, _read_class_names(run, test)))


def _read_class_names(run: RunFolder, known: SplitPredictions) -> Sequence[str]:
    data = need(read_json(run.path / "provenance.json"), "data", run.path / "provenance.json")
    names: Sequence[str] | None = data.get("class_names")
    return names or [str(number) for number in range(known.probabilities.shape[1])]


def _make_tables(run: RunFolder) -> dict[str, str]:
    records = run.stages()
    final = next((record for record in records if record.kind == "final"), None)
    if final is None:
        return {}
    tables = {TABLES[0]: write_table(COLUMNS, list_mistakes(run))}
    known = {
        record.name: found
        for record in records
        if record.kind != "final" and (found := find_predictions(record.folder)) is not None
    }
    judge = known.get(str(final.result["chosen"]))
    if judge is not None:
        class_names = _read_class_names(run, judge)
        rows = find_always_wrong(list(known.values())).tolist()
        tables[TABLES[1]] = write_table(COLUMNS, _list_rows(judge, rows, class_names))
        tables[TABLES[2]] = list_labels_as_csv(judge_labels("val", judge, class_names))
    return tables


def _list_rows(
    predictions: SplitPredictions, rows: Sequence[int], class_names: Sequence[str]
) -> Iterator[list[str | float]]:
    for row in rows:
        label, predicted = int(predictions.labels[row]), int(predictions.predicted[row])
        yield [
            "" if predictions.names is None else predictions.names[row],
            row,
            class_names[label],
            class_names[predicted],
            round(float(predictions.probabilities[row, predicted]), 6),
            round(float(predictions.probabilities[row, label]), 6),
        ]
