"""Bringing the picture of a digit to what MNIST's look like.

A photograph of pen on paper, a drawing, a scan: the ink is found, light or dark, cropped,
scaled and centred as the training images were. NumPy and Pillow only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BOX = 20 / 28
"""Share of the image's side that the ink fills."""

SMALLEST_WITH_MARGIN = 16
"""Images of fewer pixels a side (scikit-learn's of 8) are filled to the border."""

_WORKING_SIDE = 256
_SMALL_PIXELS = 2**16
_FIT_SIDE = 48
_CELLS = 48

_GREY_LEVELS = 10.0
"""Less contrast than this between ink and ground is none."""

_INK_FROM = 0.3
"""Share of the darkest ink from which a pixel counts for the crop."""

_SPECK = 0.04
"""A separate piece with less than this share of the largest one's ink is dirt."""


def centre_digit(grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the ink of an image, light on black, scaled and centred as in MNIST.

    MNIST's recipe (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten
    digits"): the ink is scaled to fit in a box of 20x20, keeping its aspect, with grey levels
    from antialiasing, and placed in an image of 28x28 so that its centre of mass lies at
    the middle. Other sizes get a box in proportion. What MNIST did not need comes before:
    the ground is fitted by a quadratic surface, as paper is lit unevenly; ink is what
    differs from it, light or dark, whichever is more.

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
    uint8, shape (height, width); black where there is no ink at all
    """
    box = _box(height), _box(width)
    if grey.shape == (height, width) and _is_done(grey, box):
        return grey.copy()
    ink = _find_ink(grey)
    if ink is None:
        return np.zeros((height, width), np.uint8)
    return _place(_scale(ink, box), height, width)


def _box(side: int) -> int:
    return round(side * BOX) if side >= SMALLEST_WITH_MARGIN else side


def _is_done(grey: NDArray[np.uint8], box: tuple[int, int]) -> bool:
    """Whether the digit is light on black, and of the size and in the place it should be.

    Of MNIST's own images the largest side is 20 and the centre of mass, in pixels counted
    from 0, lies within half a pixel of 14, but for one in ten thousand (measured).
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


def _find_ink(grey: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Crop to the ink, which is 0 to 1 in what is given, or ``None`` where there is none.

    A large image is searched coarsely first; what was found is looked at again, closer.
    """
    factor = max(1, -(-max(grey.shape) // _WORKING_SIDE))
    found = _separate(_reduce(grey, factor))
    if found is None:
        return None
    ink, (top, bottom, left, right) = found
    if factor == 1:
        return ink[top:bottom, left:right]
    margin = max(8, (bottom - top) // 4, (right - left) // 4)
    rows = slice(max(0, top - margin) * factor, (bottom + margin) * factor)
    columns = slice(max(0, left - margin) * factor, (right + margin) * factor)
    closer = grey[rows, columns]
    found = _separate(_reduce(closer, max(1, -(-max(closer.shape) // _WORKING_SIDE)))) or found
    ink, (top, bottom, left, right) = found
    return ink[top:bottom, left:right]


def _reduce(grey: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average squares of factor x factor pixels."""
    return grey if factor == 1 else np.asarray(Image.fromarray(grey).reduce(factor))


def _separate(
    grey: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]] | None:
    """Tell ink from ground: its strength 0 to 1, and its top, bottom, left and right."""
    difference = grey - _fit_ground(grey)
    # Noise of the ground, if that is at least a quarter of the image: of normal deviations a
    # quarter are below 0.3186 of their standard deviation.
    noise = float(np.percentile(np.abs(difference), 25)) / 0.3186
    floor = max(_GREY_LEVELS, 4 * noise)
    light, dark = difference - floor, -difference - floor
    is_light = light[light > 0].sum() >= dark[dark > 0].sum()
    strength = difference if is_light else -difference
    above = strength[strength > floor]
    if not len(above):
        return None
    full = float(np.percentile(above, 90))
    ink = np.clip(strength / full, 0, 1).astype(np.float32)
    ink[strength <= max(floor, 0.1 * full)] = 0
    kept = _drop_specks(np.where(ink > _INK_FROM, ink, 0))
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    # A pixel more, for the antialiased edge that the threshold left out.
    edge = 1 if max(grey.shape) > 2 * SMALLEST_WITH_MARGIN else 0
    return ink, (
        max(0, int(rows[0]) - edge),
        int(rows[-1]) + 1 + edge,
        max(0, int(columns[0]) - edge),
        int(columns[-1]) + 1 + edge,
    )


def _fit_ground(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness of the ground at each pixel: a quadratic surface, fitted without the ink.

    The pixels are parted in dark and light, and it begins with those of which there are more
    along the border; then it takes what lies close to the surface so far, four times.
    """
    small = _reduce(grey, max(1, max(grey.shape) // _FIT_SIDE)).astype(np.float64)
    terms, values = _terms(small.shape), small.ravel()
    light = small > _part(small)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    chosen = (light == (border.mean() >= 0.5)).ravel()
    for _ in range(5):
        a, b = terms[chosen], values[chosen]
        # A little ridge keeps the surface flat where few pixels hold it.
        normal = a.T @ a + np.diag([0, *[1e-3 * len(b)] * 5])
        surface = np.linalg.solve(normal, a.T @ b)
        off = np.abs(values - terms @ surface)
        chosen = off <= max(_GREY_LEVELS, 2.5 * 1.4826 * np.median(off[chosen]))
    return np.clip(_terms(grey.shape) @ surface, 0, 255).reshape(grey.shape).astype(np.float32)


def _part(values: NDArray[np.float64]) -> float:
    """Threshold between dark and light: the variance within the two classes is least.

    N. Otsu, 1979, "A threshold selection method from gray-level histograms". Where several
    are as good, the middle one.
    """
    counts = np.bincount(values.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * (below[-1] - below))
    between = np.nan_to_num(between, posinf=0.0)
    return float(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


def _terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Terms of small images, which mostly come in one size, are kept."""
    return _keep_terms(shape) if math.prod(shape) <= _SMALL_PIXELS else _make_terms(shape)


@lru_cache(maxsize=4)
def _keep_terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    terms = _make_terms(shape)
    terms.flags.writeable = False
    return terms


def _make_terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """1, x, y, x², xy, y² at each pixel, with x and y from -1 to 1; shape (pixels, 6)."""
    y, x = np.meshgrid(*(((np.arange(n) + 0.5) / n * 2 - 1) for n in shape), indexing="ij")
    return np.stack([np.ones(shape), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


def _drop_specks(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove small pieces that hang together with nothing; neighbours touch diagonally too."""
    cell = -(-max(ink.shape) // _CELLS)
    pad = [(0, -side % cell) for side in ink.shape]
    grid = np.pad(ink, pad)
    weights = grid.reshape(grid.shape[0] // cell, cell, grid.shape[1] // cell, cell).sum((1, 3))
    pieces = _label_pieces(weights > 0)
    sums = np.bincount(pieces.ravel(), weights=weights.ravel())
    sums[0] = 0
    good = sums >= _SPECK * sums.max()
    good[0] = False
    keep = good[pieces].repeat(cell, axis=0).repeat(cell, axis=1)
    return np.where(keep[: ink.shape[0], : ink.shape[1]], ink, 0)


def _label_pieces(filled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number connected cells from 1; 0 is empty."""
    labels = np.zeros(np.add(filled.shape, 2), np.int64)
    todo = {(int(r) + 1, int(c) + 1) for r, c in np.argwhere(filled)}
    number = 0
    while todo:
        number += 1
        reached = [todo.pop()]
        while reached:
            row, column = reached.pop()
            labels[row, column] = number
            around = {(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)} & todo
            todo -= around
            reached.extend(around)
    return labels[1:-1, 1:-1]


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
