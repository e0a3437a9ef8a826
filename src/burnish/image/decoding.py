"""From an image file to its pixels: any format, any number of bits, turned upright."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

from burnish.errors import ImageError
from burnish.image import png, tiff
from burnish.image.color import Picture, simplify_mode
from burnish.image.large import decode_large, find_factor
from burnish.image.opening import (
    FORMATS,
    HEAD_BYTES,
    MAX_PIXELS,
    errors_named,
    open_stream,
    opened,
    read_file,
    refuse_large,
)
from burnish.image.orientation import UPRIGHT, find_orientation, find_size
from burnish.image.wide import WideImage, shrink, turn


@dataclass(frozen=True)
class Header:
    """What a file says of its image.

    Attributes
    ----------
    height, width
        In pixels, as it is to be seen.
    mode
        Pillow's, or that of :attr:`burnish.image.wide.WideImage.mode`.
    has_more_pages
        Whether a TIFF file has further pages, which are not read.
    """

    height: int
    width: int
    mode: str
    has_more_pages: bool = False


def peek(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read an image's size and mode without decoding its pixels.

    Raises
    ------
    ImageError
        As `decode`, where the head of the file shows it.
    """
    with open_stream(source, max_pixels) as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        layout = tiff.read_layout(stream)
        if layout is not None and layout.is_wide:
            return _describe_tiff(layout, max_pixels)
        stream.seek(0)
        with opened(stream, max_pixels, FORMATS) as image:
            return _describe(image, png.read_color_type(head), layout)


def decode(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Picture:
    """Decode an image file: first frame, turned as its EXIF orientation says.

    Parameters
    ----------
    source
        A file, or the content of one.
    max_pixels
        More are refused before they are decoded. More than `MAX_PIXELS` are scaled down by a
        whole factor: JPEG and TIFF as they are read; others once they are decoded, for which
        they take about 6 bytes a pixel (26 where a PNG has 16 bits and colour).
    formats
        Pillow's names of the formats that are allowed.

    Returns
    -------
    A loaded image in one of the modes ``L``, ``RGB``, ``LA`` and ``RGBA``; of more than 8 bits
    a channel a `WideImage`.

    Raises
    ------
    ImageError
        If it cannot be read, is empty, of another format, too large, cut off or damaged;
        the message does not name the file.
    """
    return decode_with_header(source, max_pixels=max_pixels, formats=formats)[0]


def decode_with_header(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> tuple[Picture, Header]:
    """Do as `decode` does, and return what the file says of its image too."""
    content = read_file(source, max_pixels) if isinstance(source, Path) else source
    if not content:
        raise ImageError("is empty")
    layout = tiff.read_layout(io.BytesIO(content)) if "TIFF" in formats else None
    if layout is not None and layout.is_wide:
        header = _describe_tiff(layout, max_pixels)
        with errors_named(formats, content[:HEAD_BYTES]):
            factor = find_factor(layout.width, layout.height, MAX_PIXELS)
            return tiff.read_wide(content, layout, max_pixels, factor), header
    with opened(io.BytesIO(content), max_pixels, formats) as image:
        factor = find_factor(*image.size, MAX_PIXELS)
        orientation = find_orientation(image)
        color_type = png.read_color_type(content[:HEAD_BYTES])
        header = _describe(image, color_type, layout)
        if color_type is not None:
            wide = png.read_wide(content, image, color_type)
            values = turn(shrink(wide.values, factor), orientation)
            return WideImage(np.ascontiguousarray(values), wide.bits), header
        if factor > 1:
            return decode_large(content, image, layout, factor, orientation), header
        image.load()
        if find_orientation(image) != UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        return simplify_mode(image), header


def _describe_tiff(layout: tiff.Layout, max_pixels: int) -> Header:
    """Say what a wide TIFF file is, once it is known to be read."""
    tiff.refuse_unreadable(layout)
    width, height = layout.width, layout.height
    refuse_large(width, height, max_pixels)
    if layout.is_turned:
        width, height = height, width
    return Header(height, width, layout.mode, layout.has_more)


def _describe(image: Image.Image, color_type: int | None, layout: tiff.Layout | None) -> Header:
    """Say what an opened image is; a PNG file of 16 bits by the kind as which it is read."""
    width, height = find_size(image)
    mode = image.mode
    if color_type is not None:
        mode = png.name_mode(color_type, "transparency" in image.info)
    return Header(height, width, mode, layout is not None and layout.has_more)


def name_decoders() -> str:
    """Name the versions of what decodes: with another, other files can be read.

    >>> name_decoders().split(",")[0] == f"Pillow {PIL.__version__}"
    True
    """
    avif = "AVIF" if features.check("avif") else "no AVIF"
    try:
        heif = f"pillow-heif {version('pillow-heif')}"
    except PackageNotFoundError:
        heif = "no HEIF"
    return f"Pillow {PIL.__version__}, {avif}, {heif}"
