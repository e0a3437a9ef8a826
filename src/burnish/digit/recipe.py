"""The recipe: from the picture of a digit to what MNIST's images look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.digit.ink import find_ink
from burnish.digit.strokes import BOX_SIDE, divide_by_outline, redraw_strokes

BOX = 20 / 28
"""Share of the image's side that the ink fills."""

SMALLEST_WITH_MARGIN = 16
"""Images of fewer pixels a side (scikit-learn's of 8) are filled to the border."""

_GHOST = 1.2
"""Twice area by outline, in pixels of the box of 20: of each of MNIST's images at least 1.209, of
lines one pixel wide 1.15 at most, but for diagonal ones."""


def centre_digit(grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the ink of an image, light on black, scaled and centred as in MNIST.

    MNIST's recipe (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten
    digits"): the ink is scaled to fit in a box of 20x20, keeping its aspect, with grey levels
    from antialiasing, and placed in an image of 28x28 so that its centre of mass lies at
    the middle. Other sizes get a box in proportion. What MNIST did not need comes before:
    the ground is fitted by a quadratic surface, as paper is lit unevenly; ink is what
    differs from it, light or dark, whichever is more. A sheet on a table is cut out, ruled lines
    and a frame are left out, and strokes far thinner or thicker than MNIST's are redrawn.

    An image that has the size already, and whose digit lies as the recipe would put it,
    keeps its pixel values.

    Parameters
    ----------
    grey
        Shape (rows, columns), pixel values 0 to 255.
    height, width
        Of the result.

    Returns
    -------
    uint8, shape (height, width); black where there is no ink, or nothing but noise
    """
    box = _box(height), _box(width)
    if grey.shape == (height, width) and _is_done(grey, box):
        return grey.copy()
    ink = find_ink(grey)
    if ink is None:
        return np.zeros((height, width), np.uint8)
    return _place(_scale(redraw_strokes(ink, box), box), height, width)


def _box(side: int) -> int:
    return round(side * BOX) if side >= SMALLEST_WITH_MARGIN else side


def _is_done(grey: NDArray[np.uint8], box: tuple[int, int]) -> bool:
    """Whether the digit is light on black, and of the size and in the place it should be.

    Of MNIST's own images the largest side is 20 and the centre of mass, in pixels counted
    from 0, lies within half a pixel of 14, but for one in ten thousand (measured). None has
    strokes as thin as a line of one pixel.
    """
    edge = int(grey[0].sum()) + int(grey[-1].sum()) + int(grey[:, 0].sum()) + int(grey[:, -1].sum())
    has_margin = box != grey.shape
    if has_margin and edge > 8 * 2 * sum(grey.shape):
        return False
    rows, columns = np.flatnonzero(grey.max(axis=1) > 32), np.flatnonzero(grey.max(axis=0) > 32)
    if not len(rows):
        return False
    size = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    fills = max(side / most for side, most in zip(size, box, strict=True))
    if not 0.9 <= fills <= 1.05:
        return False
    if not has_margin:  # Most of it is ground; there is nothing to centre.
        return bool(np.median(grey) < 128)
    if divide_by_outline(grey.astype(np.float32)) < _GHOST * max(box) / BOX_SIDE:
        return False
    return all(
        abs(float(mass) - side / 2) < 0.75
        for mass, side in zip(_centre_of_mass(grey), grey.shape, strict=True)
    )


def _centre_of_mass(ink: NDArray[np.generic]) -> tuple[float, float]:
    """Row and column, counted from 0 at the middle of the first pixel."""
    weights = ink.astype(np.float64)
    total = weights.sum()
    rows, columns = weights.sum(axis=1), weights.sum(axis=0)
    return (
        float(rows @ np.arange(len(rows)) / total),
        float(columns @ np.arange(len(columns)) / total),
    )


def _scale(ink: NDArray[np.float32], box: tuple[int, int]) -> NDArray[np.float32]:
    """Scale to fit the box, keeping the aspect, antialiased; the strongest ink becomes 1."""
    scale = min(most / side for most, side in zip(box, ink.shape, strict=True))
    size = tuple(max(1, round(side * scale)) for side in ink.shape)
    if size != ink.shape:
        way = Image.Resampling.HAMMING if scale < 1 else Image.Resampling.BICUBIC
        ink = np.asarray(Image.fromarray(ink).resize(size[::-1], way))
    strength: NDArray[np.float32] = np.clip(ink / max(float(ink.max()), 1e-6), 0, 1)
    return strength


def _place(ink: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Lay the ink on black, its centre of mass in the middle as far as it then fits."""
    result = np.zeros((height, width), np.uint8)
    corner = [
        min(max(0, round(side / 2 - mass)), side - own)
        for side, mass, own in zip((height, width), _centre_of_mass(ink), ink.shape, strict=True)
    ]
    rows = slice(corner[0], corner[0] + ink.shape[0])
    columns = slice(corner[1], corner[1] + ink.shape[1])
    result[rows, columns] = np.rint(ink * 255)
    return result
