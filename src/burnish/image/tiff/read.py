"""TIFF files that Pillow cannot read, or reads with a loss; and very large ones, in bands.

Pillow and its libtiff unpack every usual compression, but know few kinds of pixels. So some
strips or tiles of a file are written into a small TIFF file of its own, in memory, whose tags call
each row that many bytes of grey. What Pillow gives back are the bytes of the pixels, whatever they
are: integers or floats of any length, in either byte order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.errors import ImageError
from burnish.image.tiff.layout import Layout, refuse_unreadable
from burnish.image.tiff.part import open_part
from burnish.image.tiff.tags import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    PREDICTED,
    RGB,
    WHITE_IS_ZERO,
    Tag,
    as_tuple,
)
from burnish.image.wide import WideImage, shrink, turn

# What bands of 8 bits need; by number T4 and T6 options, colour map, JPEG tables, YCbCr.
_KEPT = (
    Tag.BITS,
    Tag.COMPRESSION,
    Tag.PHOTOMETRIC,
    Tag.FILL_ORDER,
    Tag.SAMPLES,
    Tag.PREDICTOR,
    Tag.EXTRA,
)
_KEPT_TOO = (Tag.SAMPLE_FORMAT, 292, 293, 320, 347, 530, 531)

# Bytes of pixels that are unpacked at once.
_BAND_BYTES = 2**25

MAX_VALUE_BYTES = 8
"""Most bytes of pixel values in a wide file, for each pixel that is allowed."""


def read_wide(content: bytes, layout: Layout, max_pixels: int, factor: int = 1) -> WideImage:
    """Read a wide file, turned upright.

    Parameters
    ----------
    content
        Of the file.
    layout
        As `read_layout` gives it.
    max_pixels
        That are allowed; a compressed file may not unpack to more than `MAX_VALUE_BYTES` each.
    factor
        By which it is scaled down as it is read, a band at a time.

    Raises
    ------
    ImageError
        If it is cut off, or of a kind that is not read.
    """
    refuse_unreadable(layout)
    width, height = layout.columns * layout.chunk_width, max(layout.height, layout.chunk_height)
    num_bytes = width * height * layout.samples * layout.dtype.itemsize
    if num_bytes > MAX_VALUE_BYTES * max_pixels:
        raise ImageError(
            f"has {num_bytes:,} bytes of pixel values; at most {MAX_VALUE_BYTES} for each of "
            f"max_pixels = {max_pixels:,} are read"
        )
    bands = [
        shrink(_arrange(_read_band(content, layout, first, last), layout), factor)
        for first, last in _cut_bands(layout, factor)
    ]
    values = turn(np.concatenate(bands) if len(bands) > 1 else bands[0], layout.orientation)
    return WideImage(np.ascontiguousarray(values), _read_bits(layout))


def read_bands(content: bytes, layout: Layout, factor: int) -> Iterator[Image.Image]:
    """Read a file of 8 bits as images that lie above each other, not turned.

    All but the last have a height that is a multiple of ``factor``.
    """
    for first, last in _cut_bands(layout, factor):
        top, bottom = _limit(layout, first, last)
        tags: dict[int, Any] = {tag: layout.tags.get(tag) for tag in (*_KEPT, *_KEPT_TOO)}
        tags |= {Tag.WIDTH: layout.width, Tag.HEIGHT: bottom - top}
        sizes = (layout.chunk_width, layout.chunk_height)
        places = range(first * layout.columns, last * layout.columns)
        with open_part(content, layout, tags, sizes, places) as image:
            image.load()
            yield image


def _cut_bands(layout: Layout, factor: int) -> Iterator[tuple[int, int]]:
    """Group rows of strips or tiles; say the first, and the one after the last, of each."""
    row_bytes = max(1, layout.width * layout.samples * max(layout.bits, 8) // 8)
    step = factor // int(np.gcd(factor, layout.chunk_height))
    fitting = _BAND_BYTES // (row_bytes * layout.chunk_height)
    step *= max(1, fitting // step)
    for first in range(0, layout.rows, step):
        yield first, min(first + step, layout.rows)


def _limit(layout: Layout, first: int, last: int) -> tuple[int, int]:
    """Return the first row of pixels of rows of chunks, and the one after the last."""
    return first * layout.chunk_height, min(last * layout.chunk_height, layout.height)


def _read_band(content: bytes, layout: Layout, first: int, last: int) -> NDArray[Any]:
    """Return the samples (height, width, samples) of some rows of strips or tiles, as stored."""
    top, bottom = _limit(layout, first, last)
    num_planes = layout.samples if layout.is_planar else 1
    samples = layout.samples // num_planes
    row = -(-layout.chunk_width * samples * layout.bits // 8)
    per_plane = layout.rows * layout.columns
    planes = []
    for plane in range(num_planes):
        begin = plane * per_plane
        places = range(begin + first * layout.columns, begin + last * layout.columns)
        tags: dict[int, Any] = {
            Tag.WIDTH: row * layout.columns,
            Tag.HEIGHT: bottom - top,
            Tag.BITS: 8,
            Tag.COMPRESSION: layout.compression,
            Tag.PHOTOMETRIC: BLACK_IS_ZERO,
            Tag.FILL_ORDER: layout.tags.get(Tag.FILL_ORDER),
            Tag.SAMPLES: 1,
        }
        with open_part(content, layout, tags, (row, layout.chunk_height), places) as image:
            stored = np.asarray(image).reshape(bottom - top, layout.columns, row)
        planes.append(_unpack(stored, layout, samples))
    values = planes[0] if num_planes == 1 else np.concatenate(planes, axis=3)
    return values.reshape(bottom - top, -1, layout.samples)[:, : layout.width]


def _unpack(stored: NDArray[np.uint8], layout: Layout, samples: int) -> NDArray[Any]:
    """Make samples (height, columns, chunk_width, samples) of rows of bytes in chunks."""
    height, columns, _ = stored.shape
    shape = (height, columns, layout.chunk_width, samples)
    predictor = layout.tags.get(Tag.PREDICTOR, 1) if layout.compression in PREDICTED else 1
    if predictor == 3 and layout.kind == "f":
        # Bytes are differences to the one before, all highest bytes of a row first.
        size = layout.dtype.itemsize
        steps = stored.reshape(height, columns, -1, samples)
        summed = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(height, columns, size, -1)
        values = np.ascontiguousarray(summed.swapaxes(2, 3)).view(layout.dtype.newbyteorder(">"))
        return values.reshape(shape).astype(layout.dtype)
    if layout.bits in (8, 16, 32, 64):
        raw = np.ascontiguousarray(stored).view(f"{layout.order}u{layout.bits // 8}")
        raw = raw.astype(f"u{layout.bits // 8}").reshape(shape)
    else:
        every = np.unpackbits(stored, axis=2)[..., : layout.chunk_width * samples * layout.bits]
        weights = 1 << np.arange(layout.bits - 1, -1, -1, dtype=np.uint64)
        raw = (every.reshape(*shape, layout.bits) @ weights).astype(f"u{layout.dtype.itemsize}")
    if predictor == 2:
        raw = np.cumsum(raw, axis=2, dtype=raw.dtype)
        if layout.bits not in (8, 16, 32, 64):
            raw &= raw.dtype.type((1 << layout.bits) - 1)
    return raw.view(layout.dtype)


def _arrange(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Bring samples to grey or RGB, with alpha last: black is low, nothing is premultiplied."""
    colors = 3 if layout.photometric == RGB else 1
    wanted = values[..., :colors]
    if layout.photometric == WHITE_IS_ZERO:
        if layout.kind == "u":
            wanted = values.dtype.type((1 << layout.bits) - 1) - wanted
        else:
            wanted = ~wanted if layout.kind == "i" else -wanted
    if layout.alpha is None:
        return wanted
    alpha = values[..., layout.alpha : layout.alpha + 1]
    place = layout.alpha - colors
    if layout.extra and layout.extra[place] == ASSOCIATED:
        opaque = 1.0 if layout.kind == "f" else float(np.iinfo(values.dtype).max)
        share = np.where(alpha > 0, alpha, opaque) / opaque
        limit = np.inf if layout.kind == "f" else opaque
        wanted = np.minimum(wanted / share, limit).astype(values.dtype)
    elif layout.kind == "u" and layout.bits not in (8, 16, 32, 64):
        # Alpha counts to the largest value of the type.
        step = float(np.iinfo(values.dtype).max) / ((1 << layout.bits) - 1)
        alpha = np.rint(alpha * step).astype(values.dtype)
    return np.concatenate([wanted, alpha], axis=2)


def _read_bits(layout: Layout) -> int | None:
    """Return the bits in use, where fewer than the type has are declared."""
    if layout.kind != "u":
        return None
    if layout.bits not in (8, 16, 32, 64):
        return layout.bits
    largest = max(as_tuple(layout.tags.get(Tag.MAX_VALUE, 0)))
    return largest.bit_length() if 255 < largest < (1 << layout.bits) - 1 else None
