"""Telling ink from its ground, light or dark, however the page is lit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from burnish.digit.ground import GREY_LEVELS, fit_ground, reduce_image
from burnish.digit.lines import erase_ruled_lines
from burnish.digit.pieces import label_pieces
from burnish.digit.sheet import cut_out_sheet

_WORKING_SIDE = 256
_CELLS = 48
_SMALL_SIDE = 32
_MOST_SHEETS = 3

_INK_FROM = 0.3
"""Share of the darkest ink from which a pixel counts for the crop."""

_SPECK = 0.04
"""A separate piece with less than this share of the largest one's ink is dirt."""

_LONELY = 0.2
"""Share of noise's pixels, at least, that have fewer than two neighbours. Of MNIST's 0.05 at most,
of lines a pixel wide 0.11."""

_LARGE = 0.25
_MOST_PIECES = 7
"""Of noise, more pieces than this have that share of the largest one's ink. A digit has 3 at
most, but thin strokes may have gaps."""

_LEAST_PIXELS = 8
"""Ink of fewer pixels is none. Of MNIST's digits the least have 25, of thin lines 18."""

_LONGEST = 7.0
"""A digit's outline is at most twice this times its size; of MNIST's 3.8 times."""


def find_ink(grey: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Crop to the ink, which is 0 to 1 in what is given, or ``None`` where there is none.

    A large image is searched coarsely first; what was found is looked at again, closer.
    """
    for _ in range(_MOST_SHEETS):  # A frame may be drawn on a sheet.
        sheet = cut_out_sheet(grey)
        if sheet is None:
            break
        grey = sheet
    factor = max(1, -(-max(grey.shape) // _WORKING_SIDE))
    found = _separate(reduce_image(grey, factor))
    if found is None:
        return None
    ink, (top, bottom, left, right) = found
    if factor == 1:
        return ink[top:bottom, left:right]
    margin = max(8, (bottom - top) // 4, (right - left) // 4)
    rows = slice(max(0, top - margin) * factor, (bottom + margin) * factor)
    columns = slice(max(0, left - margin) * factor, (right + margin) * factor)
    closer = grey[rows, columns]
    found = _separate(reduce_image(closer, max(1, -(-max(closer.shape) // _WORKING_SIDE)))) or found
    ink, (top, bottom, left, right) = found
    return ink[top:bottom, left:right]


def _separate(
    grey: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]] | None:
    """Tell ink from ground: its strength 0 to 1, and its top, bottom, left and right."""
    difference = grey - fit_ground(grey)
    # Noise of the ground, if that is at least a quarter of the image: of normal deviations a
    # quarter are below 0.3186 of their standard deviation.
    noise = float(np.percentile(np.abs(difference), 25)) / 0.3186
    floor = max(GREY_LEVELS, 4 * noise)
    light, dark = difference - floor, -difference - floor
    is_light = light[light > 0].sum() >= dark[dark > 0].sum()
    strength = difference if is_light else -difference
    above = strength[strength > floor]
    if not len(above):
        return None
    full = float(np.percentile(above, 90))
    ink = np.clip(strength / full, 0, 1).astype(np.float32)
    ink[strength <= max(floor, 0.1 * full)] = 0
    ink = erase_ruled_lines(ink)
    kept = _drop_specks(np.where(ink > _INK_FROM, ink, 0))
    if kept is None or _is_noise(kept > 0):
        return None
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    # A pixel more, for the antialiased edge that the threshold left out.
    edge = 1 if max(grey.shape) > _SMALL_SIDE else 0
    return ink, (
        max(0, int(rows[0]) - edge),
        int(rows[-1]) + 1 + edge,
        max(0, int(columns[0]) - edge),
        int(columns[-1]) + 1 + edge,
    )


def _is_noise(mask: NDArray[np.bool_]) -> bool:
    """Whether pixels lie about one by one, or in more lines than a digit has."""
    if max(mask.shape) < _SMALL_SIDE // 2:
        return False
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return True
    if np.count_nonzero(mask) < _LEAST_PIXELS:
        return True
    around = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.int8)
    across = around[:-2] + around[1:-1] + around[2:]
    near = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    inner = around[1:-1, 1:-1] > 0
    if np.mean(near[inner] < 3) > _LONELY:  # It counts itself.
        return True
    down, right = around[1:, :-1] != around[:-1, :-1], around[:-1, 1:] != around[:-1, :-1]
    num_corners = np.count_nonzero(down & right)
    outline = down.sum() + right.sum() - (2 - math.sqrt(2)) * num_corners
    return bool(outline / 2 > _LONGEST * max(inner.shape))


def _drop_specks(ink: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Remove small pieces that hang together with nothing; neighbours touch diagonally too.

    ``None`` where there are more pieces of some size than a digit has.
    """
    cell = -(-max(ink.shape) // _CELLS)
    pad = [(0, -side % cell) for side in ink.shape]
    grid = np.pad(ink, pad)
    weights = grid.reshape(grid.shape[0] // cell, cell, grid.shape[1] // cell, cell).sum((1, 3))
    pieces = label_pieces(weights > 0, diagonal=True)
    sums = np.bincount(pieces.ravel(), weights=weights.ravel())
    sums[0] = 0
    good = sums >= _SPECK * sums.max()
    good[0] = False
    if np.count_nonzero(sums >= _LARGE * sums.max()) > _MOST_PIECES:
        return None
    keep = good[pieces].repeat(cell, axis=0).repeat(cell, axis=1)
    return np.where(keep[: ink.shape[0], : ink.shape[1]], ink, 0)
