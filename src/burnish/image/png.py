"""PNG files of 16 bits a channel, of which Pillow keeps 8 where they have colour or alpha."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.image import wide
from burnish.image.wide import WideImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_GREY, _RGB, _GREY_ALPHA, _RGBA = 0, 2, 4, 6
_HEAD = struct.Struct(">8x4x4xIIBB")


def read_color_type(head: bytes) -> int | None:
    """Return the colour type of a PNG file of 16 bits a channel, from its first 26 bytes.

    ``None`` for every other file.
    """
    if not head.startswith(SIGNATURE) or len(head) < _HEAD.size:
        return None
    *_, bits, color_type = _HEAD.unpack_from(head)
    return color_type if bits == 16 and color_type in (_GREY, _RGB, _GREY_ALPHA, _RGBA) else None


def name_mode(color_type: int, is_keyed: bool) -> str:
    """Name the kind of a file of 16 bits; ``is_keyed`` where one colour is transparent."""
    num_channels = {_GREY: 1, _RGB: 3, _GREY_ALPHA: 2, _RGBA: 4}[color_type]
    keyed = is_keyed and color_type in (_GREY, _RGB)
    return wide.name_mode(np.dtype(np.uint16), num_channels + keyed)


def read_wide(content: bytes, image: Image.Image, color_type: int) -> WideImage:
    """Decode a PNG file of 16 bits a channel.

    Parameters
    ----------
    content
        Of the file.
    image
        The same as Pillow has opened it, not loaded yet.
    color_type
        As `read_color_type` says.
    """
    if color_type == _GREY:
        image.load()
        values = np.asarray(image).astype(np.uint16)[..., np.newaxis]
    elif color_type == _GREY_ALPHA:
        # Four bytes a pixel, taken as they are.
        values = np.ascontiguousarray(_decode_as(content, "RGBA")).view(">u2").astype(np.uint16)
    else:
        # Big-endian samples read as such give the upper bytes, and as little-endian the lower.
        name = "RGB" if color_type == _RGB else "RGBA"
        upper = _decode_as(content, f"{name};16B").astype(np.uint16)
        values = upper * np.uint16(256) + _decode_as(content, f"{name};16L")
    transparent = image.info.get("transparency")
    if transparent is not None and color_type in (_GREY, _RGB):
        hidden = (values == np.asarray(transparent, np.uint16)).all(axis=2, keepdims=True)
        values = np.concatenate([values, np.where(hidden, 0, 65535).astype(np.uint16)], axis=2)
    return WideImage(values, _read_bits(content, color_type))


def _decode_as(content: bytes, raw_mode: str) -> NDArray[np.uint8]:
    """Decode with another layout of the bytes of a pixel than Pillow chose."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        image.load()
        return np.asarray(image)


def _read_bits(content: bytes, color_type: int) -> int | None:
    """Return the significant bits of the colours that the chunk ``sBIT`` declares."""
    place = len(SIGNATURE)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"sBIT":
            num_colors = 3 if color_type in (_RGB, _RGBA) else 1
            bits = max(content[place + 8 : place + 8 + min(length, num_colors)], default=0)
            return bits if 8 < bits < 16 else None
        place += 12 + length
    return None
