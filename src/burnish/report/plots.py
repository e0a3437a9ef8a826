"""The figures of a run one by one, drawn when asked for: what ``run.plot`` gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure as Canvas

from burnish.errors import RunFolderError, name_what_exists
from burnish.report.analysis.account import RunAccount
from burnish.report.drawing.style import style
from burnish.report.figures import Drawing
from burnish.report.figures.figure import Section
from burnish.report.views.pictures import list_figures


def list_plots(account: RunAccount) -> dict[str, Callable[[], Drawing]]:
    """Return what draws each figure, by the name of its file in ``report/figures``."""
    sections: list[tuple[Section, object, str]] = [("overview", account.whole, "")]
    for stage in account.whole.stages:
        sections.append(("stage", stage, f"{stage.slug}-"))
        if stage.trials:
            sections.append(("search", stage, f"{stage.slug}-"))
    if account.final is not None:
        sections.append(("final", account.final, ""))
    return {
        file: partial(figure.draw, facts)
        for section, facts, prefix in sections
        for file, figure in list_figures(section, facts, prefix).items()
    }


def draw_plot(account: RunAccount, name: str) -> Canvas:
    """Draw a figure.

    Raises
    ------
    RunFolderError
        If there is none of this name.
    """
    plots = list_plots(account)
    if name not in plots:
        raise RunFolderError(name_what_exists("plot", name, plots))
    with style():
        return plots[name]().canvas
