"""What the stages bought: loss over the time of the study."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from burnish.report.analysis.facts import RunFacts
from burnish.report.drawing.style import (
    BLUE,
    GREY,
    INK,
    SOFT,
    elide,
    plain,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure
from burnish.stats.intervals import Interval


def draw_yield(
    names: Sequence[str],
    seconds: Sequence[float],
    losses: Sequence[float],
    intervals: Sequence[Interval | None],
    *,
    source: str,
) -> Canvas:
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
            f"data: {elide(source, 24)}, each stage where it ended; "
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
                f"{elide(name, 20)} {loss:.4f}",
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


def _draw(facts: RunFacts) -> Drawing:
    stages = facts.stages
    return Drawing(
        draw_yield(
            [stage.name for stage in stages],
            [stage.cost.seconds for stage in stages],
            [stage.val_loss for stage in stages],
            [stage.evidence.loss_interval if stage.evidence else None for stage in stages],
            source=facts.source,
        ),
        "Validation loss of each stage over the time that the study had taken by its end.",
        {"yield": [f"{stage.name}: loss {stage.val_loss:.4f}" for stage in stages]},
    )


YIELD = Figure[RunFacts](
    name="yield",
    section="overview",
    applies=lambda facts: len(facts.stages) > 1,
    caption=lambda _: (
        "Each mark is a stage where it ended; the grey line is the lowest loss so far."
    ),
    draw=_draw,
)
