"""The report of a run: figures and one HTML page. It reads a run folder and nothing else.

    report/index.html              the whole account in one file, pictures included
    report/figures/NAME.png .svg   the same pictures, to use elsewhere
    stages/NN-name/curve.png .svg  the training curve of each stage, beside its numbers

The same run folder gives the same bytes, so that a report can be compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.runfolder.store import RunFolder

__all__ = ["write_report"]


def write_report(run: RunFolder) -> Path:
    """Draw the figures of a run and write its page.

    A run that has not finished gets a report of what there is, which says so.

    Parameters
    ----------
    run
        The run folder. Pictures and ``report/`` are written into it; all else is only read.

    Returns
    -------
    Path
        The page, ``report/index.html``.

    Raises
    ------
    RunFolderError
        If the folder is not a run, has no finished stage yet, or cannot be read or written.
    """
    # Imported here so that the command line starts without matplotlib and jinja2.
    from burnish.report.page import write_page

    return write_page(run)
