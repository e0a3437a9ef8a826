"""The confusion matrix of the test split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, PowerNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from burnish.report.analysis.final import FinalFacts
from burnish.report.drawing.style import (
    INK,
    LINE,
    SOFT,
    VERMILLION,
    elide,
    plain,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure

MAX_CLASSES_WITH_NUMBERS = 25
# Where the most frequent confusion is a handful of images, none takes the darkest colour.
_FULL_COLOUR = 10


def draw_confusion(
    counts: NDArray[np.integer[Any]], class_names: Sequence[str], *, source: str
) -> Canvas:
    """Draw a confusion matrix in which rare confusions can be seen.

    The diagonal, which holds nearly all images, is grey; only errors are coloured, on a
    square-root scale, so that a single image shows beside a frequent confusion.

    Parameters
    ----------
    counts
        Images by true class (row) and predicted class (column).
    class_names
        Name of each class.
    source
        Name of the data.
    """
    num = len(class_names)
    diagonal = np.eye(num, dtype=bool)
    errors = np.ma.masked_where(diagonal | (counts == 0), counts)
    num_errors = int(counts[~diagonal].sum())
    total = int(counts.sum())
    side = 4.7 if num <= 4 else 5.8 if num <= 12 else 7.0 if num <= 25 else 8.8
    names = [elide(name, 16) for name in class_names]
    longest = max(len(name) for name in names)
    # As many names as fit at a legible size: 0.12 inch each.
    step = math.ceil(num * 0.12 / (side * 0.78))
    subtitle = f"data: {elide(source, 24)}, {num_errors:,} of {total:,} test images wrong"
    if step > 1:
        subtitle += f"; one class in {step} is named"
    size = 9.5 if num <= 14 else 8.0 if num <= 40 else 6.5
    with style():
        figure = start(
            side + 0.9, side + 0.7, "Confusion matrix of the final model, test split", subtitle
        )
        axes = figure.subplots()
        # interpolation="none" puts the cells into an SVG as they are, with sharp edges.
        axes.imshow(
            np.ma.masked_where(~diagonal, diagonal),
            cmap=ListedColormap(["#e3e8ec"]),
            interpolation="none",
        )
        if num_errors:
            image = axes.imshow(
                errors,
                cmap=LinearSegmentedColormap.from_list(
                    "errors", ["#fdeadb", "#f0a35f", VERMILLION, "#7f2c00"]
                ),
                norm=PowerNorm(0.5, vmin=0, vmax=max(int(errors.max()), _FULL_COLOUR)),
                interpolation="none",
            )
            bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=26, pad=0.02)
            bar.set_label("errors: images of the row's class\ntaken for the column's", fontsize=9)
            bar.locator = MaxNLocator(5, integer=True)
            bar.formatter = FuncFormatter(plain)
            bar.update_ticks()
            bar.outline.set_visible(False)
        ticks = np.arange(0, num, step)
        shown = [names[tick] for tick in ticks]
        upright = longest > 3 and (num > 4 or longest > 9)
        axes.set_xticks(ticks, shown, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(ticks, shown, fontsize=size)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.tick_params(length=0 if step == 1 else 2.5)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, num), minor=True)
        axes.set_yticks(np.arange(-0.5, num), minor=True)
        axes.grid(which="minor", color=LINE, linewidth=0.7 if num <= 25 else 0.25)
        axes.tick_params(which="minor", length=0)
        if num <= MAX_CLASSES_WITH_NUMBERS:
            _number_cells(axes, counts, size=10 if num <= 10 else 7.5 if num <= 16 else 6)
    return figure


def _number_cells(axes: Axes, counts: NDArray[np.integer[Any]], size: float) -> None:
    off_diagonal = counts[~np.eye(len(counts), dtype=bool)]
    dark_from = 0.42 * max(int(off_diagonal.max(initial=0)), _FULL_COLOUR)
    for row, column in np.argwhere(counts > 0):
        count = int(counts[row, column])
        on_diagonal = row == column
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            fontsize=size if count < 10_000 else size * 0.8,
            color=SOFT if on_diagonal else "white" if count > dark_from else INK,
        )


def _draw(facts: FinalFacts) -> Drawing:
    return Drawing(
        draw_confusion(facts.counts, facts.class_names, source=facts.source),
        f"Confusion matrix of the test split of {facts.source}: true class by row, predicted "
        "class by column.",
        form="image",
    )


CONFUSION = Figure[FinalFacts](
    name="confusion",
    section="final",
    applies=lambda _: True,
    caption=lambda _: (
        "A row holds the images of one class. Grey: right. Coloured: taken for the class of the "
        "column; the deeper, the more often."
    ),
    draw=_draw,
    shape="square",
)
