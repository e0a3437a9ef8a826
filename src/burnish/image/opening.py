"""Image files, opened: within limits, and with what is wrong with one in plain words."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError, features

from burnish.errors import ImageError
from burnish.image_files import explain_kind, name_kind

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF")
"""What is decoded, by Pillow's names; others are refused, however the file is called.

HEIC photos (``HEIF``) are decoded too where pillow-heif is installed."""

MAX_PIXELS = 64_000_000
"""Largest image that is decoded unless more is allowed; a small file could fill the memory.

What is larger and allowed is scaled down to at most this by a whole factor as it is read.
"""

MAX_BYTES = 2**29
"""Largest file that is read; no image of `MAX_PIXELS` needs more."""

_BYTES_PER_PIXEL = 8
_PREFIX_BYTES = 16  # What Pillow shows to its own plug-ins.
_HEIF_KINDS = ("HEIC", "HEIF")

HEAD_BYTES = 512
"""Of a file, which tell its kind."""

CANNOT_BE_READ = "cannot be read"
"""How the message begins where the disk, not the image, is at fault."""


@cache
def _register_heif() -> bool:
    """Let Pillow decode HEIC by pillow-heif; say whether that is installed."""
    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return False
    # The first picture alone: embedded thumbnails and depth maps are not looked at.
    register_heif_opener(thumbnails=False)
    return True


@contextmanager
def opened(stream: BinaryIO, max_pixels: int, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open an image, and say of whatever Pillow raises while it is open what is wrong."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if formats == FORMATS and name_kind(head) in _HEIF_KINDS and _register_heif():
        formats = (*formats, "HEIF")
    with errors_named(formats, head), _open(stream, head, max_pixels, formats) as image:
        refuse_large(image.width, image.height, max_pixels)
        yield image


def _open(stream: BinaryIO, head: bytes, max_pixels: int, formats: tuple[str, ...]) -> Image.Image:
    if max_pixels <= MAX_PIXELS:
        return Image.open(stream, formats=formats)
    # Pillow's own limit is one for the whole process, which is not ours to change.
    Image.init()
    for name in formats:
        factory, accepts = Image.OPEN[name]
        accepted = True if accepts is None else accepts(head[:_PREFIX_BYTES])
        if accepted and not isinstance(accepted, str):
            stream.seek(0)
            return factory(stream, "")
    raise UnidentifiedImageError


def refuse_large(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of more pixels than are allowed.

    Raises
    ------
    ImageError
        Says how to allow more.
    """
    if width * height > max_pixels:
        raise ImageError(
            f"has {width}x{height} = {width * height:,} pixels; at most {max_pixels:,} are "
            "decoded: max_pixels in [data], or --max-pixels, allows more"
        )


@contextmanager
def errors_named(formats: tuple[str, ...], head: bytes) -> Iterator[None]:
    """Say of whatever Pillow raises what is wrong."""
    try:
        with warnings.catch_warnings():
            # Warnings of harmless oddities in metadata, and of bombs, which have a limit here.
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"has too many pixels ({error})") from error
    except UnidentifiedImageError as error:
        raise ImageError(_explain_unknown(head, formats)) from error
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def _explain_unknown(head: bytes, formats: tuple[str, ...]) -> str:
    """Say what a file is that is not decoded, and what to do."""
    kind = name_kind(head)
    known = f"not an image of a known format ({', '.join(formats)})"
    if kind is None:
        return f"is {known}"
    if ("HEIF" if kind in _HEIF_KINDS else kind.upper()) in formats and kind != "AVIF":
        return f"is cut off or damaged: it begins as {kind}, but is {known}"
    remedy = explain_kind(kind)
    if kind == "AVIF" and features.check("avif"):
        remedy = "it is damaged"
    return f"is {kind}, {known}{f'; {remedy}' if remedy else ''}"


def read_file(path: Path | str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read an image file, for `decode`.

    Raises
    ------
    ImageError
        If it cannot be read, is no regular file, or larger than `MAX_BYTES`, or than what
        ``max_pixels`` may need.
    """
    with open_stream(path, max_pixels) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise ImageError(f"{CANNOT_BE_READ} ({error.strerror or error})") from error


def open_stream(source: Path | str | bytes, max_pixels: int) -> BinaryIO:
    """Open a file, or the content of one, to be read.

    Raises
    ------
    ImageError
        As `read_file`.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        # Not by way of Path, whose methods take as long as decoding a small image.
        status = os.stat(source)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):  # Opening a pipe would wait for ever.
            raise ImageError("is not a regular file")
        most = max(MAX_BYTES, _BYTES_PER_PIXEL * max_pixels)
        if status.st_size > most:
            raise ImageError(f"has {status.st_size:,} bytes; at most {most:,} are read")
        return open(source, "rb")  # noqa: PTH123
    except FileNotFoundError as error:
        raise ImageError("is not there") from error
    except OSError as error:
        raise ImageError(f"{CANNOT_BE_READ} ({error.strerror or error})") from error
