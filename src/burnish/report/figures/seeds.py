"""The runs of a stage with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from burnish.report.analysis.facts import StageFacts
from burnish.report.drawing.style import (
    BLUE,
    VERMILLION,
    elide,
    plain,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure


def draw_seeds(
    runs: Sequence[Mapping[str, Any]],
    kept: int,
    base: tuple[str, float] | None,
    *,
    stage: str,
    source: str,
) -> Canvas:
    """Draw each run of a stage with several seeds, their mean and deviation, and the base's loss.

    The marks have the identifier ``seeds``; ``kept`` counts from 1.
    """
    losses = np.array([float(run["val_loss"]) for run in runs])
    mean, std = float(losses.mean()), float(losses.std(ddof=1))
    with style():
        figure = start(
            6.0,
            2.5,
            f"{elide(stage, 34)} with {len(runs)} seeds",
            f"data: {elide(source, 24)}, validation loss of each run; band: mean and deviation",
        )
        axes = figure.subplots()
        axes.axvspan(mean - std, mean + std, color=BLUE, alpha=0.15, linewidth=0)
        axes.axvline(mean, color=BLUE, linewidth=1.4)
        axes.scatter(
            losses,
            np.arange(1, len(runs) + 1),
            s=42,
            c=["white"] * (kept - 1) + [BLUE] + ["white"] * (len(runs) - kept),
            edgecolors=BLUE,
            zorder=3,
            gid="seeds",
        )
        if base is not None:
            axes.axvline(base[1], color=VERMILLION, linestyle=(0, (4, 1.6)), linewidth=1.4)
            axes.annotate(
                f"base {elide(base[0], 20)}",
                (base[1], 1.0),
                xycoords=axes.get_xaxis_transform(),
                xytext=(-4 if base[1] >= mean else 4, -3),
                textcoords="offset points",
                ha="right" if base[1] >= mean else "left",
                va="top",
                fontsize=8.5,
                color=VERMILLION,
            )
        axes.set_ylim(len(runs) + 0.6, 0.4)
        axes.set_yticks(
            range(1, len(runs) + 1),
            [f"run {n}" + (" (kept)" if n == kept else "") for n in range(1, len(runs) + 1)],
        )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.set_xlabel("validation loss (cross-entropy)")
        axes.grid(axis="x")
    return figure


def _draw(facts: StageFacts) -> Drawing:
    runs = list(facts.result["runs"])
    base = facts.base
    return Drawing(
        draw_seeds(
            runs,
            int(facts.result["kept_run"]),
            (base.name, float(base.result["val_loss"])) if base else None,
            stage=facts.name,
            source=facts.source,
        ),
        f"Validation loss of {facts.name} with each of {len(runs)} seeds.",
        {
            "seeds": [
                f"seed {run['seed']}: loss {run['val_loss']:.4f}, "
                f"accuracy {100 * run['val_accuracy']:.2f} %"
                for run in runs
            ]
        },
    )


SEEDS = Figure[StageFacts](
    name="seeds",
    section="stage",
    applies=lambda facts: bool(facts.result.get("runs")),
    caption=lambda _: "",
    draw=_draw,
    shape="half",
)
