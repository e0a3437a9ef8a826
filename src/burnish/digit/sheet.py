"""A sheet of paper on a table, or a drawn frame: the part of an image that was written on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.digit.ground import divide_levels, reduce_image
from burnish.digit.pieces import label_pieces

_CELLS = 96
"""A sheet is looked for in an image of about so many pixels a side."""

_SMALLEST_IMAGE = 40
"""Images of fewer pixels a side are no photographs of a table."""

_LARGEST = 1024
"""What is cut out is scaled down to so many pixels a side first."""

_SMALLEST_SHARE = 0.08
"""Share of the image that a sheet fills at least."""

_STEEPEST = math.tan(math.radians(15))
"""A sheet is turned by less than this."""

_STRAIGHT = 0.85
"""Share of a side's points that lie on its line."""

_CORNER = 0.15
"""Share of a side that may be rounded at each end."""

_LEAST_INK = 0.002
"""Share of a sheet that is written on."""

_EMPTY_SHARE = 0.3
"""An empty sheet fills at least so much of the image; else it might be the inside of a 0."""

_GREY_LEVELS = 12.0
"""A table differs from the sheet by more than this."""


@dataclass(frozen=True)
class _Side:
    """A side's line: its place is ``offset + slope * along``, in cells.

    It is open at the image's border, where the sheet goes on.
    """

    offset: float
    slope: float
    is_open: bool


def cut_out_sheet(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the inside of a sheet or frame, upright; ``None`` where there is none.

    The image is parted into light and dark, and both again. A sheet is a connected part whose
    four sides are straight lines, or the border of the image. What lies around it is another grey,
    or a frame's line.

    Parameters
    ----------
    grey
        Shape (rows, columns).
    """
    if min(grey.shape) < _SMALLEST_IMAGE:
        return None
    factor = max(1, round(max(grey.shape) / _CELLS))
    small = reduce_image(grey, factor)
    found = _find_sides(small)
    if found is None:
        return None
    return _cut(grey, factor, found)


def _find_sides(small: NDArray[np.uint8]) -> tuple[_Side, ...] | None:
    """Return left, right, top and bottom of the largest sheet."""
    best, most = None, 0.0
    for mask in _list_masks(small):
        share = float(mask.mean())
        if not _SMALLEST_SHARE <= share < 1 or share <= most:
            continue
        pieces = label_pieces(mask, diagonal=False)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        for number in np.flatnonzero(sizes >= _SMALLEST_SHARE * mask.size):
            sides = _fit_sides(pieces == number)
            if sides is None or sizes[number] <= most * mask.size:
                continue
            if _is_sheet(small, mask, pieces == number, sides):
                best, most = sides, sizes[number] / mask.size
    return best


def _list_masks(small: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Return light and dark parts, by the best threshold of all and of each of the two parts."""
    first = divide_levels(small)
    light = small > first
    masks = [light, ~light]
    for part in (light, ~light):
        values = small[part]
        if len(values) and values.std() > _GREY_LEVELS / 2:
            second = small > divide_levels(values)
            masks += [second, ~second]
    return masks


def _fit_sides(mask: NDArray[np.bool_]) -> tuple[_Side, ...] | None:
    sides = []
    for turned in (mask, mask[:, ::-1], mask.T, mask.T[:, ::-1]):
        side = _fit_side(turned)
        if side is None:
            return None
        sides.append(side)
    if all(side.is_open for side in sides):
        return None
    return tuple(sides)


def _fit_side(mask: NDArray[np.bool_]) -> _Side | None:
    """Fit a line to where a mask begins in each row, but for the corners."""
    rows = np.flatnonzero(mask.any(axis=1))
    corner = max(1, len(rows) // 10)
    rows = rows[corner:-corner]
    if len(rows) < 8:
        return None
    first = mask[rows].argmax(axis=1).astype(np.float64)
    if np.mean(first == 0) >= _STRAIGHT:
        return _Side(0.0, 0.0, is_open=True)
    # The median of slopes over half the length does not mind what few points do.
    half = len(rows) // 2
    slope = float(np.median((first[half:] - first[: len(rows) - half]) / half))
    offset = float(np.median(first - slope * rows))
    off = np.abs(first - offset - slope * rows)
    if abs(slope) > _STEEPEST or np.mean(off <= 1.5) < _STRAIGHT:
        return None
    return _Side(offset, slope, is_open=False)


def _measure_depths(shape: tuple[int, ...], sides: tuple[_Side, ...]) -> list[NDArray[np.float64]]:
    """Return how far inside of each side a cell lies; endlessly where the side is open."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    height, width = shape
    depths = [
        columns - sides[0].offset - sides[0].slope * rows,
        width - 1 - columns - sides[1].offset - sides[1].slope * rows,
        rows - sides[2].offset - sides[2].slope * columns,
        height - 1 - rows - sides[3].offset - sides[3].slope * columns,
    ]
    return [
        np.full(shape, np.inf) if side.is_open else depth
        for depth, side in zip(depths, sides, strict=True)
    ]


def _is_sheet(
    small: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    piece: NDArray[np.bool_],
    sides: tuple[_Side, ...],
) -> bool:
    """Whether the inside of a piece's sides is paper, and what is around is not.

    A sheet on a table is written on, or large; a frame, with paper on both sides of its line, has
    four sides and is written in.
    """
    depths = _measure_depths(mask.shape, sides)
    depth = np.minimum.reduce(depths)
    inside, outside = depth >= 2, depth < -1
    if inside.mean() < _SMALLEST_SHARE / 2 or mask[inside].mean() < 0.5:
        return False
    if outside.any() and piece[outside].mean() > 0.3:
        return False
    rest = inside & ~mask
    paper = float(np.median(small[inside & mask]))
    around = small[(depth < -2) & (depth >= -5)] if (depth < -2).any() else small[depth < 0]
    differs = len(around) > 0 and abs(float(np.median(around)) - paper) > _GREY_LEVELS
    if not differs:
        # It is no frame, but the paper between ruled lines, or between them and strokes.
        left, right, top, bottom = depths
        if any(side.is_open for side in sides) or (
            _is_spanned(rest, (left, right), (top, bottom))
            or _is_spanned(rest, (top, bottom), (left, right))
        ):
            return False
    if rest.sum() < _LEAST_INK * inside.sum():
        # Ink may be too little for the threshold, so that an empty sheet is cut out too.
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        shorter = min(np.ptp(rows), np.ptp(columns)) + 1
        return bool(
            differs
            and inside.mean() >= _EMPTY_SHARE
            and longer < 2 * shorter
            and sum(side.is_open for side in sides) <= 1
        )
    return not _is_counter(rest, inside)


def _is_spanned(
    rest: NDArray[np.bool_],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    along: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> bool:
    """Whether ink touches both of two opposite sides, other than in the corners."""
    corner = _CORNER * (along[0] + along[1])
    middle = rest & (along[0] > corner) & (along[1] > corner)
    return all(bool((middle & (end < 3)).any()) for end in ends)


def _is_counter(rest: NDArray[np.bool_], inside: NDArray[np.bool_]) -> bool:
    """Whether it is the inside of a 0 with thick strokes, rather than strokes on a sheet."""
    rows, columns = np.flatnonzero(rest.any(axis=1)), np.flatnonzero(rest.any(axis=0))
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    whole = [np.ptp(np.flatnonzero(inside.any(axis=axis))) + 1 for axis in (1, 0)]
    fills = rest.sum() > 0.7 * tall * wide
    return bool(fills and tall > 0.3 * whole[0] and wide > 0.3 * whole[1])


def _cut(
    grey: NDArray[np.uint8], factor: int, sides: tuple[_Side, ...]
) -> NDArray[np.uint8] | None:
    """Turn a sheet upright, and cut its inside out, without what lies close to its sides."""
    shrink = -(-max(grey.shape) // _LARGEST)
    image = Image.fromarray(reduce_image(grey, shrink))
    scale = factor / shrink
    left, right, top, bottom = sides
    # Slopes of upright sides have the other sign, by the direction in which they are counted.
    slopes = [
        sign * side.slope
        for side, sign in ((left, -1), (right, 1), (top, 1), (bottom, -1))
        if not side.is_open
    ]
    angle = math.degrees(math.atan(float(np.mean(slopes))))
    middle = image.height / 2, image.width / 2
    if abs(angle) > 0.5:
        image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=None)
    else:
        angle = 0.0
    # Where each side's line passes the middle of the sheet is where it lies once turned.
    centre = _centre(sides, _reduce_shape(grey.shape, factor))
    height, width = _reduce_shape(grey.shape, factor)
    edges = [
        left.offset + left.slope * centre[0] + 0.5,
        width - right.offset - right.slope * centre[0] - 0.5,
        top.offset + top.slope * centre[1] + 0.5,
        height - bottom.offset - bottom.slope * centre[1] - 0.5,
    ]
    points = [
        *((centre[0], edge) for edge in edges[:2]),
        *((edge, centre[1]) for edge in edges[2:]),
    ]
    turned = [_turn((row * scale, column * scale), middle, angle) for row, column in points]
    margin = max(2.0, 1.5 * scale + 0.015 * max(image.size))
    # The image's own border has turned with it: its corners are black now.
    lost = abs(math.tan(math.radians(angle))) / 2
    limits = (
        lost * image.height,
        image.width - lost * image.height,
        lost * image.width,
        image.height - lost * image.width,
    )
    places = (turned[0][1], turned[1][1], turned[2][0], turned[3][0])
    box = [
        limit if side.is_open else place + margin * (1 if index % 2 == 0 else -1)
        for index, (side, place, limit) in enumerate(zip(sides, places, limits, strict=True))
    ]
    box = [
        min(max(0.0, value), image.width if index < 2 else image.height)
        for index, value in enumerate(box)
    ]
    corners = [round(value) for value in box]
    if corners[1] - corners[0] < 8 or corners[3] - corners[2] < 8:
        return None
    return np.asarray(image)[corners[2] : corners[3], corners[0] : corners[1]]


def _reduce_shape(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    return -(-shape[0] // factor), -(-shape[1] // factor)


def _centre(sides: tuple[_Side, ...], shape: tuple[int, int]) -> tuple[float, float]:
    """Row and column of the sheet's middle, in cells."""
    row, column = shape[0] / 2, shape[1] / 2
    for _ in range(3):
        left = sides[0].offset + sides[0].slope * row
        right = shape[1] - sides[1].offset - sides[1].slope * row
        top = sides[2].offset + sides[2].slope * column
        bottom = shape[0] - sides[3].offset - sides[3].slope * column
        row, column = (top + bottom) / 2, (left + right) / 2
    return row, column


def _turn(
    point: tuple[float, float], middle: tuple[float, float], angle: float
) -> tuple[float, float]:
    """Where Pillow's rotate by ``angle`` degrees, counterclockwise, moves a point (row, column)."""
    turn = math.radians(angle)
    down, right = point[0] - middle[0], point[1] - middle[1]
    return (
        middle[0] - right * math.sin(turn) + down * math.cos(turn),
        middle[1] + right * math.cos(turn) + down * math.sin(turn),
    )
