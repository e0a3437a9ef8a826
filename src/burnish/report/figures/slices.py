"""Each hyperparameter of a search against the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas

from burnish.report.analysis.facts import StageFacts
from burnish.report.analysis.search import describe_trials, first_loss, scored
from burnish.report.drawing.scales import name_winner, position, scale_of, ticks_of
from burnish.report.drawing.style import (
    BLUE,
    VERMILLION,
    elide,
    scale_log,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure
from burnish.space import Range


def draw_slices(
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Range],
    importances: Mapping[str, float],
    best: int,
    *,
    stage: str,
    source: str,
) -> Canvas:
    """Draw each hyperparameter against the loss after a trial's first round.

    The marks have the identifiers ``slice-<number of the hyperparameter>``.
    """
    shown = scored(trials)
    names = list(space)
    num_columns = min(3, len(names))
    num_rows = math.ceil(len(names) / num_columns)
    losses = [float(first_loss(trial) or 0.0) for trial in shown]
    height = 0.95 + 2.15 * num_rows
    with style():
        figure = start(
            7.4,
            height,
            f"Hyperparameters of {elide(stage, 30)} against the loss",
            f"data: {elide(source, 24)}, validation loss after round 1; filled: went on; "
            f"{name_winner(shown, best)}",
        )
        grid = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        for number, name in enumerate(names):
            axes = grid.flat[number]
            scale = scale_of(space[name])
            xs = [position(scale, trial["params"][name]) for trial in shown]
            axes.scatter(
                xs,
                losses,
                s=22,
                c=[_slice_colour(trial, best) for trial in shown],
                edgecolors=[VERMILLION if trial["number"] == best else BLUE for trial in shown],
                linewidths=0.9,
                zorder=3,
                gid=f"slice-{number}",
            )
            for x, loss, trial in zip(xs, losses, shown, strict=True):
                if trial["number"] == best:  # Once more, above those that lie there too.
                    axes.plot(x, loss, "o", color=VERMILLION, markersize=4.7, zorder=4)
            ticks = ticks_of(scale, room=72 // num_columns)
            axes.set_xticks([v for v, _ in ticks], [text for _, text in ticks], fontsize=8)
            axes.set_xlim(-0.12, 1.12)
            share = importances.get(name)
            label = elide(name, 26)
            axes.set_xlabel(f"{label}, explains {share:.0%}" if share is not None else label)
            axes.xaxis.label.set_fontsize(8.5)
            axes.grid(axis="y")
            scale_log(axes, losses)
        for row in grid:
            row[0].set_ylabel("loss (log)")
    return figure


def _slice_colour(trial: Mapping[str, Any], best: int) -> str:
    if trial["number"] == best:
        return VERMILLION
    return BLUE if len(trial["rungs"]) > 1 else "white"


def _draw(facts: StageFacts) -> Drawing:
    trials, drawn = facts.trials, facts.searched
    told = describe_trials(trials)
    said = [told[int(trial["number"])] for trial in scored(trials)]
    return Drawing(
        draw_slices(
            trials,
            drawn,
            facts.importances,
            facts.best_trial,
            stage=facts.name,
            source=facts.source,
        ),
        f"Each hyperparameter of {facts.name} against the loss.",
        {f"slice-{at}": said for at in range(len(drawn))},
    )


SLICES = Figure[StageFacts](
    name="slices",
    section="search",
    applies=lambda facts: bool(facts.searched) and bool(scored(facts.trials)),
    caption=lambda _: (
        "Each hyperparameter against the loss of the first round. Where the lowest marks stand at "
        "an end of an axis, better values may lie beyond it."
    ),
    draw=_draw,
)
