"""Images of more than 8 bits a channel: their values as stored, and how they become 8 bits.

    image = WideImage(values)                   # uint16, float32, ... (height, width, channels)
    narrow(image, (0, 4095))                    # a Pillow image: 0 is black, 4095 is white

Which values are black and white is a property of a data set, never of one image: see
:func:`burnish.data.ranges.choose_range`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.errors import ImageError

Range: TypeAlias = tuple[float, float]
"""The values that become black and white."""

_CHANNELS = {1: "I", 2: "LA", 3: "RGB", 4: "RGBA"}
_NARROW = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# As Pillow calls them.
_OWN_NAMES = {"I;32S": "I", "I;32F": "F", "I;16F": "F;16", "I;64F": "F;64"}
_SUFFIX = {"u": "", "i": "S", "f": "F"}
# Values that are mapped at once, so that memory is bounded.
_PIECE = 2**20
# Share of an image's values, at either end, that its core leaves out.
_OUTER = 0.001
# Values of one image that its core is estimated from.
_SAMPLE = 2**20

NUM_LEVELS = 5
"""What `measure` says of an image: lowest, highest, lowest and highest of the core, bits."""


@dataclass(frozen=True, eq=False)
class WideImage:
    """An image of more than 8 bits a channel.

    Attributes
    ----------
    values
        Integers or floats (height, width, channels): grey, grey and alpha, RGB or RGBA.
    bits
        Bits in use as the file declares them, where they are fewer than its type has.
    """

    values: NDArray[Any]
    bits: int | None = None

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.values.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has them."""
        return self.width, self.height

    @property
    def mode(self) -> str:
        """Name of its kind: Pillow's where it has one, as ``I;16``, ``RGB;16``, ``F;64``."""
        return name_mode(self.values.dtype, self.values.shape[2])

    @property
    def colors(self) -> NDArray[Any]:
        """The values without alpha, (height, width, 1 or 3)."""
        channels = self.values.shape[2]
        return self.values[..., : channels - 1] if channels in (2, 4) else self.values


def name_mode(dtype: np.dtype[Any], num_channels: int) -> str:
    """Name a kind of pixels.

    >>> name_mode(np.dtype("uint16"), 1), name_mode(np.dtype("float32"), 3)
    ('I;16', 'RGB;32F')
    """
    name = f"{_CHANNELS[num_channels]};{8 * dtype.itemsize}{_SUFFIX[dtype.kind]}"
    return _OWN_NAMES.get(name, name)


def is_grey_mode(mode: str) -> bool:
    """Whether images of a mode, wide or Pillow's, have no colour whatever their pixels are."""
    return mode in ("1", "L", "LA", "F", "I") or mode.startswith(("I;", "F;", "LA;"))


def is_whole(range: Range) -> bool:
    """Whether a range is a whole scale: 0 to 1, -1 to 1, or all values of 8 bits or more.

    White in an image of 8 bits is then the same as white in these.

    >>> is_whole((0, 4095)), is_whole((980, 1120))
    (True, False)
    """
    low, high = range
    if (low, high) in ((0, 1), (-1, 1)):
        return True
    return low == 0 and high >= 255 and float(high).is_integer() and not (int(high) + 1) & int(high)


OUTSIDE, NARROW = "has values from", "has 8 bits"
"""How messages begin of images that another range could use."""


def depends_on_range(why: str) -> bool:
    """Whether an image cannot be used because of the range alone."""
    return why.startswith((OUTSIDE, NARROW))


def show_range(range: Range) -> str:
    """Write a range for people.

    >>> show_range((0.0, 4095.0)), show_range((-0.25, 1.5))
    ('0 to 4095', '-0.25 to 1.5')
    """
    return " to ".join(show_level(value) for value in range)


def show_level(value: float) -> str:
    """Write a pixel value for people: integers without a point."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def measure(image: WideImage) -> tuple[float, ...]:
    """Say what values an image has, alpha left out.

    Returns
    -------
    Lowest and highest value; the same of its core, without the outer thousandth at either
    end; the bits that its file declares, 0 where it does not. `NUM_LEVELS` numbers.

    Raises
    ------
    ImageError
        If a value is not finite.
    """
    flat = image.colors.reshape(-1)
    refuse_infinite(flat)
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    core = np.quantile(sample, (_OUTER, 1 - _OUTER), method="nearest")
    return (
        float(flat.min()),
        float(flat.max()),
        float(core[0]),
        float(core[1]),
        float(image.bits or 0),
    )


def refuse_infinite(values: NDArray[Any]) -> None:
    """Refuse values that are not finite.

    Raises
    ------
    ImageError
        If one is not.
    """
    if values.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore"):  # A signalling NaN.
        finite = bool(np.isfinite(values).all())
    if not finite:
        raise ImageError("has pixel values that are not finite")


def hash_parts(image: WideImage) -> list[bytes]:
    """Lay out the values for a digest: equal for equal values, whatever type keeps them."""
    values = image.values
    if values.shape[2] == 3 and bool((values == values[..., :1]).all()):
        values = values[..., :1]  # Grey, in whatever form.
    rows = max(1, _PIECE // max(1, values[0].size))
    shape = ",".join(map(str, values.shape)).encode()
    pieces = (values[first : first + rows] for first in range(0, image.height, rows))
    return [shape, *(piece.astype("<f8").tobytes() for piece in pieces)]


def narrow(image: WideImage, range: Range | None) -> Image.Image:
    """Map the values of an image to 8 bits.

    Parameters
    ----------
    image
        Its alpha counts to the largest integer of its type, in floats to 1.
    range
        What becomes black and white; values outside are clipped. Without one, as models are
        that were trained on 8 bits: 16 bits count to 65535, longer integers too unless all
        are below 256, floats to 1 where none is larger and else to 255.

    Returns
    -------
    Pillow image of mode ``L``, ``LA``, ``RGB`` or ``RGBA``.

    Raises
    ------
    ImageError
        If a value is not finite, or all lie outside the range.
    """
    colors = image.colors
    refuse_infinite(image.values)
    if range is None and colors.shape[2] == 3 and colors.dtype == np.uint16:
        mapped = (colors >> 8).astype(np.uint8)  # As Pillow does.
    else:
        mapped = _map(colors, _assume(colors) if range is None else _check(colors, range))
    num_channels = image.values.shape[2]
    if num_channels in (2, 4):
        white = _find_opaque(image.values.dtype, range)
        alpha = _map(image.values[..., -1:], (0.0, white))
        mapped = np.concatenate([mapped, alpha], axis=2)
    shown = mapped[..., 0] if num_channels == 1 else mapped
    picture = Image.fromarray(np.ascontiguousarray(shown))
    assert picture.mode == _NARROW[num_channels]
    return picture


def _assume(colors: NDArray[Any]) -> Range:
    """Say what a type's values count to where no range is known."""
    if colors.dtype == np.uint16:
        return 0.0, 65535.0
    largest = colors.max()
    if colors.dtype.kind == "f":
        return (0.0, 1.0) if largest <= 1.0 else (0.0, 255.0)
    return (0.0, 65535.0) if largest > 255 else (0.0, 255.0)


def _check(colors: NDArray[Any], range: Range) -> Range:
    lowest, highest = float(colors.min()), float(colors.max())
    if lowest > range[1] or highest < range[0]:
        raise ImageError(
            f"{OUTSIDE} {show_level(lowest)} to {show_level(highest)}, all outside the "
            f"range {show_range(range)} of the data set"
        )
    return range


def _find_opaque(dtype: np.dtype[Any], range: Range | None) -> float:
    if dtype.kind == "f":
        return 255.0 if range == (0, 255) else 1.0
    return float(np.iinfo(dtype).max)


def _map(values: NDArray[Any], range: Range) -> NDArray[np.uint8]:
    """Map values (height, width, channels) linearly to 0 to 255, some rows at a time."""
    if values.dtype == np.uint16:
        every = np.arange(65536, dtype=np.float64)
        table: NDArray[np.uint8] = _scale(every, range)
        mapped: NDArray[np.uint8] = table[values]
        return mapped
    mapped = np.empty_like(values, np.uint8)
    rows = max(1, _PIECE // max(1, values[0].size))
    for first in np.arange(0, len(values), rows).tolist():
        piece = values[first : first + rows]
        mapped[first : first + rows] = _scale(piece.astype(np.float64), range)
    return mapped


def _scale(values: NDArray[np.float64], range: Range) -> NDArray[np.uint8]:
    low, high = range
    scaled = np.rint((values - low) * (255.0 / (high - low)))
    mapped: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return mapped


def shrink(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Average blocks of ``factor`` x ``factor`` pixels; those at the edges may be smaller.

    Parameters
    ----------
    values
        (height, width, channels)
    factor
        1 or more.

    Returns
    -------
    The same type, (height / factor, width / factor, channels), rounded up.
    """
    if factor == 1:
        return values
    height, width, _ = values.shape
    pad = ((0, -height % factor), (0, -width % factor), (0, 0))
    padded = np.pad(values, pad, mode="edge")
    # Faster than a mean over axes, as pixels that are added lie beside each other.
    means = np.zeros(padded[::factor, ::factor].shape)
    for row in range(factor):
        for column in range(factor):
            means += padded[row::factor, column::factor]
    means /= factor * factor
    rounded = means if values.dtype.kind == "f" else np.rint(means)
    shrunk: NDArray[Any] = rounded.astype(values.dtype)
    return shrunk


def turn(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an image as its EXIF orientation, 1 to 8, says (EXIF 2.3, 4.6.4)."""
    if orientation >= 5:  # Rows are columns.
        values = values.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return values[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
