"""The figures of a section, drawn: this is what walks over the list of figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from burnish.report.drawing.figure_set import FigureSet
from burnish.report.figures import FIGURES, Drawing
from burnish.report.figures.figure import Figure, Section


@dataclass(frozen=True)
class PictureView:
    """One picture as the page shows it.

    Attributes
    ----------
    name
        Of the figure.
    content
        The picture, fit to stand in the page.
    caption
        What stands beneath it.
    shape
        Its class in the page.
    """

    name: str
    content: Markup
    caption: str
    shape: str


def draw_section(
    section: Section, facts: Any, figure_set: FigureSet, prefix: str = ""
) -> dict[str, PictureView]:
    """Draw all figures of a section that apply.

    Parameters
    ----------
    section
        Which.
    facts
        Of the kind that the section's figures take; see `burnish.report.figures.figure.Figure`.
    figure_set
        Takes the pictures in.
    prefix
        Goes before the names of files and identifiers.

    Returns
    -------
    dict
        What stands in the page, by the names of the figures, in their order.
    """
    shown = {}
    for file, figure in list_figures(section, facts, prefix).items():
        content = _add(file, figure.draw(facts), figure_set)
        if content is not None:
            shown[figure.name] = PictureView(
                figure.name, content, figure.caption(facts), figure.shape
            )
    return shown


def list_figures(section: Section, facts: Any, prefix: str = "") -> dict[str, Figure[Any]]:
    """Return the figures of a section that apply, by the names of their files; see above."""
    return {
        prefix + (figure.file or figure.name): figure
        for figure in FIGURES
        if figure.section == section and figure.applies(facts)
    }


def _add(file: str, drawing: Drawing, figure_set: FigureSet) -> Markup | None:
    content = None
    if drawing.form == "beside":
        figure_set.keep(file, drawing.canvas)
    elif drawing.form == "image":
        content = Markup('<img src="{}" alt="{}">').format(
            figure_set.embed(file, drawing.canvas), drawing.description
        )
    else:
        content = figure_set.inline(
            file, drawing.canvas, drawing.description, drawing.titles, drawing.series
        )
    if drawing.copy_to is not None:
        figure_set.copy(file, drawing.copy_to)
    return content
