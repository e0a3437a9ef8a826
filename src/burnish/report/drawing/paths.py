"""How the lowest loss of several runs fell over their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from burnish.report.drawing.style import (
    BLUE,
    GREY,
    INK,
    VERMILLION,
    elide,
    plain,
    start,
    style,
)


def draw_paths(
    names: Sequence[str], ends: Sequence[Sequence[float]], losses: Sequence[Sequence[float]]
) -> Figure:
    """Draw how the lowest validation loss of several runs fell over their time.

    Parameters
    ----------
    names
        Of the runs.
    ends, losses
        Of each run: seconds by which its stages had ended, and their validation losses.
    """
    colours = [BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, GREY]
    dashes: list[Any] = ["-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (6, 2, 1, 2))]
    minutes = max(run[-1] for run in ends) >= 180
    scale = 60.0 if minutes else 1.0
    rows = (len(names) + 2) // 3
    height = 3.6 + 0.2 * rows
    with style():
        figure = start(
            7.4,
            height,
            "The lowest validation loss so far",
            "each mark: a stage that ended",
            legend_rows=rows,
        )
        axes = figure.subplots()
        for at, name in enumerate(names):
            best = [min(losses[at][: n + 1]) for n in range(len(losses[at]))]
            axes.step(
                [end / scale for end in ends[at]],
                best,
                where="post",
                color=colours[at % len(colours)],
                linestyle=dashes[at // 2 % len(dashes)],
                linewidth=1.7,
                marker="osD^vP"[at % 6],
                markersize=4.5,
                label=elide(name, 26),
            )
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("minutes" if minutes else "seconds")
        axes.set_ylabel("validation loss")
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.56 / height), ncols=3
        )
    return figure
