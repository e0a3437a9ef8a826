"""Which values of images of more than 8 bits are black and white: one range for a data set.

Models see 8 bits. What is lost on the way depends on the range, and what a value means must not
depend on the image it stands in: so the range is chosen once, from all images, and goes with the
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.data.decoded import Decoded
from burnish.data.formats.listing import list_some
from burnish.errors import DataError
from burnish.image.wide import NARROW, Range, show_level, show_range

RangeChoice: TypeAlias = Literal["auto"] | Sequence[float]

MIN_SHARE = 0.25
"""Share of a scale that values must fill; in less they would keep fewer than 64 grey levels."""

_DEPTHS = (8, 10, 12, 14, 16, 32)
"""Bits that cameras and scanners have."""

_NUM_NAMED = 3


def check_range(given: RangeChoice) -> Range | None:
    """Return a range that was asked for, or ``None`` for ``auto``.

    Raises
    ------
    DataError
        If it is none.
    """
    if isinstance(given, str):
        if given == "auto":
            return None
    elif len(given) == 2 and all(_is_number(value) for value in given):
        low, high = float(given[0]), float(given[1])
        if low < high:
            return low, high
    raise DataError(
        f'range = {given!r}; expected "auto", or the values that become black and white, such as '
        "[0, 4095]: two finite numbers, the lower first"
    )


def parse_range(text: str) -> RangeChoice:
    """Read a range as it is written on the command line.

    >>> parse_range("0,4095")
    [0.0, 4095.0]

    Raises
    ------
    DataError
        If it is neither ``auto`` nor two numbers.
    """
    if text == "auto":
        return "auto"
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if len(given) != 2:
        raise DataError(f"--range {text!r}: expected auto, or two numbers such as 0,4095")
    check_range(given)
    return given


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def choose_range(levels: NDArray[np.float64], *, is_mixed: bool) -> tuple[Range, str]:
    """Choose the range of images of more than 8 bits, and say why.

    A whole scale (0 to 1, -1 to 1, all values of 8, 10, 12, 14, 16 or 32 bits: the bits that
    the files declare, else the fewest that hold all values) where the values fill a quarter of
    it or more. Otherwise the lowest and highest value, so that the grey levels are spent on
    what is there. If a few outliers would take more than three quarters of that (a thousandth
    of an image's pixels, at either end), they are clipped.

    >>> seen = np.array([[3, 4090, 10, 3900, 0], [0, 3800, 12, 3700, 0]], float)
    >>> choose_range(seen, is_mixed=False)[0]
    (0.0, 4095.0)
    >>> choose_range(np.array([[980, 1120, 981, 1119, 0]], float), is_mixed=False)[0]
    (980.0, 1120.0)

    Parameters
    ----------
    levels
        (num, 5), of each such image: see :func:`burnish.image.wide.measure`.
    is_mixed
        Whether there are images of 8 bits too. Then it is a whole scale, if one holds the
        values, so that white is white in all of them.
    """
    low, high = float(levels[:, 0].min()), float(levels[:, 1].max())
    core_low, core_high = float(levels[:, 2].min()), float(levels[:, 3].max())
    scale, why = _find_scale(low, high, int(levels[:, 4].max()))
    seen = f"values go from {show_range((low, high))}"
    core = core_high - core_low
    if scale is not None and (is_mixed or core >= MIN_SHARE * (scale[1] - scale[0])):
        return scale, f"range {show_range(scale)}: {why}; {seen}"
    if high == low:
        return (scale or (low, low + 1.0)), f"range: all values are {show_level(low)}"
    window = (low, high)
    if 0 < core < MIN_SHARE * (high - low):
        window = (core_low, core_high)
        outliers = f"; {seen}, but beyond this lie few, which are clipped"
    else:
        outliers = ""
    note = f"range {show_range(window)}: the lowest and highest value{outliers}"
    if scale is not None:
        note += f"; {show_range(scale)} would use only part of its grey levels"
    return window, note


def _find_scale(low: float, high: float, declared: int) -> tuple[Range | None, str]:
    """Return the whole scale that holds all values, if there is one, and what it is."""
    if low < 0:
        return ((-1.0, 1.0), "a whole scale") if low >= -1 and high <= 1 else (None, "")
    if high <= 1:
        return (0.0, 1.0), "a whole scale"
    if declared and high < 2**declared:
        return (0.0, 2.0**declared - 1), f"the {declared} bits that files declare"
    bits = next((bits for bits in _DEPTHS if high <= 2**bits - 1), None)
    if bits is None:
        return None, ""
    doubt = f", though files declare {declared}" if declared else ""
    return (0.0, 2.0**bits - 1), f"the fewest usual bits, {bits}, that hold all values{doubt}"


def name_mixed(names: Sequence[str], decoded: Decoded) -> list[str]:
    """Name images of 8 bits among others of more, or the other way round where those are fewer."""
    good = decoded.is_good
    wide, plain = np.flatnonzero(good & decoded.is_wide), np.flatnonzero(good & ~decoded.is_wide)
    if not (len(wide) and len(plain)):
        return []
    few, what = (wide, "more than 8 bits") if len(wide) < len(plain) else (plain, "8 bits")
    some = list_some([names[index] for index in few.tolist()], _NUM_NAMED)
    return [
        f"images of 8 bits and of more in one data set: {len(plain):,} and {len(wide):,}; white is "
        f"taken to be the same in both. Of {what}: {some}. Make them one kind, or name the range "
        "that they have"
    ]


def name_clipped(names: Sequence[str], decoded: Decoded, range: Range | None) -> list[str]:
    """Name images with values outside of a range that was given."""
    if range is None:
        return []
    low, high = range
    outside = (decoded.levels[:, 0] < low) | (decoded.levels[:, 1] > high)
    clipped = np.flatnonzero(outside & decoded.is_good)
    if not len(clipped):
        return []
    some = list_some(
        [
            f"{names[i]} has {show_range((decoded.levels[i, 0], decoded.levels[i, 1]))}"
            for i in clipped.tolist()
        ],
        _NUM_NAMED,
    )
    return [
        f"images with values outside the range {show_range(range)}, which are clipped: "
        f"{len(clipped):,}: {some}"
    ]


def note_pages(names: Sequence[str], decoded: Decoded) -> list[str]:
    """Name files of which only the first page is read."""
    more = np.flatnonzero(decoded.have_more_pages & decoded.is_good)
    if not len(more):
        return []
    some = list_some([names[index] for index in more.tolist()], _NUM_NAMED)
    return [f"files of several pages, of which the first is read: {len(more):,}: {some}"]


def refuse_pointless(name: str, range: Range | None, decoded: Decoded) -> None:
    """Refuse a range for images that all have 8 bits.

    Raises
    ------
    DataError
        Says so.
    """
    narrow = bool(decoded.is_good.any()) or all(
        why.startswith(NARROW) for why in decoded.bad.values()
    )
    if range is not None and narrow and not decoded.is_wide.any():
        raise DataError(
            f"{name}: range = {list(range)}, but no image has more than 8 bits; take it out"
        )
