"""The validation images that the report shows: those every stage got wrong, and odd labels.

The report reads a run folder and nothing else, so the final stage, which has the images at
hand, keeps these few beside its result, as ``hard.npz`` (``index`` within the validation
split, ``images``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data import Split
from burnish.runfolder.predictions import SplitPredictions, find_predictions
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import write_arrays
from burnish.stats.label_errors import suspect_labels

FILE = "hard.npz"

MOST = 24
"""Images that every stage got wrong, and mistakes in the test split, that are kept."""

MOST_DOUBTFUL = 48
"""Images with a doubtful label that are kept: the report shows half of them, a sheet all."""


def find_always_wrong(stages: Sequence[SplitPredictions]) -> NDArray[np.int64]:
    """Images that every stage got wrong, those with the least for their true class first.

    Parameters
    ----------
    stages
        SplitPredictions of the same images, one for each stage.

    Returns
    -------
    Rows, shape (num_images,).
    """
    rows = np.flatnonzero(np.all([~stage.right for stage in stages], axis=0))
    true = np.mean(
        [stage.probabilities[rows, stage.labels[rows]].astype(np.float64) for stage in stages],
        axis=0,
    )
    return np.asarray(rows[np.argsort(true, kind="stable")], np.int64)


def write_hard_images(folder: RunFolder, stage_dir: Path, chosen: str, val: Split) -> None:
    """Keep the images of both kinds in the final stage's folder.

    Parameters
    ----------
    folder, stage_dir
        The run, and the folder of its final stage.
    chosen
        Stage whose predictions judge the labels.
    val
        The validation split.
    """
    known = {
        record.name: found
        for record in folder.stages()
        if record.kind != "final" and (found := find_predictions(record.folder)) is not None
    }
    if chosen not in known:
        return
    judge = known[chosen]
    rows = [
        find_always_wrong(list(known.values()))[:MOST],
        suspect_labels(judge.probabilities, judge.labels).rows[:MOST_DOUBTFUL],
    ]
    index = np.unique(np.concatenate(rows)).astype(np.int64)
    write_arrays(stage_dir / FILE, index=index, images=val.read(index))
