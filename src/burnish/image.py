"""From an image file to the array that a model takes: one way, for training and for use.

    image = decode(Path("cat.jpg"))
    array = convert(image, InputSpec(32, 32, "rgb"))     # uint8 (32, 32, 3)

Reading a data set, `burnish predict`, `burnish serve` and the tests all come here, so that a
model sees in use what it saw in training.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from burnish import png, tiff
from burnish.digit import centre_digit, flatten_drawing
from burnish.errors import ImageError
from burnish.image_files import explain_kind, name_kind
from burnish.large import decode_large, find_factor
from burnish.wide import (
    Range,
    WideImage,
    is_whole,
    narrow,
    refuse_infinite,
    show_range,
    shrink,
    turn,
)

Color: TypeAlias = Literal["grey", "rgb"]
Resize: TypeAlias = Literal["pad", "stretch"]
Recipe: TypeAlias = Literal["plain", "digit"]
Picture: TypeAlias = Image.Image | WideImage
"""A decoded image: Pillow's where it has 8 bits a channel."""

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
# A TIFF tag; 0 says that white is zero.
_PHOTOMETRIC = 262
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_UPRIGHT = 1
_HEAD_BYTES = 512
_HEIF_KINDS = ("HEIC", "HEIF")
# Where Pillow keeps what may say an orientation, of all formats but TIFF.
_METADATA = frozenset(("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"))
_ORIENTATIONS_ON_THE_SIDE = (5, 6, 7, 8)

NO_INK = "no ink was found in the image"
"""Why there is no label where the recipe ``digit`` found nothing."""

CANNOT_BE_READ = "cannot be read"
"""How the message begins where the disk, not the image, is at fault."""


@dataclass(frozen=True)
class InputSpec:
    """What a model takes: the size and colour of its images, and how others are brought to it.

    Attributes
    ----------
    height, width
        In pixels.
    color
        ``grey`` (one channel) or ``rgb`` (three).
    resize
        ``pad`` keeps the aspect and fills up with black, ``stretch`` does not.
    recipe
        ``plain``, or ``digit``: light ink on black, cropped, scaled and centred by mass
        as MNIST's digits were (see :func:`burnish.digit.centre_digit`).
    range
        Which values of images of more than 8 bits are black and white; ``None`` where the
        data set had none (see :func:`burnish.wide.narrow`).
    """

    height: int
    width: int
    color: Color
    resize: Resize = "pad"
    recipe: Recipe = "plain"
    range: Range | None = None

    @property
    def num_channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.color == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.num_channels


@dataclass(frozen=True)
class Header:
    """What a file says of its image.

    Attributes
    ----------
    height, width
        In pixels, as it is to be seen.
    mode
        Pillow's, or that of :attr:`burnish.wide.WideImage.mode`.
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
    with _open_stream(source, max_pixels) as stream:
        head = stream.read(_HEAD_BYTES)
        stream.seek(0)
        layout = tiff.read_layout(stream)
        if layout is not None and layout.is_wide:
            return _describe_tiff(layout, max_pixels)
        stream.seek(0)
        with _opened(stream, max_pixels, FORMATS) as image:
            # Of a TIFF Pillow gives the size as it will be once the image is turned.
            turned = image.format != "TIFF" and _orientation(image) in _ORIENTATIONS_ON_THE_SIDE
            width, height = image.size[::-1] if turned else image.size
            mode = _name_png(image, png.read_color_type(head)) or image.mode
            return Header(height, width, mode, layout is not None and layout.has_more)


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
        with _errors_named(formats, content[:_HEAD_BYTES]):
            factor = find_factor(layout.width, layout.height, MAX_PIXELS)
            return tiff.read_wide(content, layout, max_pixels, factor), header
    with _opened(io.BytesIO(content), max_pixels, formats) as image:
        factor = find_factor(*image.size, MAX_PIXELS)
        orientation = _orientation(image)
        width, height = image.size
        if image.format != "TIFF" and orientation in _ORIENTATIONS_ON_THE_SIDE:
            width, height = height, width
        color_type = png.read_color_type(content[:_HEAD_BYTES])
        mode = _name_png(image, color_type) or image.mode
        header = Header(height, width, mode, layout is not None and layout.has_more)
        if color_type is not None:
            wide = png.read_wide(content, image, color_type)
            values = turn(shrink(wide.values, factor), orientation)
            return WideImage(np.ascontiguousarray(values), wide.bits), header
        if factor > 1:
            return decode_large(content, image, layout, factor, orientation, _simplify), header
        image.load()
        if _orientation(image) != _UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        return _simplify(image), header


def _describe_tiff(layout: tiff.Layout, max_pixels: int) -> Header:
    """Say what a wide TIFF file is, once it is known to be read."""
    tiff.refuse_unreadable(layout)
    width, height = layout.width, layout.height
    _refuse_large(width, height, max_pixels)
    if layout.is_turned:
        width, height = height, width
    return Header(height, width, layout.mode, layout.has_more)


def _name_png(image: Image.Image, color_type: int | None) -> str | None:
    """Name the kind of a PNG file of 16 bits as it is read; ``None`` of others."""
    if color_type is None:
        return None
    return png.name_mode(color_type, "transparency" in image.info)


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
def _opened(stream: BinaryIO, max_pixels: int, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open an image, and say of whatever Pillow raises while it is open what is wrong."""
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if formats == FORMATS and name_kind(head) in _HEIF_KINDS and _register_heif():
        formats = (*formats, "HEIF")
    with _errors_named(formats, head), _open(stream, head, max_pixels, formats) as image:
        _refuse_large(image.width, image.height, max_pixels)
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


def _refuse_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"has {width}x{height} = {width * height:,} pixels; at most {max_pixels:,} are "
            "decoded: max_pixels in [data], or --max-pixels, allows more"
        )


@contextmanager
def _errors_named(formats: tuple[str, ...], head: bytes) -> Iterator[None]:
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
    with _open_stream(path, max_pixels) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise ImageError(f"{CANNOT_BE_READ} ({error.strerror or error})") from error


def _open_stream(source: Path | str | bytes, max_pixels: int) -> BinaryIO:
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


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; damaged metadata does not spoil an image."""
    if image.format != "TIFF" and _METADATA.isdisjoint(image.info):
        return _UPRIGHT
    try:
        value: Any = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:
        return _UPRIGHT
    return value if value in range(1, 9) else _UPRIGHT


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
        if _orientation(image) != _UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode in _WIDE_MODES:
            values = np.asarray(image)
            return from_values(65535 - values if is_inverted else values)
        return _simplify(image)
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


def is_grey(image: Picture) -> bool:
    """Whether a decoded image has no colour: by its mode, or because its channels agree."""
    if isinstance(image, WideImage):
        colors = image.colors
        if image.values.shape[2] == 4:  # What is hidden has no colour.
            colors = np.where(image.values[..., 3:] > 0, colors, colors.dtype.type(0))
        return bool((colors == colors[..., :1]).all())
    if image.mode in ("L", "LA"):
        return True
    array = np.asarray(to_color(image, "rgb"))
    red, green, blue = array[..., 0], array[..., 1], array[..., 2]
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


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


def convert(image: Picture, spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a decoded image into a model's colour and size.

    Transparent images lie on white; with the recipe ``digit`` on what shows their strokes
    (see :func:`burnish.digit.flatten_drawing`). More than 8 bits are mapped by the range of the
    specification. An image of 8 bits that has the right colour and size already keeps its
    pixel values.

    Returns
    -------
    uint8 array (height, width, channels)

    Raises
    ------
    ImageError
        If its values do not go with the range.
    """
    if isinstance(image, WideImage):
        image = narrow(image, spec.range)
    elif spec.range is not None and not is_whole(spec.range):
        raise ImageError(
            "has 8 bits, and the other images of its data set have more, of which the values "
            f"{show_range(spec.range)} are black to white; give it as it was before it had 8 bits"
        )
    if spec.recipe == "digit":
        transparent = image.mode in ("LA", "RGBA")
        grey = flatten_drawing(image) if transparent else np.asarray(to_color(image, "grey"))
        return centre_digit(grey, spec.height, spec.width).reshape(spec.shape)
    array = np.asarray(fit_size(to_color(image, spec.color), spec.height, spec.width, spec.resize))
    return array.reshape(spec.shape)


def find_blank(images: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.bool_]:
    """Return in which images the recipe found nothing, so that no class can be named.

    Parameters
    ----------
    images
        From `convert`, shape (num_images, height, width, channels).

    Returns
    -------
    bool, shape (num_images,). The recipe ``plain`` finds something in every image.
    """
    if spec.recipe == "plain":
        return np.zeros(len(images), np.bool_)
    return np.logical_not(images.reshape(len(images), -1).any(axis=1))


def to_color(image: Image.Image, color: Color) -> Image.Image:
    """Return an image in mode ``L`` or ``RGB``."""
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    mode = "L" if color == "grey" else "RGB"
    # Pillow would copy an image that has the mode already.
    return image if image.mode == mode else image.convert(mode)


def fit_size(image: Image.Image, height: int, width: int, resize: Resize) -> Image.Image:
    """Scale an image of mode ``L`` or ``RGB``; see :class:`InputSpec` for ``resize``."""
    if image.size == (width, height):
        return image
    if resize == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    scaled = image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=3.0)
    padded = Image.new(image.mode, (width, height))
    padded.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def _simplify(image: Image.Image) -> Image.Image:
    """Bring palettes, CMYK and the like into grey, colour, or either with alpha."""
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    if image.mode in ("L", "LA", "RGB", "RGBA") and not transparent:
        return image
    if image.mode == "1" and not transparent:
        return image.convert("L")
    if transparent:
        return image.convert("RGBA")
    return image.convert("RGB")
