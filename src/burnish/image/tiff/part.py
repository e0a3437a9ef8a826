"""Some strips or tiles of a TIFF file as one of its own, in memory, with other tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, TiffImagePlugin

from burnish.errors import ImageError
from burnish.image.tiff.layout import Layout
from burnish.image.tiff.tags import RAW, Tag, as_tuple


def open_part(
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
    where: dict[int, Any] = {}
    if layout.is_tiled:
        where |= {Tag.TILE_WIDTH: chunk_sizes[0], Tag.TILE_HEIGHT: chunk_sizes[1]}
        where |= {Tag.TILE_OFFSETS: offsets, Tag.TILE_COUNTS: counts}
    else:
        where |= {Tag.ROWS: chunk_sizes[1], Tag.STRIP_OFFSETS: offsets, Tag.STRIP_COUNTS: counts}
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
    if layout.compression == RAW:
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
    numbers = as_tuple(value)
    if max(numbers, default=0) < 2**16:
        return 3, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers)
    return 4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers)
