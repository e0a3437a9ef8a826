"""Image files that Pillow does not write: TIFF of every kind of samples, PNG of 16 bits."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_SHORTS = (258, 259, 262, 274, 277, 284, 317, 338, 339)
_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(
    values: NDArray[Any],
    *,
    order: Literal["<", ">"] = "<",
    bits: int | None = None,
    photometric: int | None = None,
    deflated: bool = False,
    predictor: int = 1,
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    big: bool = False,
    tags: dict[int, Any] | None = None,
) -> bytes:
    """Write values (height, width, channels) as TIFF 6.0 has them, or as BigTIFF.

    ``bits`` packs unsigned integers; ``rows`` are those of a strip; ``tags`` come on top.
    """
    height, width, channels = values.shape
    bits = bits or values.dtype.itemsize * 8
    planes = [values[..., i : i + 1] for i in range(channels)] if planar else [values]
    chunks = []
    for plane in planes:
        for block in _cut(plane, tile, rows or height):
            data = _pack(block, order, bits, predictor)
            chunks.append(zlib.compress(data) if deflated else data)
    offsets, at = [], 16 if big else 8
    for chunk in chunks:
        offsets.append(at)
        at += len(chunk)
    counts = [len(chunk) for chunk in chunks]
    entries: dict[int, Any] = {
        256: width,
        257: height,
        258: [bits] * channels,
        259: 8 if deflated else 1,
        262: (2 if channels >= 3 else 1) if photometric is None else photometric,
        277: channels,
        284: 2 if planar else 1,
        317: predictor,
        339: [_FORMATS[values.dtype.kind]] * channels,
    }
    if tile:
        entries |= {322: tile[1], 323: tile[0], 324: offsets, 325: counts}
    else:
        entries |= {273: offsets, 278: rows or height, 279: counts}
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at)
    return head + b"".join(chunks) + _write_directory(entries | (tags or {}), order, at, big)


def _cut(plane: NDArray[Any], tile: tuple[int, int] | None, rows: int) -> list[NDArray[Any]]:
    height, width, _ = plane.shape
    if tile is None:
        return [plane[top : top + rows] for top in range(0, height, rows)]
    blocks = []
    for top in range(0, height, tile[0]):
        for left in range(0, width, tile[1]):
            block = np.zeros((*tile, plane.shape[2]), plane.dtype)
            part = plane[top : top + tile[0], left : left + tile[1]]
            block[: part.shape[0], : part.shape[1]] = part
            blocks.append(block)
    return blocks


def _pack(block: NDArray[Any], order: Literal["<", ">"], bits: int, predictor: int) -> bytes:
    height, width, channels = block.shape
    size = block.dtype.itemsize
    if bits != 8 * size:
        weights = np.arange(bits - 1, -1, -1, dtype=np.uint64)
        each = block.reshape(height, -1, 1).astype(np.uint64) >> weights & np.uint64(1)
        return np.packbits(each.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    if predictor == 3:  # Floats, as Adobe's technical note 3 has them.
        big = np.ascontiguousarray(block, block.dtype.newbyteorder(">"))
        planes = big.reshape(height, width * channels).view(np.uint8)
        planes = planes.reshape(height, width * channels, size).swapaxes(1, 2).reshape(height, -1)
        steps = planes.copy()
        steps[:, channels:] -= planes[:, :-channels]
        return steps.tobytes()
    if predictor == 2:
        whole = block.view(f"u{size}").copy()
        whole[:, 1:] -= block.view(f"u{size}")[:, :-1]
        block = whole
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _write_directory(entries: dict[int, Any], order: str, at: int, big: bool) -> bytes:
    entry, count, limit = ("HHQ8s", "Q", 8) if big else ("HHI4s", "H", 4)
    size = struct.calcsize(f"{order}{entry}")
    outside = at + struct.calcsize(f"{order}{count}") + size * len(entries) + limit
    head, tail = struct.pack(f"{order}{count}", len(entries)), b""
    for tag, value in sorted(entries.items()):
        numbers = value if isinstance(value, list) else [value]
        kind, letter = (3, "H") if tag in _SHORTS else (4, "I")
        data = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(data) > limit:
            place = outside + len(tail)
            tail += data
            data = struct.pack(f"{order}{'Q' if big else 'I'}", place)
        head += struct.pack(f"{order}{entry}", tag, kind, len(numbers), data)
    return head + bytes(limit) + tail


def write_png(values: NDArray[np.uint16], *, bits: int | None = None, **chunks: bytes) -> bytes:
    """Write values (height, width, 1 to 4 channels) as PNG of 16 bits; ``bits`` is for sBIT."""
    height, width, channels = values.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    steps = rows.copy()
    steps[:, 2 * channels :] -= rows[:, : -2 * channels]  # Filter 1: the pixel to the left.
    body = b"".join(b"\1" + row.tobytes() for row in steps)
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)}
    if bits is not None:
        parts[b"sBIT"] = bytes([bits] * channels)
    parts |= {name.encode(): content for name, content in chunks.items()}
    parts |= {b"IDAT": zlib.compress(body), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts.items()
    )
