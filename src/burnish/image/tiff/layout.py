"""How the pixels of a TIFF file lie in it, and whether they are of a kind that is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffImagePlugin

from burnish.errors import ImageError
from burnish.image.tiff.tags import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    CMYK,
    PREDICTED,
    RAW,
    RGB,
    UNASSOCIATED,
    WHITE_IS_ZERO,
    Tag,
    as_tuple,
)
from burnish.image.wide import name_mode

_PHOTOMETRIC_NAMES = {3: "with a palette", 6: "in YCbCr", 8: "in Lab", 32803: "of a raw sensor"}
_COMPRESSIONS = {RAW, 32773} | PREDICTED
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_HOW = "save it with 16 or 32 bits a channel, grey or RGB, not compressed or with LZW or Deflate"

# Rows of a strip that is not compressed are taken so many at a time.
_STRIP = 256


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
        if self.photometric == CMYK:
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
        return as_tuple(self.tags.get(Tag.EXTRA, ()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values once they are unpacked."""
        size = next((n for n in (8, 16, 32, 64) if n >= self.bits), 64)
        return np.dtype(f"{self.kind}{size // 8}")

    @property
    def mode(self) -> str:
        """Name of its kind, as :attr:`burnish.image.wide.WideImage.mode` has it."""
        colors = 3 if self.photometric == RGB else 1
        return name_mode(self.dtype, colors + (self.alpha is not None))

    @property
    def alpha(self) -> int | None:
        """Place of alpha among the samples."""
        colors = 3 if self.photometric == RGB else 1
        if not self.extra and self.samples == colors + 1:
            return colors if colors == 3 else None  # As Pillow takes it.
        for place, kind in enumerate(self.extra):
            if kind in (ASSOCIATED, UNASSOCIATED) and colors + place < self.samples:
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
    width, height = int(tags[Tag.WIDTH]), int(tags[Tag.HEIGHT])
    bits = set(as_tuple(tags.get(Tag.BITS, 1)))
    formats = set(as_tuple(tags.get(Tag.SAMPLE_FORMAT, 1)))
    is_tiled = Tag.TILE_OFFSETS in tags
    if is_tiled:
        chunk = int(tags[Tag.TILE_WIDTH]), int(tags[Tag.TILE_HEIGHT])
    else:
        chunk = width, min(height, int(tags.get(Tag.ROWS, height)) or height)
    orientation = tags.get(Tag.ORIENTATION, 1)
    if min(width, height, *chunk) < 1:
        raise ValueError("sizes of zero")
    layout = Layout(
        tags=tags,
        order=order,
        width=width,
        height=height,
        samples=int(tags.get(Tag.SAMPLES, 1)),
        bits=max(bits) if len(bits) == 1 or max(bits) <= 8 else -1,
        kind=_KINDS.get(max(formats), "c") if len(formats) == 1 else "c",
        compression=int(tags.get(Tag.COMPRESSION, RAW)),
        photometric=int(tags.get(Tag.PHOTOMETRIC, BLACK_IS_ZERO)),
        is_planar=tags.get(Tag.PLANAR, 1) == 2,
        is_tiled=is_tiled,
        chunk_width=chunk[0],
        chunk_height=chunk[1],
        offsets=as_tuple(tags[Tag.TILE_OFFSETS if is_tiled else Tag.STRIP_OFFSETS]),
        counts=as_tuple(tags.get(Tag.TILE_COUNTS if is_tiled else Tag.STRIP_COUNTS, ())),
        orientation=orientation if orientation in range(1, 9) else 1,
        has_more=bool(tags.next),
    )
    return _cut_strips(layout)


def _cut_strips(layout: Layout) -> Layout:
    """Take a strip that is not compressed for many of a few rows: it may be the whole image."""
    if layout.is_tiled or layout.is_planar or layout.compression != RAW or layout.bits < 1:
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


def can_be_cut(layout: Layout) -> bool:
    """Whether `read_bands` reads it."""
    return not layout.is_planar and layout.compression != 6 and layout.bits in (1, 2, 4, 8)


def refuse_unreadable(layout: Layout) -> None:
    """Refuse a wide file of a kind that is not read.

    Raises
    ------
    ImageError
        Says what it is, and how to save it instead.
    """
    wrong = None
    colors = 3 if layout.photometric == RGB else 1
    num_extra = layout.samples - colors - (layout.alpha is not None)
    if layout.kind == "c":
        wrong = "of complex numbers, or of samples of different kinds"
    elif layout.bits < 0:
        wrong = "whose channels have different numbers of bits"
    elif layout.bits > 64 or (layout.kind == "f" and layout.bits not in (16, 32, 64)):
        wrong = f"of {layout.bits} bits a channel"
    elif layout.kind == "i" and layout.bits not in (8, 16, 32, 64):
        wrong = f"of signed integers of {layout.bits} bits"
    elif layout.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        what = _PHOTOMETRIC_NAMES.get(layout.photometric, f"of kind {layout.photometric}")
        wrong = f"of {layout.bits} bits {what}"
    elif layout.compression not in _COMPRESSIONS:
        name = TiffImagePlugin.COMPRESSION_INFO.get(layout.compression, str(layout.compression))
        wrong = f"of {layout.bits} bits that is compressed by {name}"
    elif num_extra < 0 or num_extra > 1:
        wrong = f"of {layout.samples} channels, more than grey or colour, and alpha"
    if wrong is not None:
        raise ImageError(f"is a TIFF {wrong}, which is not read; {_HOW}")
