"""How trials went through the rounds, and what explains their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from burnish.report.analysis.facts import StageFacts
from burnish.report.analysis.search import describe_trials
from burnish.report.drawing.style import (
    BLUE,
    GREY,
    SOFT,
    VERMILLION,
    elide,
    scale_log,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure


def draw_rounds(
    trials: Sequence[Mapping[str, Any]],
    importances: Mapping[str, float],
    best: int,
    *,
    stage: str,
    source: str,
) -> Canvas:
    """Draw how trials went through the rounds of the schedule, and what explains their losses.

    The lines have the identifiers ``rounds-<number of the trial>``.
    """
    with style():
        figure = start(
            7.4,
            3.6 if len(importances) <= 9 else 4.4,
            f"Rounds of {elide(stage, 30)}, and what explains the losses",
            f"data: {elide(source, 24)}, left: a line a trial, as far as it was trained; "
            "right: share of the variance",
        )
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        budgets: set[float] = set()
        losses: list[float] = []
        for trial in trials:
            points = [(r["epochs"], r["loss"]) for r in trial["rungs"] if r["loss"] is not None]
            if not points:
                continue
            budgets |= {epochs for epochs, _ in points}
            losses += [loss for _, loss in points]
            won = trial["number"] == best
            left.plot(
                [epochs for epochs, _ in points],
                [loss for _, loss in points],
                color=VERMILLION if won else BLUE if len(points) > 1 else GREY,
                linewidth=2.2 if won else 1.0,
                marker="o",
                markersize=5 if won else 3.2,
                alpha=1.0 if won else 0.7,
                zorder=5 if won else 3,
                gid=f"rounds-{trial['number']}",
            )
        if len(budgets) > 1:
            left.set_xscale("log")
        left.xaxis.set_major_locator(FixedLocator(sorted(budgets)))
        left.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
        left.xaxis.set_minor_formatter(NullFormatter())
        left.minorticks_off()
        left.set_xlabel("epochs of the round" + (" (log)" if len(budgets) > 1 else ""))
        left.set_ylabel("validation loss (log)")
        left.grid(axis="y")
        scale_log(left, losses)
        handles = [
            Line2D([], [], color=GREY, marker="o", markersize=3.2, label="one round"),
            Line2D([], [], color=BLUE, marker="o", markersize=3.2, label="went on"),
            Line2D([], [], color=VERMILLION, marker="o", markersize=5, label="winner"),
        ]
        left.legend(handles=handles if len(budgets) > 1 else handles[::2], fontsize=8)
        _draw_importances(right, importances)
    return figure


def _draw_importances(axes: Axes, importances: Mapping[str, float]) -> None:
    if not importances:
        axes.set_axis_off()
        axes.text(
            0.5,
            0.5,
            "too few trials, or only one\nhyperparameter: no importances",
            ha="center",
            va="center",
            color=SOFT,
            transform=axes.transAxes,
        )
        return
    names = sorted(importances, key=lambda name: -importances[name])
    rows = range(len(names))
    shares = [100 * importances[name] for name in names]
    axes.barh(rows, shares, height=0.6, color=BLUE)
    for row, share in zip(rows, shares, strict=True):
        axes.annotate(
            f"{share:.1f} %",
            (share, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    axes.set_yticks(list(rows), [elide(name, 24) for name in names], fontsize=8.5)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, max(*shares, 1.0) * 1.25)
    axes.set_xlabel("importance (% of variance)")
    axes.grid(axis="x")


def _applies(facts: StageFacts) -> bool:
    """Whether there is more to show than the pictures before it do: rounds, or importances."""
    budgets = {step.epochs for step in facts.steps if step.loss is not None}
    return len(budgets) > 1 or bool(budgets and facts.importances)


def _draw(facts: StageFacts) -> Drawing:
    trials = facts.trials
    return Drawing(
        draw_rounds(
            trials, facts.importances, facts.best_trial, stage=facts.name, source=facts.source
        ),
        f"Losses of the trials of {facts.name} in each round, and importances.",
        {f"rounds-{number}": [said] for number, said in describe_trials(trials).items()},
    )


ROUNDS = Figure[StageFacts](
    name="rounds",
    section="search",
    applies=_applies,
    caption=lambda _: (
        "Left: every trial\N{RIGHT SINGLE QUOTATION MARK}s loss in each round that it reached. "
        "Right: how much of the variance of the first round\N{RIGHT SINGLE QUOTATION MARK}s losses "
        "each hyperparameter explains (fANOVA, Hutter et al. 2014)."
    ),
    draw=_draw,
)
