"""``burnish.compare``: runs side by side on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from burnish.api.result import Run
from burnish.runfolder.store import RunFolder


def compare(
    runs: Sequence[Run | str | os.PathLike[str]], *, out: str | os.PathLike[str] = "compare.html"
) -> Path:
    """Write a page that compares runs: curves, params, and paired tests on the same images.

    Parameters
    ----------
    runs
        Two runs or more, or their folders.
    out
        The page to write.

    Raises
    ------
    RunFolderError
        If there are fewer than two, or one has no finished stage.
    """
    from burnish.report.compare import compare_runs

    folders = [RunFolder(run.path if isinstance(run, Run) else Path(run)) for run in runs]
    return compare_runs(folders, Path(out))
