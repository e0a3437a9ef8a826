"""Strokes of a pen far thinner or thicker than MNIST's, brought to the width of MNIST's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BOX_SIDE = 20
"""Widths are counted in pixels of a box of this side, which the ink fills."""

MEAN_WIDTH = 2.72
STD_WIDTH = 0.66
"""Mean and standard deviation of the width of MNIST's strokes, as `measure_width` has it, over the
60,000 images of its train split (``python benchmarks/strokes.py --mnist``)."""

THINNEST = MEAN_WIDTH - 1.5 * STD_WIDTH
"""Thinner strokes become `MEAN_WIDTH` wide. Of MNIST's own, 4 % are thinner."""

THICKEST = MEAN_WIDTH + 2 * STD_WIDTH
"""Thicker strokes become one standard deviation wider than the mean. Of MNIST's own, 4 % are."""

FINE = 5
"""Strokes are measured and redrawn at so many times the size of the result."""

_INK_FROM = 0.4
"""Strength from which a pixel belongs to a stroke."""

_SHARPNESS = 4.0
"""How steeply a stroke's edge goes up there, as strength for strength."""


def redraw_strokes(ink: NDArray[np.float32], box: tuple[int, int]) -> NDArray[np.float32]:
    """Return ink whose strokes are about as wide as MNIST's, once it fills the box.

    A line of one pixel that is scaled down is a grey ghost of a line; a stroke of a felt-tip
    closes the loops. Ink of a usual width is returned as it is. Else each pixel at less than some
    distance from a stroke is ink, or each that lies deeper in a stroke.

    Parameters
    ----------
    ink
        Cropped; strength 0 to 1.
    box
        Height and width that it will be scaled to, keeping its aspect.
    """
    unit = max(box) / BOX_SIDE
    scale = min(most / side for most, side in zip(box, ink.shape, strict=True))
    width = measure_width(ink, scale) / unit
    if width < THINNEST:
        # The ink is drawn smaller, so that it fills the box when it is wider; the width with it.
        reach = (MEAN_WIDTH - width) / 2 / (1 - width / BOX_SIDE)
        return _thicken(ink, box, reach * unit * FINE)
    if width > THICKEST:
        # What is left of the ink is scaled to the box again.
        narrower = MEAN_WIDTH + STD_WIDTH
        reach = (width - narrower) / 2 / (1 - narrower / BOX_SIDE)
        return _thin(ink, box, reach * unit * FINE)
    return ink


def measure_width(ink: NDArray[np.float32], scale: float) -> float:
    """Return the mean width of strokes, in pixels once ink is scaled."""
    fine = max(1.0, scale * FINE)
    padded = np.pad(ink, 1)
    if fine > 1:
        size = tuple(max(1, round(side * fine)) for side in padded.shape)
        padded = np.asarray(
            Image.fromarray(padded).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        )
    soft = np.clip((padded - _INK_FROM) * _SHARPNESS + 0.5, 0, 1)
    return divide_by_outline(soft) * scale / fine


def divide_by_outline(ink: NDArray[np.float32]) -> float:
    """Return twice the area of ink by the length of its outline: the width of a long stroke.

    The length is the total variation, which for a soft edge is the same as for a hard one; of
    slopes over squares of 2x2 pixels, which count a slanted edge's steps for less. The border of
    ``ink`` must be empty.
    """
    falling, rising = ink[1:, 1:] - ink[:-1, :-1], ink[1:, :-1] - ink[:-1, 1:]
    down, right = (falling + rising) / 2, (falling - rising) / 2
    outline = float(np.sqrt(down * down + right * right).sum())
    return 2 * float(ink.sum()) / max(outline, 1e-6)


def _thicken(ink: NDArray[np.float32], box: tuple[int, int], reach: float) -> NDArray[np.float32]:
    """Draw strokes wider by ``reach`` fine pixels on each side."""
    around = math.ceil(reach) + 1
    inner = [max(1, side * FINE - 2 * round(reach)) for side in box]
    mask = np.pad(_enlarge(ink, inner), around)
    return _crop(find_distances(mask, around) <= reach)


def _thin(ink: NDArray[np.float32], box: tuple[int, int], reach: float) -> NDArray[np.float32]:
    """Draw strokes narrower by ``reach`` fine pixels on each side."""
    mask = np.pad(_enlarge(ink, [side * FINE for side in box]), 1)
    deep = find_distances(~mask, math.ceil(reach) + 1) > reach
    return _crop(deep) if deep.any() else ink


def _enlarge(ink: NDArray[np.float32], box: list[int]) -> NDArray[np.bool_]:
    """Scale ink to fit a box, as a mask in which lines of a pixel have no gaps."""
    scale = min(most / side for most, side in zip(box, ink.shape, strict=True))
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    if scale >= 1:
        large = Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(large) > _INK_FROM
    # A mean would lose thin lines: each pixel of ink is one here.
    mask = np.zeros((height, width), np.bool_)
    rows, columns = np.nonzero(ink > _INK_FROM)
    rows, columns = (rows * scale).astype(np.int64), (columns * scale).astype(np.int64)
    mask[np.minimum(rows, height - 1), np.minimum(columns, width - 1)] = True
    return mask


def _crop(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def find_distances(mask: NDArray[np.bool_], reach: int) -> NDArray[np.float32]:
    """Return each pixel's distance to the nearest one in ``mask``, exact up to ``reach``.

    The nearest along a row first, then over the rows within reach (A. Meijster, J. Roerdink,
    W. Hesselink, 2000, "A general algorithm for computing distance transforms in linear time").
    """
    places = np.arange(mask.shape[1], dtype=np.float32)
    far = np.float32(mask.shape[1] + reach + 1)
    before = np.maximum.accumulate(np.where(mask, places, -far), axis=1)
    after = np.minimum.accumulate(np.where(mask, places, 2 * far)[:, ::-1], axis=1)[:, ::-1]
    along = np.minimum(places - before, after - places) ** 2
    nearest = along.copy()
    for step in range(1, min(reach, len(mask) - 1) + 1):
        np.minimum(nearest[step:], along[:-step] + step * step, out=nearest[step:])
        np.minimum(nearest[:-step], along[step:] + step * step, out=nearest[:-step])
    distances: NDArray[np.float32] = np.sqrt(nearest)
    return distances
