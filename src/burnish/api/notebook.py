"""How a run shows itself: one line in a program; summary, stages and pictures in a notebook."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError, show_name
from burnish.runfolder.store import RunFolder

_PICTURES = ("comparison", "confusion", "mistakes")
"""Figures that a notebook shows of a run; the others by ``run.plot``."""


def describe_in_a_line(found: Mapping[str, Any], path: Path) -> str:
    """Return what a run is, in a line."""
    test, stages = found["test"], found["stages"]
    said = f", test accuracy {test['accuracy']:.2%}" if test else ""
    done = sum(stage["state"] == "done" for stage in stages)
    return show_name(
        f"<Run '{found['study']}' in {path}: {found['state']}, {done} of {len(stages)} stages"
        f"{said}>"
    )


def write_summary(folder: RunFolder, found: Mapping[str, Any]) -> str:
    """Return a run as HTML: what came of it, its stages, and the first of its pictures.

    Parameters
    ----------
    folder
        The run folder.
    found
        What `burnish.runfolder.status.describe_run` says of it.
    """
    from burnish.report.templating import templates

    records = folder.stages()
    final = next((record.result for record in records if record.kind == "final"), None)
    return (
        templates()
        .get_template("notebook.html")
        .render(run=found, final=final, path=folder.path, pictures=_draw_pictures(folder))
    )


def _draw_pictures(folder: RunFolder) -> dict[str, str]:
    """Return the pictures that there are, each as the address of an image that holds it."""
    from burnish.report.analysis.account import read_account
    from burnish.report.drawing.figure_set import FigureSet
    from burnish.report.plots import draw_plot, list_plots

    try:
        account = read_account(folder)
    except RunFolderError:  # No stage is done yet.
        return {}
    drawn, names = FigureSet(png=False), list_plots(account)
    return {
        name: drawn.embed(name, draw_plot(account, name)) for name in _PICTURES if name in names
    }


def show_page(page: Path) -> None:
    """Open a page in a browser; in a notebook, whose browser may be elsewhere, link to it."""
    from burnish.live_bar import is_notebook

    if not is_notebook():
        webbrowser.open(page.resolve().as_uri())
        return
    from IPython.display import FileLink, display

    display(FileLink(str(page)))
