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
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from burnish.digit import centre_digit, flatten_drawing
from burnish.errors import ImageError

Color: TypeAlias = Literal["grey", "rgb"]
Resize: TypeAlias = Literal["pad", "stretch"]
Recipe: TypeAlias = Literal["plain", "digit"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is decoded, by Pillow's names; others are refused, however the file is called."""

MAX_PIXELS = 64_000_000
"""Largest image that is decoded; beyond it a small file could fill the memory."""

MAX_BYTES = 2**29
"""Largest file that is read; no image of `MAX_PIXELS` needs more."""

_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_UPRIGHT = 1
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
    """

    height: int
    width: int
    color: Color
    resize: Resize = "pad"
    recipe: Recipe = "plain"

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
    """What a file says of its image: size in pixels as it is to be seen, and Pillow's mode."""

    height: int
    width: int
    mode: str


def peek(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read an image's size and mode without decoding its pixels.

    Raises
    ------
    ImageError
        As `decode`, where the head of the file shows it.
    """
    with _open_stream(source) as stream, _opened(stream, max_pixels, FORMATS) as image:
        # Of a TIFF Pillow gives the size as it will be once the image is turned.
        turned = image.format != "TIFF" and _orientation(image) in _ORIENTATIONS_ON_THE_SIDE
        width, height = image.size[::-1] if turned else image.size
        return Header(height, width, image.mode)


def decode(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode an image file: first frame, turned as its EXIF orientation says.

    Parameters
    ----------
    source
        A file, or the content of one.
    max_pixels
        More are refused before they are decoded.
    formats
        Pillow's names of the formats that are allowed.

    Returns
    -------
    A loaded image in one of the modes ``L``, ``RGB``, ``LA``, ``RGBA`` and those of 16 bits.

    Raises
    ------
    ImageError
        If it cannot be read, is empty, of another format, too large, cut off or damaged;
        the message does not name the file.
    """
    return decode_with_mode(source, max_pixels=max_pixels, formats=formats)[0]


def decode_with_mode(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> tuple[Image.Image, str]:
    """Do as `decode` does, and give Pillow's mode of the file too (``P``, ``CMYK``, ...)."""
    content = read_file(source) if isinstance(source, Path) else source
    if not content:
        raise ImageError("is empty")
    with _opened(io.BytesIO(content), max_pixels, formats) as image:
        mode = image.mode
        image.load()
        if _orientation(image) != _UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        return _simplify(image), mode


@contextmanager
def _opened(stream: BinaryIO, max_pixels: int, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open an image, and say of whatever Pillow raises while it is open what is wrong."""
    try:
        with warnings.catch_warnings():
            # Warnings of harmless oddities in metadata, and of bombs, which have a limit here.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=formats) as image:
                num_pixels = image.width * image.height
                if num_pixels > max_pixels:
                    raise ImageError(
                        f"has {image.width}x{image.height} = {num_pixels:,} pixels; "
                        f"at most {max_pixels:,} are decoded"
                    )
                yield image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"has too many pixels ({error})") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"is not an image of a known format ({', '.join(formats)})") from error
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def read_file(path: Path | str) -> bytes:
    """Read an image file, for `decode`.

    Raises
    ------
    ImageError
        If it cannot be read, is no regular file, or larger than `MAX_BYTES`.
    """
    with _open_stream(path) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise ImageError(f"{CANNOT_BE_READ} ({error.strerror or error})") from error


def _open_stream(source: Path | str | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        # Not by way of Path, whose methods take as long as decoding a small image.
        status = os.stat(source)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):  # Opening a pipe would wait for ever.
            raise ImageError("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"has {status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
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


def simplify(image: Image.Image) -> Image.Image:
    """Do to an image that Pillow has opened what `decode` does to a file's.

    Raises
    ------
    ImageError
        If it has no pixels, or its file, which is read only now, is damaged.
    """
    if not (image.width and image.height):
        raise ImageError("is empty")
    try:
        image = image.copy()
        if _orientation(image) != _UPRIGHT:
            ImageOps.exif_transpose(image, in_place=True)
        return _simplify(image)
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def is_grey(image: Image.Image) -> bool:
    """Whether a decoded image has no colour: by its mode, or because its channels agree."""
    if image.mode in ("L", "LA", *_WIDE_MODES):
        return True
    array = np.asarray(to_color(image, "rgb"))
    red, green, blue = array[..., 0], array[..., 1], array[..., 2]
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """Make an image of pixels (height, width) or (height, width, 1 to 4 channels)."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def convert(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a decoded image into a model's colour and size.

    Transparent images lie on white; with the recipe ``digit`` on what shows their strokes
    (see :func:`burnish.digit.flatten_drawing`). 16 bits are scaled to 8. An image that has the
    right colour and size already keeps its pixel values.

    Returns
    -------
    uint8 array (height, width, channels)
    """
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
    """Give an image in mode ``L`` or ``RGB``."""
    if image.mode in _WIDE_MODES:
        image = _narrow(image)
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
    if image.mode in _WIDE_MODES or (image.mode in ("L", "LA", "RGB", "RGBA") and not transparent):
        return image
    if image.mode == "1" and not transparent:
        return image.convert("L")
    if transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def _narrow(image: Image.Image) -> Image.Image:
    """From 16 bits, or real numbers, to 8 bits.

    Integers of 16 bits count to 65535, those of 32 bits too unless all are below 256. Real
    numbers count to 1 where none is larger, else to 255.
    """
    with np.errstate(invalid="ignore"):  # A signalling NaN; it is refused below.
        values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("has pixel values that are not finite")
    largest = values.max(initial=0.0)
    if image.mode == "F":
        values = values * (255.0 if largest <= 1.0 else 1.0)
    elif image.mode.startswith("I;16") or largest > 255:
        values = values / 257.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
