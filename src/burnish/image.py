"""From an image file to the array that a model takes: one way, for training and for use.

    image = decode(Path("cat.jpg"))
    array = convert(image, InputSpec(32, 32, "rgb"))     # uint8 (32, 32, 3)

Reading a data set, `burnish predict`, `burnish serve` and the tests all come here, so that a
model sees in use what it saw in training.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from burnish.errors import ImageError

Color: TypeAlias = Literal["grey", "rgb"]
Resize: TypeAlias = Literal["pad", "stretch"]
Recipe: TypeAlias = Literal["plain", "digit"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is decoded, by Pillow's names; others are refused, however the file is called."""

MAX_PIXELS = 64_000_000
"""Largest image that is decoded; beyond it a small file could fill the memory."""

_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


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
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error
    if not content:
        raise ImageError("is empty")
    try:
        with warnings.catch_warnings():
            # Warnings of harmless oddities in metadata, and of bombs, which have a limit here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=formats) as image:
                num_pixels = image.width * image.height
                if num_pixels > max_pixels:
                    raise ImageError(
                        f"has {image.width}x{image.height} = {num_pixels:,} pixels; "
                        f"at most {max_pixels:,} are decoded"
                    )
                return simplify(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"has too many pixels ({error})") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"is not an image of a known format ({', '.join(formats)})") from error
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def simplify(image: Image.Image) -> Image.Image:
    """Load an image, turn it as its EXIF orientation says, and reduce the modes there are.

    Returns
    -------
    A copy in one of the modes that :func:`decode` gives.

    Raises
    ------
    ImageError
        If it has no pixels, or is a lazily opened file that is damaged.
    """
    if not (image.width and image.height):
        raise ImageError("is empty")
    try:
        image.load()
        return _simplify(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders fail in many ways; all mean the same.
        raise ImageError(f"is cut off or damaged ({error})") from error


def is_grey(image: Image.Image) -> bool:
    """Whether a decoded image has no colour: by its mode, or because its channels agree."""
    if image.mode in ("L", "LA", *_WIDE_MODES):
        return True
    red, green, blue = (np.asarray(band) for band in image.convert("RGB").split())
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def convert(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a decoded image into a model's colour and size.

    Transparent images lie on white. 16 bits are scaled to 8. An image that has the right
    colour and size already keeps its pixel values.

    Returns
    -------
    uint8 array (height, width, channels)
    """
    if spec.recipe == "digit":
        from burnish.digit import centre_digit

        grey = np.asarray(to_color(image, "grey"))
        return centre_digit(grey, spec.height, spec.width).reshape(spec.shape)
    array = np.asarray(fit_size(to_color(image, spec.color), spec.height, spec.width, spec.resize))
    return array.reshape(spec.shape)


def to_color(image: Image.Image, color: Color) -> Image.Image:
    """Give an image in mode ``L`` or ``RGB``."""
    if image.mode in _WIDE_MODES:
        image = _narrow(image)
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if color == "grey" else "RGB")


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
        return image.copy()
    if image.mode == "1" and not transparent:
        return image.convert("L")
    if transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def _narrow(image: Image.Image) -> Image.Image:
    """From 16 bits, or real numbers, to 8 bits.

    Integers count to 65535 unless all are below 256. Real numbers count to 1 where none
    is larger, else to 255.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("has pixel values that are not finite")
    largest = values.max(initial=0.0)
    if image.mode == "F":
        values = values * (255.0 if largest <= 1.0 else 1.0)
    elif image.mode.startswith("I;16") or largest > 255:
        values = values / 257.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
