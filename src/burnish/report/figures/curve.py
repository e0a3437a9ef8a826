"""The training curve of a stage: loss and accuracy over its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from burnish.report.analysis.facts import StageFacts
from burnish.report.drawing.style import (
    BLUE,
    GREY,
    TICK_STEPS,
    VERMILLION,
    elide,
    plain,
    start,
    style,
)
from burnish.report.figures.figure import Drawing, Figure

LOG_SPAN = 8.0


def draw_curve(
    history: Sequence[Mapping[str, float]],
    *,
    stage: str,
    source: str,
    best_epoch: float,
    noise: str = "",
) -> Canvas:
    """Draw loss and accuracy of one fit over its epochs, training and validation.

    Parameters
    ----------
    history
        One mapping per epoch, as :func:`burnish.runfolder.tables.read_history` returns them.
    stage, source
        Names of the stage and of the data.
    best_epoch
        Epoch whose weights were kept.
    noise
        What was on while the training numbers were taken, such as ``"dropout"``.
    """
    columns = {
        name: np.array([row[name] for row in history])
        for name in ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    }
    epochs = columns["epoch"]
    with style():
        figure = start(
            6.0,
            5.6,
            f"Training curve of {elide(stage, 34)}",
            f"data: {elide(source, 30)}, weights of epoch {best_epoch:g} of {epochs[-1]:g} kept",
            legend_rows=1,
        )
        loss, accuracy = figure.subplots(2, 1, sharex=True)
        train_label = f"training ({noise} on)" if noise else "training"
        for axes, kind, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
            _draw_pair(axes, epochs, columns, kind, scale, train_label)
            _mark_best(axes, epochs, columns[f"val_{kind}"] * scale, best_epoch, kind)
            axes.grid(axis="y")
        loss.set_ylabel("loss (cross-entropy)")
        accuracy.set_ylabel("accuracy (%)")
        accuracy.set_xlabel("epoch")
        accuracy.xaxis.set_major_locator(
            MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        if len(epochs) == 1:
            accuracy.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
        accuracy.yaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
        accuracy.yaxis.set_major_formatter(FuncFormatter(plain))
        _scale_loss(loss, np.concatenate([columns["train_loss"], columns["val_loss"]]))
        handles, labels = loss.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.02 / 6.0, 1 - 0.56 / 5.6),
            ncols=3,
            columnspacing=1.4,
            handlelength=1.9,
        )
    return figure


def _draw_pair(
    axes: Axes,
    epochs: NDArray[Any],
    columns: Mapping[str, NDArray[Any]],
    kind: str,
    scale: float,
    train_label: str,
) -> None:
    marker = "o" if len(epochs) <= 12 else ""
    axes.plot(
        epochs,
        columns[f"train_{kind}"] * scale,
        color=VERMILLION,
        linestyle=(0, (4, 1.6)),
        linewidth=1.6,
        marker=marker,
        markersize=3.5,
        label=train_label,
        gid=f"line-train-{kind}",
    )
    axes.plot(
        epochs,
        columns[f"val_{kind}"] * scale,
        color=BLUE,
        linewidth=1.8,
        marker=marker,
        markersize=3.5,
        label="validation",
        gid=f"line-val-{kind}",
    )
    # Nothing to be seen: a place for the pointer to rest on.
    for split in ("train", "val"):
        axes.scatter(
            epochs,
            columns[f"{split}_{kind}"] * scale,
            s=60,
            color="white",
            alpha=0.004,
            linewidths=0,
            gid=f"dots-{split}-{kind}",
        )


def _mark_best(
    axes: Axes, epochs: NDArray[Any], values: NDArray[Any], best_epoch: float, kind: str
) -> None:
    at = np.flatnonzero(epochs == best_epoch)
    if not len(at):
        return
    value = float(values[at[0]])
    axes.axvline(best_epoch, color=GREY, linewidth=1.0, linestyle=":", zorder=1)
    axes.plot(
        [best_epoch],
        [value],
        linestyle="none",
        marker="o",
        markersize=7.5,
        markerfacecolor="white",
        markeredgecolor=BLUE,
        markeredgewidth=1.8,
        zorder=5,
        label="kept epoch",
    )
    # Above the axes the number is clear of both curves, whichever way they run.
    text = f"epoch {best_epoch:g}: "
    text += f"loss {value:.4f}" if kind == "loss" else f"accuracy {value:.2f} %"
    share = (best_epoch - epochs[0]) / max(epochs[-1] - epochs[0], 1)
    axes.annotate(
        text,
        (best_epoch, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="left" if share < 0.2 else "right" if share > 0.8 else "center",
        va="bottom",
        color=BLUE,
        fontsize=9.5,
        fontweight="bold",
    )


def _scale_loss(axes: Axes, values: NDArray[Any]) -> None:
    usable = values[np.isfinite(values) & (values > 0)]
    if len(usable) and usable.max() / usable.min() >= LOG_SPAN:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(usable.min() / 1.25, usable.max() * 1.25)
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(plain))


def _draw(facts: StageFacts) -> Drawing:
    assert facts.best_epoch is not None  # There is a history.
    titles, series = {}, {}
    for split, name in (("train", "training"), ("val", "validation")):
        for kind in ("loss", "accuracy"):
            titles[f"dots-{split}-{kind}"] = [
                f"epoch {row['epoch']:g}: {name} {kind} " + _show(row[f"{split}_{kind}"], kind)
                for row in facts.history
            ]
            series[f"line-{split}-{kind}"] = series[f"dots-{split}-{kind}"] = name
    return Drawing(
        draw_curve(
            facts.history,
            stage=facts.name,
            source=facts.source,
            best_epoch=facts.best_epoch,
            noise=facts.noise,
        ),
        f"Training curve of {facts.name} on {facts.source}: loss and accuracy by epoch, training "
        "and validation.",
        titles,
        series,
        copy_to=facts.record.folder / "curve",
    )


def _show(value: float, kind: str) -> str:
    return f"{value:.4f}" if kind == "loss" else f"{100 * value:.2f} %"


def _caption(facts: StageFacts) -> str:
    taken = "Training numbers are an average over each epoch, taken while the weights still change"
    if not facts.noise:
        return f"{taken}; validation numbers are taken at its end."
    return (
        f"{taken} and with {facts.noise} on; validation numbers are taken at its end with "
        f"{facts.noise} off. So validation may well look better than training."
    )


CURVE = Figure[StageFacts](
    name="curve",
    section="stage",
    applies=lambda facts: bool(facts.history),
    caption=_caption,
    draw=_draw,
    shape="",
)
