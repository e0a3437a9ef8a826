"""From a decoded image to the array that a model takes: the same in training and in use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.digit import centre_digit, flatten_drawing
from burnish.errors import ImageError
from burnish.image.color import Picture, to_color
from burnish.image.spec import InputSpec, Resize
from burnish.image.wide import WideImage, is_whole, narrow, show_range

NO_INK = "no ink was found in the image"
"""Why there is no label where the recipe ``digit`` found nothing."""


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
