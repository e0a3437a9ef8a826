"""The pictures of a tuning stage: its progress, its space, its rounds, its seeds.

Losses after different amounts of training cannot be compared; so hyperparameters are drawn
against the loss of a trial's first round, which all trials have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from burnish.report.figures import (
    BLUE,
    GREY,
    SOFT,
    VERMILLION,
    plain,
    shorten,
    start,
    style,
)
from burnish.report.search import Step
from burnish.space import Choice, Float, Int, Range

_MARKERS = "osD^vP"
_MAP = "viridis"
_MOST_AXES = 12


def first_loss(trial: Mapping[str, Any]) -> float | None:
    """Loss of a trial's first round."""
    rungs = trial["rungs"]
    return rungs[0]["loss"] if rungs else None


def scored(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Trials of the first bracket whose first round gave a loss: they can be compared."""
    known = [trial for trial in trials if first_loss(trial) is not None]
    bracket = min((int(trial["bracket"]) for trial in known), default=0)
    return [trial for trial in known if int(trial["bracket"]) == bracket]


def draw_progress(steps: Sequence[Step], *, stage: str, source: str) -> Figure:
    """Draw every round's loss and the best so far, over rounds and over seconds.

    The marks have the identifiers ``progress-rounds`` and ``progress-seconds``.
    """
    known = [step for step in steps if step.loss is not None]
    rounds = sorted({step.round for step in known})
    with style():
        figure = start(
            7.4,
            3.5,
            f"Search of {shorten(stage, 34)}: the best so far",
            f"data: {shorten(source, 30)}, validation loss of each round of each trial",
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
        _scale_log(left, [float(step.loss) for step in known if step.loss is not None])
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


def _find_winner(shown: Sequence[Mapping[str, Any]], best: int) -> str:
    if any(trial["number"] == best for trial in shown):
        return "red: the winner"
    return "the winner began longer"


def draw_parallel(
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Range],
    best: int,
    *,
    stage: str,
    source: str,
) -> Figure:
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
            f"Space of {shorten(stage, 34)}: all trials",
            f"data: {shorten(source, 24)}, one line a trial, coloured by the rank of its loss "
            f"after round 1; {_find_winner(shown, best)}",
        )
        axes = figure.subplots()
        scales = {name: _scale(space[name]) for name in names}
        for place in sorted(range(len(shown)), key=lambda p: -losses[p]):
            trial = shown[place]
            won = trial["number"] == best
            ys = [_position(scales[name], trial["params"][name]) for name in names]
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
            axes.axvline(at, color=SOFT, linewidth=0.8, zorder=1)
            ticks = _ticks(scales[name])
            for value, text in ticks:
                axes.annotate(
                    text,
                    (at, value),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    va="center",
                    zorder=6,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
                )
        axes.axvline(len(names), color=SOFT, linewidth=0.8, zorder=1)
        for value, text in ((1.0, "best"), (0.0, "worst")):
            axes.annotate(
                text,
                (len(names), value),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=7.5,
                va="center",
            )
        axes.set_xlim(-0.1, len(names) + 0.35)
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([])
        axes.set_xticks(
            range(len(names) + 1),
            [_wrap(name) for name in names] + ["rank of\nthe loss"],
            fontsize=8.5 if len(names) <= 6 else 7.2,
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.align_labels()
    return figure


def draw_slices(
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Range],
    importances: Mapping[str, float],
    best: int,
    *,
    stage: str,
    source: str,
) -> Figure:
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
            f"Hyperparameters of {shorten(stage, 30)} against the loss",
            f"data: {shorten(source, 24)}, validation loss after round 1; filled: went on; "
            f"{_find_winner(shown, best)}",
        )
        grid = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        for number, name in enumerate(names):
            axes = grid.flat[number]
            scale = _scale(space[name])
            xs = [_position(scale, trial["params"][name]) for trial in shown]
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
            ticks = _ticks(scale, room=72 // num_columns)
            axes.set_xticks([v for v, _ in ticks], [text for _, text in ticks], fontsize=8)
            axes.set_xlim(-0.12, 1.12)
            share = importances.get(name)
            label = shorten(name, 26)
            axes.set_xlabel(f"{label}, explains {share:.0%}" if share is not None else label)
            axes.xaxis.label.set_fontsize(8.5)
            axes.grid(axis="y")
            _scale_log(axes, losses)
        for row in grid:
            row[0].set_ylabel("loss (log)")
    return figure


def draw_rounds(
    trials: Sequence[Mapping[str, Any]],
    importances: Mapping[str, float],
    best: int,
    *,
    stage: str,
    source: str,
) -> Figure:
    """Draw how trials went through the rounds of the schedule, and what explains their losses.

    The lines have the identifiers ``rounds-<number of the trial>``.
    """
    with style():
        figure = start(
            7.4,
            3.6 if len(importances) <= 9 else 4.4,
            f"Rounds of {shorten(stage, 30)}, and what explains the losses",
            f"data: {shorten(source, 24)}, left: a line a trial, as far as it was trained; "
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
        _scale_log(left, losses)
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
    axes.set_yticks(list(rows), [shorten(name, 24) for name in names], fontsize=8.5)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, max(*shares, 1.0) * 1.25)
    axes.set_xlabel("importance (% of variance)")
    axes.grid(axis="x")


def draw_seeds(
    runs: Sequence[Mapping[str, Any]],
    kept: int,
    base: tuple[str, float] | None,
    *,
    stage: str,
    source: str,
) -> Figure:
    """Draw each run of a stage with several seeds, their mean and deviation, and the base's loss.

    The marks have the identifier ``seeds``; ``kept`` counts from 1.
    """
    losses = np.array([float(run["val_loss"]) for run in runs])
    mean, deviation = float(losses.mean()), float(losses.std(ddof=1))
    with style():
        figure = start(
            6.0,
            2.5,
            f"{shorten(stage, 34)} with {len(runs)} seeds",
            f"data: {shorten(source, 24)}, validation loss of each run; band: mean and deviation",
        )
        axes = figure.subplots()
        axes.axvspan(mean - deviation, mean + deviation, color=BLUE, alpha=0.15, linewidth=0)
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
                f"base {shorten(base[0], 20)}",
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


# ---- scales of hyperparameters


def _scale(r: Range) -> tuple[str, list[Any]]:
    """How an axis is laid out: values at equal distances, or from one end to the other."""
    if isinstance(r, Float) and r.step is None:
        return ("log" if r.log else "linear"), [r.low, r.high]
    if isinstance(r, Int) and r.log:
        return "log", [r.low, r.high]
    if isinstance(r, Choice):
        options = list(r.options)
        if all(isinstance(o, int | float) and not isinstance(o, bool) for o in options):
            options.sort(key=lambda o: float(o) if not isinstance(o, str) else 0.0)
        return "values", options
    return "values", list(r.values())


def _position(scale: tuple[str, list[Any]], value: Any) -> float:
    kind, ends = scale
    if kind == "values":
        numbers = [abs(float(o) - float(value)) for o in ends] if _are_numbers(ends) else []
        place = numbers.index(min(numbers)) if numbers else ends.index(value)
        return place / (len(ends) - 1) if len(ends) > 1 else 0.5
    low, high = (math.log(e) if kind == "log" else float(e) for e in ends)
    at = math.log(value) if kind == "log" else float(value)
    return (at - low) / (high - low) if high > low else 0.5


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _ticks(scale: tuple[str, list[Any]], room: int = 1000) -> list[tuple[float, str]]:
    """Places and texts of ticks; side by side they have so many letters of room."""
    kind, values = scale
    if kind != "values":
        low, high = values
        middle = math.sqrt(low * high) if kind == "log" else (low + high) / 2
        return [(_position(scale, v), f"{v:.3g}") for v in (low, middle, high)]
    longest = 9 if len(values) > 3 else 12
    texts = [f"{v:g}" if isinstance(v, float) else shorten(str(v), longest) for v in values]
    letters = sum(len(text) + 1 for text in texts)
    step = max(1, math.ceil(len(values) / 6), math.ceil(letters / room))
    shown = list(zip(values, texts, strict=True))[::step]
    return [(_position(scale, value), text) for value, text in shown]


def _wrap(name: str) -> str:
    """Break a long name at an underscore near its middle."""
    text = shorten(name, 26)
    cuts = [place for place, letter in enumerate(text) if letter == "_"]
    if len(text) <= 10 or not cuts:
        return text
    if len(text) > 18 and len(cuts) > 1:
        first = min(cuts, key=lambda c: abs(c - len(text) / 3))
        second = min((c for c in cuts if c > first), default=None, key=lambda c: c)
        if second is not None:
            return f"{text[: first + 1]}\n{text[first + 1 : second + 1]}\n{text[second + 1 :]}"
    cut = min(cuts, key=lambda c: abs(c - len(text) / 2))
    return f"{text[: cut + 1]}\n{text[cut + 1 :]}"


def _slice_colour(trial: Mapping[str, Any], best: int) -> str:
    if trial["number"] == best:
        return VERMILLION
    return BLUE if len(trial["rungs"]) > 1 else "white"


def _scale_log(axes: Axes, losses: Sequence[float]) -> None:
    usable = [loss for loss in losses if loss > 0 and math.isfinite(loss)]
    if not usable:
        return
    axes.set_yscale("log")
    span = max(usable) / min(usable)
    subs = (1.0, 2.0, 5.0) if span > 5 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    if span < 1.5:
        axes.set_yscale("linear")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(min(usable) / 1.15, max(usable) * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
