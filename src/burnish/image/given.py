"""Images that a program holds already: arrays, and what it has opened with Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from burnish.errors import ImageError
from burnish.image.color import Picture, simplify_mode
from burnish.image.orientation import UPRIGHT, find_orientation
from burnish.image.wide import WideImage, refuse_infinite

# A TIFF tag; 0 says that white is zero.
_PHOTOMETRIC = 262
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def simplify(image: Image.Image) -> Picture:
    """Do to an image that Pillow has opened what `decode` does to a file's.

    Raises
    ------
    ImageError
        If it has no pixels, or its file, which is read only now, is damaged.
    """
    if not (image.width and image.height):
        raise ImageError("is empty")
    _refuse_loss(image)
    # Of these alone Pillow leaves it to others.
    is_inverted = image.mode == "I;16" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    try:
        image = image.copy()
        if find_orientation(image) != UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode in _WIDE_MODES:
            values = np.asarray(image)
            return from_values(65535 - values if is_inverted else values)
        return simplify_mode(image)
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def _refuse_loss(image: Image.Image) -> None:
    """Refuse an opened file of which Pillow is about to drop all but 8 bits."""
    for tile in getattr(image, "tile", ()):
        if ";16" in str(tile.args) and image.mode not in (*_WIDE_MODES, "CMYK"):
            raise ImageError(
                "has 16 bits a channel, of which Pillow keeps 8; give the path of its file, or "
                "an array of uint16"
            )


def from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """Make an image of pixels (height, width) or (height, width, 1 to 4 channels)."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def from_values(pixels: NDArray[Any]) -> Picture:
    """Make an image of pixels (height, width) or (height, width, 1 to 4 channels) of any type.

    Bytes count from 0 to 255, truth values are black and white, and every other number is
    kept for what it is: see `WideImage`.

    Raises
    ------
    ImageError
        If these are no real numbers, or not finite ones.
    """
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint8:
        return from_array(pixels)
    if pixels.dtype.kind not in "iuf" or pixels.dtype.itemsize > 8:
        raise ImageError(f"is an array of {pixels.dtype}; expected integers or real numbers")
    refuse_infinite(pixels)
    values = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    return WideImage(np.ascontiguousarray(values, values.dtype.newbyteorder("=")))
