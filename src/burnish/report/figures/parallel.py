"""The trials of a search as lines through their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from burnish.report.analysis.facts import StageFacts
from burnish.report.analysis.search import describe_trials, first_loss, scored
from burnish.report.drawing.scales import name_winner, position, scale_of, ticks_of, wrap
from burnish.report.drawing.style import (
    SOFT,
    VERMILLION,
    elide,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure
from burnish.space import Range

_MAP = "viridis"
_MOST_AXES = 12
_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def draw_parallel(
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Range],
    best: int,
    *,
    stage: str,
    source: str,
) -> Canvas:
    """Draw each trial as a line through its values, coloured by the loss of its first round.

    The lines have the identifiers ``parallel-<number of the trial>``.
    """
    shown = scored(trials)
    names = list(space)[:_MOST_AXES]
    losses = np.array([first_loss(trial) for trial in shown], float)
    # Ranks, not losses: a few diverged trials would make all others one colour.
    ranks = losses.argsort().argsort() / max(len(losses) - 1, 1)
    colours = colormaps[_MAP]
    with style():
        figure = start(
            7.4,
            3.9,
            f"Space of {elide(stage, 34)}: all trials",
            f"data: {elide(source, 24)}, one line a trial, coloured by the rank of its loss "
            f"after round 1; {name_winner(shown, best)}",
        )
        axes = figure.subplots()
        scales = {name: scale_of(space[name]) for name in names}
        for place in sorted(range(len(shown)), key=lambda p: -losses[p]):
            trial = shown[place]
            won = trial["number"] == best
            ys = [position(scales[name], trial["params"][name]) for name in names]
            # The last axis is the rank itself.
            axes.plot(
                range(len(names) + 1),
                [*ys, 1 - ranks[place]],
                color=VERMILLION if won else colours(1 - ranks[place]),
                linewidth=2.4 if won else 1.0,
                alpha=1.0 if won else 0.65,
                zorder=5 if won else 2,
                gid=f"parallel-{trial['number']}",
            )
        for at, name in enumerate(names):
            _draw_axis(axes, at, ticks_of(scales[name]), zorder=6, bbox=_BOX)
        _draw_axis(axes, len(names), [(1.0, "best"), (0.0, "worst")])
        axes.set_xlim(-0.1, len(names) + 0.35)
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([])
        axes.set_xticks(
            range(len(names) + 1),
            [wrap(name) for name in names] + ["rank of\nthe loss"],
            fontsize=8.5 if len(names) <= 6 else 7.2,
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.align_labels()
    return figure


def _draw_axis(axes: Axes, at: int, ticks: Sequence[tuple[float, str]], **look: Any) -> None:
    axes.axvline(at, color=SOFT, linewidth=0.8, zorder=1)
    for value, text in ticks:
        axes.annotate(
            text,
            (at, value),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            **look,
        )


def _draw(facts: StageFacts) -> Drawing:
    trials = facts.trials
    return Drawing(
        draw_parallel(
            trials, facts.searched, facts.best_trial, stage=facts.name, source=facts.source
        ),
        f"Trials of {facts.name} as lines through their values.",
        {f"parallel-{number}": [said] for number, said in describe_trials(trials).items()},
    )


PARALLEL = Figure[StageFacts](
    name="parallel",
    section="search",
    applies=lambda facts: len(facts.searched) > 1 and bool(scored(facts.trials)),
    caption=lambda _: (
        "Follow a line from left to right for the values of one trial; the last axis ranks trials "
        "by the loss of their first round, which all trials have in common."
    ),
    draw=_draw,
)
