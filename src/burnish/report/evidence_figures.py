"""The pictures of the evidence: calibration, and the yield of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from burnish.report.figures import BLUE, GREY, INK, SOFT, VERMILLION, plain, shorten, start, style
from burnish.stats.calibration import Calibration
from burnish.stats.intervals import Interval


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
            shorten(title, 44),
            f"data: {shorten(source, 20)}, size of a mark: number of its images",
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


def draw_yield(
    names: Sequence[str],
    seconds: Sequence[float],
    losses: Sequence[float],
    intervals: Sequence[Interval | None],
    *,
    source: str,
) -> Figure:
    """Draw each stage's validation loss over the seconds that the study had taken by its end.

    The marks have the identifier ``yield``.
    """
    ends: list[float] = []
    for taken in seconds:
        ends.append((ends[-1] if ends else 0.0) + taken)
    unit, scale = ("minutes", 60.0) if ends[-1] >= 180 else ("seconds", 1.0)
    ends = [end / scale for end in ends]
    with style():
        figure = start(
            7.4,
            3.7,
            "What the stages bought: loss over the time of the study",
            f"data: {shorten(source, 24)}, each stage where it ended; "
            "lines: 95 % bootstrap intervals",
        )
        axes = figure.subplots()
        best = [min(losses[: at + 1]) for at in range(len(losses))]
        axes.step(ends, best, where="post", color=GREY, linewidth=1.2, zorder=1)
        for end, interval in zip(ends, intervals, strict=True):
            if interval is not None:
                axes.plot([end, end], list(interval), color=INK, linewidth=1.3, zorder=2)
        axes.scatter(ends, losses, s=42, color=BLUE, zorder=3, gid="yield")
        for name, end, loss, up in zip(
            names, ends, losses, _stagger(names, ends, losses), strict=True
        ):
            near_right = end > 0.75 * ends[-1]
            axes.annotate(
                f"{shorten(name, 20)} {loss:.4f}",
                (end, loss),
                xytext=(-7 if near_right else 7, 4 + 12 * up),
                textcoords="offset points",
                ha="right" if near_right else "left",
                va="bottom",
                fontsize=8.5,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4},
                zorder=4,
            )
        axes.set_ylim(0, max(losses) * 1.25)
        axes.set_xlim(0, max(ends[-1], 1e-9) * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.set_xlabel(f"{unit} of the study")
        axes.set_ylabel("validation loss")
        axes.tick_params(colors=SOFT)
        axes.grid(axis="y")
    return figure


def _stagger(names: Sequence[str], ends: Sequence[float], losses: Sequence[float]) -> list[int]:
    """How many lines each name is lifted so that it does not lie on one written before."""
    width, height = max(ends[-1], 1e-9), max(*losses, 1e-9) * 1.25
    lifts: list[int] = []
    taken: list[tuple[float, float, float]] = []
    for name, end, loss in zip(names, ends, losses, strict=True):
        # In shares of the picture: a letter is about a hundredth wide, a line a fifteenth high.
        reach = 0.0115 * (min(len(name), 20) + 8)
        left = end / width - (reach if end > 0.75 * ends[-1] else 0.0)
        lift = 0
        while any(
            left < other + size
            and other < left + reach
            and abs(loss / height + lift / 15 - y) < 0.06
            for other, size, y in taken
        ):
            lift += 1
        taken.append((left, reach, loss / height + lift / 15))
        lifts.append(lift)
    return lifts


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
                label=shorten(name, 26),
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
