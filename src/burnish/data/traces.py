"""What an image gives away besides what it shows: its file's format, quality, tags; its border."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from burnish.data.formats.listing import Encoded
from burnish.image import FORMATS, Picture, to_color
from burnish.image.wide import WideImage

TRACES = ("format", "quality", "tags", "border")
"""Columns of `trace`."""

UNKNOWN = -1.0
"""Stands for what an image does not have."""

# Brightest less darkest pixel of a border of one colour; JPEG makes black a little uneven.
_EVEN = 16
# Pixels of an image that is copied as a whole sooner than in strips.
_SMALL = 2**14


def trace(read: Encoded | Path, image: Picture) -> tuple[float, ...]:
    """Say what an image gives away.

    Parameters
    ----------
    read
        The content of its file, its pixels, or the path of a very large file, which is not looked
        into again.
    image
        The same, decoded; an image of more than 8 bits has no border that is looked at.

    Returns
    -------
    The number of its format among `burnish.image.FORMATS`; the mean of its JPEG's table of
    quantisation for brightness, which is the larger the lower the quality; the number of its EXIF
    tags; how bright its border is, 0 to 255, if that is of one colour. `UNKNOWN` for what it has
    not.
    """
    of_file = _trace_file(read) if isinstance(read, bytes) else (UNKNOWN,) * 3
    return (*of_file, _trace_border(image))


def _trace_file(content: bytes) -> tuple[float, float, float]:
    number, quality, tags = UNKNOWN, UNKNOWN, UNKNOWN
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.format in FORMATS:
                    number = float(FORMATS.index(image.format))
                tables = getattr(image, "quantization", None)
                if tables:
                    quality = float(np.mean(tables[min(tables)]))
                # Of a TIFF all of its structure counts as EXIF.
                tags = float(len(image.getexif())) if "exif" in image.info else 0.0
    except Exception:  # It was decoded; damaged metadata does not spoil it.
        pass
    return number, quality, tags


def _trace_border(image: Picture) -> float:
    if isinstance(image, WideImage):
        return UNKNOWN
    if image.mode in ("LA", "RGBA"):
        image = to_color(image, "rgb" if image.mode == "RGBA" else "grey")
    if image.mode not in ("L", "RGB"):
        return UNKNOWN
    right, bottom = image.width - 1, image.height - 1
    # Of most images two corners say enough, and all of the border would take long to read.
    first, last = _get_pixel(image, 0, 0), _get_pixel(image, right, bottom)
    if any(abs(one - other) > _EVEN for one, other in zip(first, last, strict=True)):
        return UNKNOWN
    if right * bottom <= _SMALL:
        array = np.asarray(image)
        strips = [array[0], array[-1], array[:, 0], array[:, -1]]
    else:
        boxes = ((0, 0, right + 1, 1), (0, bottom, right + 1, bottom + 1))
        ends = ((0, 0, 1, bottom + 1), (right, 0, right + 1, bottom + 1))
        strips = [np.asarray(image.crop(box)) for box in (*boxes, *ends)]
    pixels = np.concatenate([strip.reshape(-1, len(first)) for strip in strips])
    # Half of it to either side of one corner.
    is_even = np.abs(pixels.astype(np.int16) - np.array(first, np.int16)).max() <= _EVEN // 2
    return float(pixels.mean()) if is_even else UNKNOWN


def _get_pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel: Any = image.getpixel((x, y))
    return pixel if isinstance(pixel, tuple) else (pixel,)
