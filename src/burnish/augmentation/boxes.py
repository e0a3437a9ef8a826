"""Boxes in images: drawn outside the graph, filled within it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Drawn, ImageShape
from burnish.backend import keras

NUM_EDGES = 4


def draw_boxes(
    generator: np.random.Generator, sides: NDArray[np.float64], image_shape: ImageShape
) -> Drawn:
    """Draw boxes whose middles may be anywhere in the image; what is outside is cut off.

    Parameters
    ----------
    generator
        Of where they are.
    sides
        Height and width of each, as a share of the image's, shape (num_images,).
    image_shape
        Height, width, channels.

    Returns
    -------
    First row, the row behind the last, first column, the column behind the last: whole numbers,
    shape (num_images, 4).
    """
    edges = []
    for size in image_shape[:2]:
        length = np.round(sides * size)
        first = np.floor(generator.uniform(0, size, len(sides)) - length / 2 + 0.5)
        edges += [np.clip(first, 0, size), np.clip(first + length, 0, size)]
    return np.column_stack(edges)


def mark_boxes(boxes: Any, height: int, width: int) -> Any:
    """Return 1 within boxes and 0 outside, a float tensor of shape (batch, height, width, 1)."""
    rows = keras.ops.arange(height, dtype="float32")[None, :]
    columns = keras.ops.arange(width, dtype="float32")[None, :]
    down = keras.ops.logical_and(rows >= boxes[:, 0:1], rows < boxes[:, 1:2])
    right = keras.ops.logical_and(columns >= boxes[:, 2:3], columns < boxes[:, 3:4])
    down, right = (keras.ops.cast(inside, "float32") for inside in (down, right))
    return down[:, :, None, None] * right[:, None, :, None]
