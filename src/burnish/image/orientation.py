"""How an image is to be turned: the orientation that a camera notes in a file's EXIF data."""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image

UPRIGHT = 1

_ON_THE_SIDE = (5, 6, 7, 8)
# Where Pillow keeps what may say an orientation, of all formats but TIFF.
_METADATA = frozenset(("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"))


def find_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an opened image as it will be once it is turned."""
    # Of a TIFF Pillow gives them so.
    turned = image.format != "TIFF" and find_orientation(image) in _ON_THE_SIDE
    return image.size[::-1] if turned else image.size


def find_orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; damaged metadata does not spoil an image."""
    if image.format != "TIFF" and _METADATA.isdisjoint(image.info):
        return UPRIGHT
    try:
        value: Any = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT
