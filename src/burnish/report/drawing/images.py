"""Images in rows, each with its class and what a model says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from burnish.report.analysis.final import MAX_SHOWN
from burnish.report.drawing.style import elide, start, style


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
    num = min(len(images), MAX_SHOWN if num_columns == 6 else 16)
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
            f"data: {elide(source, 16)}; {subtitle.format(num=num)}",
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
            _place_image(axes, images[index], middle, top, scale)
            room = 12 if num_columns == 6 else 20
            true, predicted = (elide(names[index], room) for names in (true_names, predicted_names))
            _place_text(axes, true, predicted, notes[index], middle, top)
        axes.set_xlim(0, figure.get_figwidth())
        axes.set_ylim(figure.get_figheight(), 0)
    return figure


def _place_image(
    axes: Axes, image: NDArray[np.uint8], middle: float, top: float, scale: float
) -> None:
    height, width = image.shape[:2]
    left, right = (middle + side * scale * width / 2 for side in (-1, 1))
    axes.imshow(
        image[..., :3] if image.shape[-1] >= 3 else image[..., 0],
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(left, right, top + scale * height, top),
        # Small images keep their pixels; large ones are sampled down to what is shown.
        interpolation="none" if max(height, width) <= 64 else "antialiased",
    )


def _place_text(
    axes: Axes, true: str, predicted: str, note: str, middle: float, top: float
) -> None:
    between = " → " if len(true) + len(predicted) <= 9 else " →\n"
    axes.text(
        middle,
        top - 0.04,
        f"{true}{between}{predicted}\n{note}",
        ha="center",
        va="bottom",
        fontsize=9 if between == " → " else 7.8,
        linespacing=1.15,
    )


def name_probability(probability: float) -> str:
    """Three decimals; what is merely close to 1 does not read as 1."""
    return "p > 0.999" if 0.9995 <= probability < 1 else f"p = {probability:.3f}"
