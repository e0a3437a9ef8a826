"""The best loss so far of a search."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from burnish.report.analysis.facts import StageFacts
from burnish.report.analysis.search import Step
from burnish.report.drawing.style import (
    BLUE,
    SOFT,
    VERMILLION,
    elide,
    scale_log,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure

_MARKERS = "osD^vP"


def draw_progress(steps: Sequence[Step], *, stage: str, source: str) -> Canvas:
    """Draw every round's loss and the best so far, over rounds and over seconds.

    The marks have the identifiers ``progress-rounds`` and ``progress-seconds``.
    """
    known = [step for step in steps if step.loss is not None]
    rounds = sorted({step.round for step in known})
    with style():
        figure = start(
            7.4,
            3.5,
            f"Search of {elide(stage, 34)}: the best so far",
            f"data: {elide(source, 30)}, validation loss of each round of each trial",
            legend_rows=1,
        )
        left, right = figure.subplots(1, 2, sharey=True)
        places = {id(step): number for number, step in enumerate(steps, start=1)}
        for axes, kind, xs in (
            (left, "rounds", [places[id(step)] for step in known]),
            (right, "seconds", [step.seconds for step in known]),
        ):
            axes.step(
                xs,
                [step.best for step in known],
                where="post",
                color=BLUE,
                linewidth=1.8,
                label="best so far",
            )
            for number in rounds:
                at = [place for place, step in enumerate(known) if step.round == number]
                axes.scatter(
                    [xs[place] for place in at],
                    [known[place].loss for place in at],
                    s=20,
                    marker=_MARKERS[min(number, len(_MARKERS)) - 1],
                    facecolor="white" if number == 1 else VERMILLION,
                    edgecolor=SOFT if number == 1 else VERMILLION,
                    linewidth=0.9,
                    zorder=3,
                    label=f"round {number}" if len(rounds) > 1 else "trial",
                    gid=f"progress-{kind}-{number}",
                )
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=kind == "rounds"))
            axes.set_xlim(left=0)
        left.set_xlabel("rounds finished")
        right.set_xlabel("seconds, with all workers busy")
        left.set_ylabel("validation loss (log)")
        scale_log(left, [float(step.loss) for step in known if step.loss is not None])
        handles, labels = left.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.02 / 7.4, 1 - 0.56 / 3.5),
            ncols=5,
            columnspacing=1.2,
        )
    return figure


def _draw(facts: StageFacts) -> Drawing:
    known = [step for step in facts.steps if step.loss is not None]
    titles = {
        f"progress-{kind}-{number}": [
            f"trial {s.trial}, round {s.round} ({s.epochs:g} epochs): loss {s.loss:.4f}, "
            f"after {s.seconds:.1f} s"
            for s in known
            if s.round == number
        ]
        for kind in ("rounds", "seconds")
        for number in {s.round for s in known}
    }
    return Drawing(
        draw_progress(facts.steps, stage=facts.name, source=facts.source),
        f"Lowest loss so far of the search of {facts.name}, over rounds and seconds.",
        titles,
    )


PROGRESS = Figure[StageFacts](
    name="progress",
    section="search",
    applies=lambda facts: any(step.loss is not None for step in facts.steps),
    caption=lambda _: (
        "Each mark is one round of one trial; the line is the lowest loss so far. Longer rounds "
        "give lower losses, so the line falls with the rounds as well as with luck and skill."
    ),
    draw=_draw,
)
