"""Modes and colour: what Pillow has in many forms, as grey or RGB, with alpha or without."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from PIL import Image

from burnish.image.spec import Color
from burnish.image.wide import WideImage

Picture: TypeAlias = Image.Image | WideImage
"""A decoded image: Pillow's where it has 8 bits a channel."""


def simplify_mode(image: Image.Image) -> Image.Image:
    """Bring palettes, CMYK and the like into grey, colour, or either with alpha."""
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    if image.mode in ("L", "LA", "RGB", "RGBA") and not transparent:
        return image
    if image.mode == "1" and not transparent:
        return image.convert("L")
    if transparent:
        return image.convert("RGBA")
    return image.convert("RGB")


def to_color(image: Image.Image, color: Color) -> Image.Image:
    """Return an image in mode ``L`` or ``RGB``."""
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    mode = "L" if color == "grey" else "RGB"
    # Pillow would copy an image that has the mode already.
    return image if image.mode == mode else image.convert(mode)


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
