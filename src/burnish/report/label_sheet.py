"""Doubtful labels as a page of pictures, to look at beside the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from burnish.advice.doubtful_labels import DoubtfulLabel
from burnish.report.templating import templates
from burnish.report.views.gallery import make_exhibit
from burnish.runfolder.hard_images import FILE as HARD
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_arrays


def render_label_sheet(run: RunFolder, labels: Sequence[DoubtfulLabel]) -> tuple[str, int]:
    """Return a page with those doubtful labels whose pictures the run keeps, and how many.

    A run keeps the pictures of the validation labels that are most doubtful, and of the test
    images that are wrong with the most confidence.

    Parameters
    ----------
    run
        A finished run.
    labels
        Its doubtful labels, in the order of their ranks.

    Raises
    ------
    RunFolderError
        If the pictures are damaged.
    """
    final = next(record for record in run.stages() if record.kind == "final")
    kept = {"val": _read(final.folder / HARD), "test": _read(final.folder / "mistakes.npz")}
    exhibits = [
        make_exhibit(
            kept[entry.split][entry.number],
            entry.name or f"no. {entry.number}",
            f"{entry.rank}. {entry.label} → {entry.suggested}",
            f"p = {entry.probability:.3f}, label {entry.label_probability:.3f}; {entry.split}",
        )
        for entry in labels
        if entry.number in kept[entry.split]
    ]
    page = (
        templates()
        .get_template("labels.html")
        .render(run=run.path.name, num_labels=len(labels), exhibits=exhibits)
    )
    return page, len(exhibits)


def _read(path: Path) -> dict[int, NDArray[Any]]:
    if not path.exists():
        return {}
    arrays = read_arrays(path)
    return dict(zip(arrays["index"].tolist(), arrays["images"], strict=True))
