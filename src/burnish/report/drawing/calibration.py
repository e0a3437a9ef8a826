"""A calibration curve: accuracy against confidence."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from burnish.report.drawing.style import BLUE, GREY, VERMILLION, elide, plain, start, style
from burnish.stats.calibration import Calibration


def draw_calibration(
    before: Calibration, after: Calibration, temperature: float, *, title: str, source: str
) -> Figure:
    """Draw accuracy against confidence, as it is and under a temperature.

    The marks have the identifiers ``calibration-before`` and ``calibration-after``.
    """
    with style():
        figure = start(
            4.6,
            5.0,
            elide(title, 44),
            f"data: {elide(source, 20)}, size of a mark: number of its images",
            legend_rows=2,
        )
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=":", zorder=1)
        most = max(b.num_images for b in before.bins)
        for found, kind, colour, label in (
            (before, "before", BLUE, f"as it is, expected error {100 * before.error:.2f} %"),
            (
                after,
                "after",
                VERMILLION,
                f"temperature {temperature:.2f}, expected error {100 * after.error:.2f} %",
            ),
        ):
            axes.plot(
                [b.confidence for b in found.bins],
                [b.accuracy for b in found.bins],
                color=colour,
                linewidth=1.4,
                linestyle="-" if kind == "before" else (0, (4, 1.6)),
                label=label,
                gid=f"line-calibration-{kind}",
            )
            axes.scatter(
                [b.confidence for b in found.bins],
                [b.accuracy for b in found.bins],
                s=[16 + 130 * (b.num_images / most) ** 0.5 for b in found.bins],
                facecolor=colour if kind == "before" else "white",
                edgecolor=colour,
                alpha=0.85,
                zorder=3,
                gid=f"calibration-{kind}",
            )
        axes.set_xlim(0, 1.04)
        axes.set_ylim(-0.02, 1.06)
        axes.set_xlabel("confidence: probability of the predicted class")
        axes.set_ylabel("accuracy of images so confident")
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid()
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.02 / 4.6, 1 - 0.56 / 5.0),
            ncols=1,
            labelspacing=0.2,
        )
    return figure


def calibration_titles(before: Any, after: Any) -> dict[str, list[str]]:
    """Texts for the marks of a calibration curve."""
    return {
        f"calibration-{kind}": [
            f"{b.num_images:,} images: confidence {100 * b.confidence:.2f} %, "
            f"accuracy {100 * b.accuracy:.2f} %"
            for b in found.bins
        ]
        for kind, found in (("before", before), ("after", after))
    }
