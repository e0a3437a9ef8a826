"""TIFF files that Pillow cannot read, or reads with a loss; and very large ones, in bands.

Pillow and its libtiff unpack every usual compression, but know few kinds of pixels. So some
strips or tiles of a file are written into a small TIFF file of its own, in memory, whose tags call
each row that many bytes of grey. What Pillow gives back are the bytes of the pixels, whatever they
are: integers or floats of any length, in either byte order.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from burnish.errors import ImageError
from burnish.wide import WideImage, name_mode, shrink, turn

# Tags by their numbers (TIFF 6.0, and its supplements).
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_COUNTS = 273, 274, 277, 278, 279
_MAX_VALUE, _PLANAR, _PREDICTOR = 281, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT = 338, 339
# What bands of 8 bits need; by number T4 and T6 options, colour map, JPEG tables, YCbCr.
_KEPT = (_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PREDICTOR, _EXTRA)
_KEPT_TOO = (_SAMPLE_FORMAT, 292, 293, 320, 347, 530, 531)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_PHOTOMETRIC_NAMES = {3: "with a palette", 6: "in YCbCr", 8: "in Lab", 32803: "of a raw sensor"}
_RAW = 1
_PREDICTED = {5, 8, 32946, 34925, 50000}
_COMPRESSIONS = {_RAW, 32773} | _PREDICTED
_UNASSOCIATED, _ASSOCIATED = 2, 1
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_HOW = "save it with 16 or 32 bits a channel, grey or RGB, not compressed or with LZW or Deflate"

# Rows of a strip that is not compressed are taken so many at a time.
_STRIP = 256
# Bytes of pixels that are unpacked at once.
_BAND_BYTES = 2**25

MAX_VALUE_BYTES = 8
"""Most bytes of pixel values in a wide file, for each pixel that is allowed."""


@dataclass(frozen=True, eq=False)
class Layout:
    """How the pixels of a TIFF file's first page lie in it.

    Attributes
    ----------
    width, height
        As stored, before `orientation`.
    bits, kind
        Of a sample, -1 where they differ; ``u``, ``i``, ``f``, or ``c`` for complex numbers.
    chunk_width, chunk_height
        Of a strip or tile.
    offsets, counts
        Of strips or tiles, in bytes.
    has_more
        Whether further pages follow.
    """

    tags: Mapping[int, Any]
    order: str
    width: int
    height: int
    samples: int
    bits: int
    kind: str
    compression: int
    photometric: int
    is_planar: bool
    is_tiled: bool
    chunk_width: int
    chunk_height: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    orientation: int
    has_more: bool

    @property
    def is_wide(self) -> bool:
        """Whether it has more than Pillow reads without a loss."""
        if self.photometric == _CMYK:
            return False
        return self.bits > 8 or self.bits < 0 or (self.bits == 8 and self.kind != "u")

    @property
    def is_turned(self) -> bool:
        """Whether height and width change places as it is turned upright."""
        return self.orientation >= 5

    @property
    def columns(self) -> int:
        """Tiles beside each other."""
        return -(-self.width // self.chunk_width)

    @property
    def rows(self) -> int:
        """Strips or tiles above each other."""
        return -(-self.height // self.chunk_height)

    @property
    def extra(self) -> tuple[int, ...]:
        """What samples beyond grey or colour are."""
        return _as_tuple(self.tags.get(_EXTRA, ()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values once they are unpacked."""
        size = next((n for n in (8, 16, 32, 64) if n >= self.bits), 64)
        return np.dtype(f"{self.kind}{size // 8}")

    @property
    def mode(self) -> str:
        """Name of its kind, as :attr:`burnish.wide.WideImage.mode` has it."""
        colors = 3 if self.photometric == _RGB else 1
        return name_mode(self.dtype, colors + (self.alpha is not None))

    @property
    def alpha(self) -> int | None:
        """Place of alpha among the samples."""
        colors = 3 if self.photometric == _RGB else 1
        if not self.extra and self.samples == colors + 1:
            return colors if colors == 3 else None  # As Pillow takes it.
        for place, kind in enumerate(self.extra):
            if kind in (_ASSOCIATED, _UNASSOCIATED) and colors + place < self.samples:
                return colors + place
        return None


def read_layout(stream: BinaryIO) -> Layout | None:
    """Read the tags of a TIFF file's first page; ``None`` where it is none, or damaged."""
    head = stream.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    if b"+" in head[2:4]:
        head += stream.read(8)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        stream.seek(tags.next)
        tags.load(stream)
        return _lay_out(tags, "<" if head[:2] == b"II" else ">")
    except Exception:  # Of damaged tags Pillow raises many things; opening it says what is wrong.
        return None


def _lay_out(tags: Any, order: str) -> Layout:
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    bits = set(_as_tuple(tags.get(_BITS, 1)))
    formats = set(_as_tuple(tags.get(_SAMPLE_FORMAT, 1)))
    is_tiled = _TILE_OFFSETS in tags
    if is_tiled:
        chunk = int(tags[_TILE_WIDTH]), int(tags[_TILE_HEIGHT])
    else:
        chunk = width, min(height, int(tags.get(_ROWS, height)) or height)
    orientation = tags.get(_ORIENTATION, 1)
    if min(width, height, *chunk) < 1:
        raise ValueError("sizes of zero")
    layout = Layout(
        tags=tags,
        order=order,
        width=width,
        height=height,
        samples=int(tags.get(_SAMPLES, 1)),
        bits=max(bits) if len(bits) == 1 or max(bits) <= 8 else -1,
        kind=_KINDS.get(max(formats), "c") if len(formats) == 1 else "c",
        compression=int(tags.get(_COMPRESSION, _RAW)),
        photometric=int(tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO)),
        is_planar=tags.get(_PLANAR, 1) == 2,
        is_tiled=is_tiled,
        chunk_width=chunk[0],
        chunk_height=chunk[1],
        offsets=_as_tuple(tags[_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS]),
        counts=_as_tuple(tags.get(_TILE_COUNTS if is_tiled else _STRIP_COUNTS, ())),
        orientation=orientation if orientation in range(1, 9) else 1,
        has_more=bool(tags.next),
    )
    return _cut_strips(layout)


def _cut_strips(layout: Layout) -> Layout:
    """Take a strip that is not compressed for many of a few rows: it may be the whole image."""
    if layout.is_tiled or layout.is_planar or layout.compression != _RAW or layout.bits < 1:
        return layout
    if layout.chunk_height <= _STRIP and len(layout.counts) == len(layout.offsets):
        return layout
    row = -(-layout.width * layout.samples * layout.bits // 8)
    offsets, counts = [], []
    rows = min(_STRIP, layout.chunk_height)
    if len(layout.offsets) > 1 and layout.chunk_height % rows:
        return layout
    for place, offset in enumerate(layout.offsets):
        first = place * layout.chunk_height
        last = min(first + layout.chunk_height, layout.height)
        for top in range(first, last, rows):
            offsets.append(offset + (top - first) * row)
            counts.append((min(top + rows, last) - top) * row)
    return replace(layout, chunk_height=rows, offsets=tuple(offsets), counts=tuple(counts))


def _as_tuple(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),)


def refuse_unreadable(layout: Layout) -> None:
    """Refuse a wide file of a kind that is not read.

    Raises
    ------
    ImageError
        Says what it is, and how to save it instead.
    """
    wrong = None
    colors = 3 if layout.photometric == _RGB else 1
    num_extra = layout.samples - colors - (layout.alpha is not None)
    if layout.kind == "c":
        wrong = "of complex numbers, or of samples of different kinds"
    elif layout.bits < 0:
        wrong = "whose channels have different numbers of bits"
    elif layout.bits > 64 or (layout.kind == "f" and layout.bits not in (16, 32, 64)):
        wrong = f"of {layout.bits} bits a channel"
    elif layout.kind == "i" and layout.bits not in (8, 16, 32, 64):
        wrong = f"of signed integers of {layout.bits} bits"
    elif layout.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        what = _PHOTOMETRIC_NAMES.get(layout.photometric, f"of kind {layout.photometric}")
        wrong = f"of {layout.bits} bits {what}"
    elif layout.compression not in _COMPRESSIONS:
        name = TiffImagePlugin.COMPRESSION_INFO.get(layout.compression, str(layout.compression))
        wrong = f"of {layout.bits} bits that is compressed by {name}"
    elif num_extra < 0 or num_extra > 1:
        wrong = f"of {layout.samples} channels, more than grey or colour, and alpha"
    if wrong is not None:
        raise ImageError(f"is a TIFF {wrong}, which is not read; {_HOW}")


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
        tags |= {_WIDTH: layout.width, _HEIGHT: bottom - top}
        sizes = (layout.chunk_width, layout.chunk_height)
        places = range(first * layout.columns, last * layout.columns)
        with _open_part(content, layout, tags, sizes, places) as image:
            image.load()
            yield image


def can_be_cut(layout: Layout) -> bool:
    """Whether `read_bands` reads it."""
    return not layout.is_planar and layout.compression != 6 and layout.bits in (1, 2, 4, 8)


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
        tags = {
            _WIDTH: row * layout.columns,
            _HEIGHT: bottom - top,
            _BITS: 8,
            _COMPRESSION: layout.compression,
            _PHOTOMETRIC: _BLACK_IS_ZERO,
            _FILL_ORDER: layout.tags.get(_FILL_ORDER),
            _SAMPLES: 1,
        }
        with _open_part(content, layout, tags, (row, layout.chunk_height), places) as image:
            stored = np.asarray(image).reshape(bottom - top, layout.columns, row)
        planes.append(_unpack(stored, layout, samples))
    values = planes[0] if num_planes == 1 else np.concatenate(planes, axis=3)
    return values.reshape(bottom - top, -1, layout.samples)[:, : layout.width]


def _unpack(stored: NDArray[np.uint8], layout: Layout, samples: int) -> NDArray[Any]:
    """Make samples (height, columns, chunk_width, samples) of rows of bytes in chunks."""
    height, columns, _ = stored.shape
    shape = (height, columns, layout.chunk_width, samples)
    predictor = layout.tags.get(_PREDICTOR, 1) if layout.compression in _PREDICTED else 1
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
    colors = 3 if layout.photometric == _RGB else 1
    wanted = values[..., :colors]
    if layout.photometric == _WHITE_IS_ZERO:
        if layout.kind == "u":
            wanted = values.dtype.type((1 << layout.bits) - 1) - wanted
        else:
            wanted = ~wanted if layout.kind == "i" else -wanted
    if layout.alpha is None:
        return wanted
    alpha = values[..., layout.alpha : layout.alpha + 1]
    place = layout.alpha - colors
    if layout.extra and layout.extra[place] == _ASSOCIATED:
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
    largest = max(_as_tuple(layout.tags.get(_MAX_VALUE, 0)))
    return largest.bit_length() if 255 < largest < (1 << layout.bits) - 1 else None


def _open_part(
    content: bytes,
    layout: Layout,
    tags: Mapping[int, Any],
    chunk_sizes: tuple[int, int],
    places: range,
) -> Image.Image:
    """Open a TIFF file of some strips or tiles of another, with other tags."""
    chunks = [_read_chunk(content, layout, place) for place in places]
    offsets, at = [], 8
    for chunk in chunks:
        offsets.append(at)
        at += len(chunk)
    counts = [len(chunk) for chunk in chunks]
    if layout.is_tiled:
        where = {_TILE_WIDTH: chunk_sizes[0], _TILE_HEIGHT: chunk_sizes[1]}
        where |= {_TILE_OFFSETS: offsets, _TILE_COUNTS: counts}  # type: ignore[dict-item]
    else:
        where = {_ROWS: chunk_sizes[1], _STRIP_OFFSETS: offsets, _STRIP_COUNTS: counts}  # type: ignore[dict-item]
    body = b"".join(chunks) + b"\0" * (at % 2)
    at += at % 2
    directory = _write_tags({**tags, **where}, at)
    part = io.BytesIO(b"II*\0" + struct.pack("<I", at) + body + directory)
    # Not Image.open, which has a limit of its own for all images of the process.
    return TiffImagePlugin.TiffImageFile(part)


def _read_chunk(content: bytes, layout: Layout, place: int) -> bytes:
    if place >= len(layout.offsets):
        raise ImageError("is cut off or damaged (strips or tiles are missing)")
    offset = layout.offsets[place]
    end = offset + layout.counts[place] if place < len(layout.counts) else len(content)
    chunk = content[offset:end]
    needed = 1
    if layout.compression == _RAW:
        samples = 1 if layout.is_planar else layout.samples
        row = -(-layout.chunk_width * samples * layout.bits // 8)
        top = place % (layout.rows * layout.columns) // layout.columns * layout.chunk_height
        rows = layout.chunk_height
        needed = row * (rows if layout.is_tiled else min(rows, layout.height - top))
    if end > len(content) or len(chunk) < needed:
        raise ImageError("is cut off or damaged (strips or tiles are not all there)")
    return chunk


def _write_tags(tags: Mapping[int, Any], at: int) -> bytes:
    """Write a directory of tags that lies at an offset of its file."""
    given = sorted((tag, value) for tag, value in tags.items() if value is not None)
    outside = at + 2 + 12 * len(given) + 4
    head, tail = [struct.pack("<H", len(given))], b""
    for tag, value in given:
        kind, count, data = _pack_value(value)
        if len(data) > 4:
            place = outside + len(tail)
            tail += data + b"\0" * (len(data) % 2)
            data = struct.pack("<I", place)
        head.append(struct.pack("<HHI4s", tag, kind, count, data))
    return b"".join(head) + b"\0\0\0\0" + tail


def _pack_value(value: bytes | int | Sequence[int]) -> tuple[int, int, bytes]:
    """Return type, count and content of a tag's value."""
    if isinstance(value, bytes):
        return 7, len(value), value
    numbers = _as_tuple(value)
    if max(numbers, default=0) < 2**16:
        return 3, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers)
    return 4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers)
