"""The figures of the page, one file each, and the list that the page walks over."""

from burnish.report.figures.catalogue import FIGURES
from burnish.report.figures.figure import Drawing, Figure

__all__ = ["FIGURES", "Drawing", "Figure"]
