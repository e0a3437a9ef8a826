"""The pictures of a report: one function for each, plain data in, a figure out.

Only matplotlib's object interface is used, with its defaults whatever the user's own
settings say. Colours are from Okabe and Ito's palette, which colour-blind readers can tell
apart, and no meaning hangs on colour alone.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

BLUE = "#0072B2"
VERMILLION = "#D55E00"
INK = "#1b242c"
SOFT = "#5b6873"
LINE = "#d5dbe0"
GREY = "#a9b4bd"

MAX_MISTAKES = 24
MAX_CLASSES_WITH_NUMBERS = 25
LOG_SPAN = 8.0
# Where the most frequent confusion is a handful of images, none takes the darkest colour.
_FULL_COLOUR = 10
_TICK_STEPS = [1, 2, 2.5, 5, 10]

# Verdana has nearly the widths of DejaVu Sans, which matplotlib brings along: an SVG looks
# the same where only one of them is installed. The rest draw scripts that DejaVu lacks.
_FONTS = ("DejaVu Sans", "Verdana", "Noto Sans CJK JP", "Noto Sans", "Arial Unicode MS")

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "burnish",
    "text.color": INK,
    # A class or stage may be called "$x$"; names are text, never formulas.
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user's own settings say."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        mpl.rcParams["font.family"] = [name for name in _FONTS if name in installed]
        yield


def shorten(text: str, length: int) -> str:
    """Make a name fit a picture: one line, printable, at most ``length`` characters.

    The middle goes, since names in a series differ at their ends.

    >>> shorten("a rather long name 12", 12)
    'a rath…me 12'
    """
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(line) <= length:
        return line
    tail = (length - 1) // 2
    return line[: length - 1 - tail] + "…" + line[len(line) - tail :]


def start(width: float, height: float, title: str, subtitle: str, legend_rows: int = 0) -> Figure:
    """Begin a figure with a title, a subtitle and room for a legend above the axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    header = 0.62 + 0.24 * legend_rows  # inches
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.0, 0.0, 1.0, 1.0 - header / height), w_pad=0.1, h_pad=0.08)  # type: ignore[call-arg]
    left = 0.1 / width
    figure.text(left, 1 - 0.13 / height, title, va="top", fontsize=12.5, fontweight="bold")
    figure.text(left, 1 - 0.39 / height, subtitle, va="top", fontsize=9.5, color=SOFT)
    return figure


def plain(value: float, _position: float | None = None) -> str:
    """Write a tick's number without needless zeros."""
    return f"{value:g}"


def draw_curve(
    history: Sequence[Mapping[str, float]],
    *,
    stage: str,
    source: str,
    best_epoch: float,
    noise: str = "",
) -> Figure:
    """Draw loss and accuracy of one fit over its epochs, training and validation.

    Parameters
    ----------
    history
        One mapping per epoch, as :func:`burnish.runfolder.store.read_history` gives them.
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
            f"Training curve of {shorten(stage, 34)}",
            f"data: {shorten(source, 30)}, weights of epoch {best_epoch:g} of {epochs[-1]:g} kept",
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
        accuracy.yaxis.set_major_locator(MaxNLocator(6, steps=_TICK_STEPS))
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


def draw_comparison(
    names: Sequence[str],
    losses: Sequence[float],
    accuracies: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    *,
    chosen: str | None,
    source: str,
) -> Figure:
    """Draw validation loss and validation error of every stage, the chosen one highlighted.

    Parameters
    ----------
    names, losses, accuracies
        One entry per stage, in the study's order; accuracies from 0 to 1.
    intervals
        95 % interval of each accuracy, or None where the number of images is not known.
    chosen
        Name of the chosen stage; None before there is one.
    source
        Name of the data.
    """
    rows = np.arange(len(names))
    height = 1.55 + 0.46 * len(names)
    subtitle = f"data: {shorten(source, 30)}, lower is better"
    if any(intervals):
        subtitle += "; lines: 95 % intervals of the error"
    with style():
        figure = start(7.4, height, "Validation loss and error of each stage", subtitle)
        left, right = figure.subplots(1, 2, sharey=True)
        colours = [BLUE if name == chosen else GREY for name in names]
        errors = [100 * (1 - accuracy) for accuracy in accuracies]
        left.barh(rows, losses, height=0.58, color=colours)
        right.barh(rows, errors, height=0.58, color=colours)
        ends = list(errors)
        for row, interval in enumerate(intervals):
            if interval is not None:
                low, high = 100 * (1 - interval[1]), 100 * (1 - interval[0])
                right.plot(
                    [low, high],
                    [row, row],
                    color=INK,
                    linewidth=1.4,
                    path_effects=[withStroke(linewidth=3.2, foreground="white")],
                )
                ends[row] = max(ends[row], high)
        for row, name in enumerate(names):
            weight = "bold" if name == chosen else "normal"
            for axes, end, text in (
                (left, losses[row], f"{losses[row]:.4f}"),
                (right, ends[row], f"{errors[row]:.2f} %"),
            ):
                axes.annotate(
                    text,
                    (end, row),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9.5,
                    fontweight=weight,
                )
        left.set_xlim(0, max(*losses, 1e-9) * 1.3)
        right.set_xlim(0, max(*ends, 1e-9) * 1.34)
        left.set_xlabel("validation loss (cross-entropy)")
        right.set_xlabel("validation error (% of images)")
        left.set_yticks(
            rows,
            [shorten(name, 24) + ("\n(chosen)" if name == chosen else "") for name in names],
        )
        middle, half = (len(names) - 1) / 2, max(len(names) / 2, 1.0)
        left.set_ylim(middle + half, middle - half)  # the first stage on top
        for axes in (left, right):
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=_TICK_STEPS))
            axes.xaxis.set_major_formatter(FuncFormatter(plain))
            axes.grid(axis="x")
    return figure


def draw_confusion(
    counts: NDArray[np.integer[Any]], class_names: Sequence[str], *, source: str
) -> Figure:
    """Draw a confusion matrix in which rare confusions can be seen.

    The diagonal, which holds nearly all images, is grey; only errors are coloured, on a
    square-root scale, so that a single image shows beside a frequent confusion.

    Parameters
    ----------
    counts
        Images by true class (row) and predicted class (column).
    class_names
        Name of each class.
    source
        Name of the data.
    """
    num = len(class_names)
    diagonal = np.eye(num, dtype=bool)
    errors = np.ma.masked_where(diagonal | (counts == 0), counts)
    num_errors = int(counts[~diagonal].sum())
    total = int(counts.sum())
    side = 4.7 if num <= 4 else 5.8 if num <= 12 else 7.0 if num <= 25 else 8.8
    names = [shorten(name, 16) for name in class_names]
    longest = max(len(name) for name in names)
    # As many names as fit at a legible size: 0.12 inch each.
    step = math.ceil(num * 0.12 / (side * 0.78))
    subtitle = f"data: {shorten(source, 24)}, {num_errors:,} of {total:,} test images wrong"
    if step > 1:
        subtitle += f"; one class in {step} is named"
    size = 9.5 if num <= 14 else 8.0 if num <= 40 else 6.5
    with style():
        figure = start(
            side + 0.9, side + 0.7, "Confusion matrix of the final model, test split", subtitle
        )
        axes = figure.subplots()
        # interpolation="none" puts the cells into an SVG as they are, with sharp edges.
        axes.imshow(
            np.ma.masked_where(~diagonal, diagonal),
            cmap=ListedColormap(["#e3e8ec"]),
            interpolation="none",
        )
        if num_errors:
            image = axes.imshow(
                errors,
                cmap=LinearSegmentedColormap.from_list(
                    "errors", ["#fdeadb", "#f0a35f", VERMILLION, "#7f2c00"]
                ),
                norm=PowerNorm(0.5, vmin=0, vmax=max(int(errors.max()), _FULL_COLOUR)),
                interpolation="none",
            )
            bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=26, pad=0.02)
            bar.set_label("errors: images of the row's class\ntaken for the column's", fontsize=9)
            bar.locator = MaxNLocator(5, integer=True)
            bar.formatter = FuncFormatter(plain)
            bar.update_ticks()
            bar.outline.set_visible(False)
        ticks = np.arange(0, num, step)
        shown = [names[tick] for tick in ticks]
        upright = longest > 3 and (num > 4 or longest > 9)
        axes.set_xticks(ticks, shown, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(ticks, shown, fontsize=size)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.tick_params(length=0 if step == 1 else 2.5)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, num), minor=True)
        axes.set_yticks(np.arange(-0.5, num), minor=True)
        axes.grid(which="minor", color=LINE, linewidth=0.7 if num <= 25 else 0.25)
        axes.tick_params(which="minor", length=0)
        if num <= MAX_CLASSES_WITH_NUMBERS:
            _number_cells(axes, counts, size=10 if num <= 10 else 7.5 if num <= 16 else 6)
    return figure


def _number_cells(axes: Axes, counts: NDArray[np.integer[Any]], size: float) -> None:
    off_diagonal = counts[~np.eye(len(counts), dtype=bool)]
    dark_from = 0.42 * max(int(off_diagonal.max(initial=0)), _FULL_COLOUR)
    for row, column in np.argwhere(counts > 0):
        count = int(counts[row, column])
        on_diagonal = row == column
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            fontsize=size if count < 10_000 else size * 0.8,
            color=SOFT if on_diagonal else "white" if count > dark_from else INK,
        )


def draw_images(
    images: NDArray[np.uint8],
    true_names: Sequence[str],
    predicted_names: Sequence[str],
    notes: Sequence[str],
    *,
    title: str,
    source: str,
    subtitle: str,
) -> Figure:
    """Draw images with their class, the class that a model gave, and a note on each.

    Parameters
    ----------
    images
        Shape (k, height, width, channels), k at least 1; the first 24 are drawn, or 16
        where long names need the room.
    true_names, predicted_names, notes
        What stands above each image.
    title, source, subtitle
        What stands above all; ``{num}`` in the subtitle becomes the number that is drawn.
    """
    longest = max(len(name) for name in (*true_names, *predicted_names))
    num_columns = 6 if longest <= 12 else 4
    num = min(len(images), MAX_MISTAKES if num_columns == 6 else 16)
    num_rows = math.ceil(num / num_columns)
    height, width = images.shape[1:3]
    # In inches, of an image and of the gap to the next, which above has room for three lines.
    cell_width = 7.3 / num_columns
    room_width = cell_width - 0.2
    room_height = room_width * min(max(height / width, 0.5), 2.0)
    cell_height = room_height + 0.56
    scale = min(room_width / width, room_height / height)
    with style():
        figure = start(
            7.3,
            num_rows * cell_height + 0.6,
            title,
            f"data: {shorten(source, 16)}; {subtitle.format(num=num)}",
        )
        # One system of axes for all, in inches from the top: 24 take a second to be laid out.
        figure.set_layout_engine(None)
        figure.suppressComposite = True
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        for index in range(num):
            row, column = divmod(index, num_columns)
            middle = 0.1 + column * cell_width + room_width / 2
            top = 1.04 + row * cell_height
            left, right = (middle + side * scale * width / 2 for side in (-1, 1))
            image = images[index]
            axes.imshow(
                image[..., :3] if image.shape[-1] >= 3 else image[..., 0],
                cmap="gray",
                vmin=0,
                vmax=255,
                extent=(left, right, top + scale * height, top),
                # Small images keep their pixels; large ones are sampled down to what is shown.
                interpolation="none" if max(height, width) <= 64 else "antialiased",
            )
            room = 12 if num_columns == 6 else 20
            true, predicted = (
                shorten(names[index], room) for names in (true_names, predicted_names)
            )
            between = " → " if len(true) + len(predicted) <= 9 else " →\n"
            axes.text(
                middle,
                top - 0.04,
                f"{true}{between}{predicted}\n{notes[index]}",
                ha="center",
                va="bottom",
                fontsize=9 if between == " → " else 7.8,
                linespacing=1.15,
            )
        axes.set_xlim(0, figure.get_figwidth())
        axes.set_ylim(figure.get_figheight(), 0)
    return figure


def name_probability(probability: float) -> str:
    """Three decimals; what is merely close to 1 does not read as 1."""
    return "p > 0.999" if 0.9995 <= probability < 1 else f"p = {probability:.3f}"


@dataclass(frozen=True)
class Picture:
    """A figure as SVG and, unless only the page was wanted, as PNG."""

    svg: bytes
    png: bytes | None


def render(figure: Figure, *, png: bool = True) -> Picture:
    """Draw a figure as SVG and PNG.

    The same figure gives the same bytes: no date is written, and identifiers inside the SVG
    do not depend on chance. Text in the SVG stays text.
    """
    content: dict[str, bytes] = {}
    metadata: dict[str, dict[str, str | None]] = {"svg": {"Date": None}}
    if png:
        metadata["png"] = {"Software": "burnish"}
    with style(), warnings.catch_warnings():
        # A script that no installed font draws shows as boxes in the PNG; the SVG is right.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Once for both: it takes longer than to draw, and each savefig would do it anew.
        layout = figure.get_layout_engine()
        if layout is not None:
            with suppress(ValueError):  # As when matplotlib itself lays out what it draws.
                layout.execute(figure)
            figure.set_layout_engine(None)
        for kind, facts in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=150, metadata=facts)
            content[kind] = buffer.getvalue()
    return Picture(content["svg"], content.get("png"))
