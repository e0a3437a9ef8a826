"""Validation loss and error of every stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from burnish.report.analysis.facts import RunFacts
from burnish.report.drawing.style import (
    BLUE,
    GREY,
    INK,
    TICK_STEPS,
    elide,
    plain,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure


def draw_comparison(
    names: Sequence[str],
    losses: Sequence[float],
    accuracies: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    *,
    chosen: str | None,
    source: str,
) -> Canvas:
    """Draw validation loss and validation error of every stage, the chosen one highlighted.

    Parameters
    ----------
    names, losses, accuracies
        One entry per stage, in the study's order; accuracies from 0 to 1.
    intervals
        95 % interval of each accuracy, or None where the number of images is not known.
    chosen
        Name of the chosen stage; None before there is one.
    source
        Name of the data.
    """
    rows = np.arange(len(names))
    height = 1.55 + 0.46 * len(names)
    subtitle = f"data: {elide(source, 30)}, lower is better"
    if any(intervals):
        subtitle += "; lines: 95 % intervals of the error"
    with style():
        figure = start(7.4, height, "Validation loss and error of each stage", subtitle)
        left, right = figure.subplots(1, 2, sharey=True)
        colours = [BLUE if name == chosen else GREY for name in names]
        errors = [100 * (1 - accuracy) for accuracy in accuracies]
        left.barh(rows, losses, height=0.58, color=colours)
        right.barh(rows, errors, height=0.58, color=colours)
        ends = list(errors)
        for row, interval in enumerate(intervals):
            if interval is not None:
                low, high = 100 * (1 - interval[1]), 100 * (1 - interval[0])
                right.plot(
                    [low, high],
                    [row, row],
                    color=INK,
                    linewidth=1.4,
                    path_effects=[withStroke(linewidth=3.2, foreground="white")],
                )
                ends[row] = max(ends[row], high)
        bold = [name == chosen for name in names]
        _label_bars(left, losses, [f"{loss:.4f}" for loss in losses], bold)
        _label_bars(right, ends, [f"{error:.2f} %" for error in errors], bold)
        left.set_xlim(0, max(*losses, 1e-9) * 1.3)
        right.set_xlim(0, max(*ends, 1e-9) * 1.34)
        left.set_xlabel("validation loss (cross-entropy)")
        right.set_xlabel("validation error (% of images)")
        left.set_yticks(
            rows,
            [elide(name, 24) + ("\n(chosen)" if name == chosen else "") for name in names],
        )
        middle, half = (len(names) - 1) / 2, max(len(names) / 2, 1.0)
        left.set_ylim(middle + half, middle - half)  # the first stage on top
        for axes in (left, right):
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
            axes.xaxis.set_major_formatter(FuncFormatter(plain))
            axes.grid(axis="x")
    return figure


def _label_bars(
    axes: Axes, ends: Sequence[float], texts: Sequence[str], bold: Sequence[bool]
) -> None:
    for row, (end, text, is_bold) in enumerate(zip(ends, texts, bold, strict=True)):
        axes.annotate(
            text,
            (end, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            fontweight="bold" if is_bold else "normal",
        )


def _draw(facts: RunFacts) -> Drawing:
    stages = facts.stages
    return Drawing(
        draw_comparison(
            [stage.name for stage in stages],
            [stage.val_loss for stage in stages],
            [stage.val_accuracy for stage in stages],
            [stage.interval for stage in stages],
            chosen=facts.chosen,
            source=facts.source,
        ),
        "Bar charts of validation loss and validation error of each stage; the table above holds "
        "the same numbers.",
        form="image",
    )


COMPARISON = Figure[RunFacts](
    name="comparison",
    section="overview",
    applies=lambda _: True,
    caption=lambda _: "",
    draw=_draw,
)
