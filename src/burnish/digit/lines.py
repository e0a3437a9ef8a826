"""Ruled lines, which run from one border of the page to the other and are no ink."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SPAN = 0.7
"""Share of the page's width that a line covers at least."""

_THICKEST = 0.04
"""Share of the page's height that a ruled line is thick at most."""

_STEEPEST = 0.06
"""Lines are turned by less than this, as a tangent: some 3.5 degrees."""

_MARGIN = 0.05
"""Share of the page's width that the digit keeps away from the borders that lines reach."""

_FROM = 0.1
"""Strength of ink from which a pixel may belong to a line."""

_STRONG = 0.3
_LEAST_PIXELS = 12
"""A digit has at least so many strong pixels."""

_SMALLEST_SIDE = 40
"""Images of fewer pixels a side show no paper's lines."""


def erase_ruled_lines(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ink (rows, columns) without lines across, and without lines from top to bottom.

    Where a stroke crosses a line, the crossing stays. Lines stay where without them nothing is
    left, or where what is left reaches the borders as they do: of an image that was cut to a
    digit, its own straight strokes span it.
    """
    erased, num_across = _erase_across(ink, ink)
    erased, num_down = _erase_across(erased.T, ink.T)
    num_lines = num_across + num_down
    return erased.T if num_lines and _is_digit_left(erased.T, num_lines) else ink


def _erase_across(
    ink: NDArray[np.float32], whole: NDArray[np.float32]
) -> tuple[NDArray[np.float32], int]:
    """Return ink without lines from left to right, and how many there were.

    They are looked for in the ``whole`` ink: without other lines they may have gaps.
    """
    height, width = ink.shape
    mask = whole > _FROM
    edge = max(1, width // 50)
    if (
        min(height, width) < _SMALLEST_SIDE
        or not (mask[:, :edge].any() and mask[:, -edge:].any())
        or mask.any(axis=0).mean() < _SPAN
    ):
        return ink, 0
    shift, on = _find_lines(mask)
    mask = ink > _FROM
    thickest = max(4, round(_THICKEST * height))
    erased, columns, num_lines = ink.copy(), np.arange(width), 0
    for begin, end in _list_runs(on):
        if end - begin > thickest:
            continue
        num_lines += 1
        # A pixel more on each side, for what antialiasing and the slope leave.
        first, last = begin - 1, end + 2
        above, below = first - 1 + shift, last + shift
        within = (above >= 0) & (below < height)
        crossed = mask[np.maximum(above, 0), columns] & mask[np.minimum(below, height - 1), columns]
        crossed = _widen(crossed & within)
        for row in range(first, last):
            places = row + shift
            good = (places >= 0) & (places < height) & ~crossed
            erased[places[good], columns[good]] = 0
    return erased, num_lines


def _find_lines(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the slope at which lines cover most, as rows to add at each column, and the lines.

    The lines are rows at the middle column.
    """
    height, width = mask.shape
    edge = max(2, width // 30)
    middle, columns = np.arange(width) - width / 2, np.arange(width)
    # A slanted line passes from row to row: two together hold it.
    pairs = mask.copy()
    pairs[:-1] |= mask[1:]
    best, most = (np.zeros(width, np.int64), np.zeros(height, np.bool_)), 0.0
    for slope in np.arange(-_STEEPEST, _STEEPEST + 1e-9, 2 / width):
        shift = np.rint(slope * middle).astype(np.int64)
        places = np.arange(height)[:, None] + shift
        inside = (places >= 0) & (places < height)
        covered = pairs[np.clip(places, 0, height - 1), columns] & inside
        cover = covered.sum(axis=1) / np.maximum(inside.sum(axis=1), width / 2)
        on = cover >= _SPAN
        # It comes in at one border and goes out at the other, unlike a 1 that is as long.
        for end in (slice(0, edge), slice(width - edge, width)):
            on &= covered[:, end].any(axis=1) | ~inside[:, end].any(axis=1)
        if cover[on].sum() > most:
            best, most = (shift, on), float(cover[on].sum())
    return best


def _list_runs(on: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.pad(on, 1).astype(np.int8))
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
    )


def _widen(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    return wide


def _is_digit_left(ink: NDArray[np.float32], num_lines: int) -> bool:
    strong = ink > _STRONG
    if strong.sum() < _LEAST_PIXELS:
        return False
    columns, rows = np.flatnonzero(strong.any(axis=0)), np.flatnonzero(strong.any(axis=1))
    ends = [
        (found[0] < _MARGIN * side, found[-1] >= (1 - _MARGIN) * side)
        for found, side in ((columns, ink.shape[1]), (rows, ink.shape[0]))
    ]
    # A single line may be the bar of a 7 that fills the image.
    return not any(all(two) if num_lines > 1 else any(two) for two in ends)
