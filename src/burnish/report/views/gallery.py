"""Images on a page, each with its name and what is said of it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.errors import show_name

_SIDE = 192
"""Longest side of a picture in the page, in pixels; larger images are sampled down."""

_SMALL = 64
"""Images of at most so many pixels a side are shown with sharp pixels, losslessly."""


@dataclass(frozen=True)
class Exhibit:
    """One image of a gallery.

    Attributes
    ----------
    picture
        Address of the image, which stands in the page.
    is_small
        Whether its pixels are to be seen.
    name
        What it is called, fit to be shown.
    claim
        What stands beneath it first, such as ``cat → dog``.
    note
        What stands after that.
    """

    picture: str
    is_small: bool
    name: str
    claim: str
    note: str


def make_exhibit(image: NDArray[np.uint8], name: str, claim: str, note: str = "") -> Exhibit:
    """Make an exhibit of an image (height, width, channels), whose name may come from anybody."""
    is_small = max(image.shape[:2]) <= _SMALL
    return Exhibit(embed_image(image), is_small, show_name(name), claim, note)


def embed_image(image: NDArray[np.uint8]) -> str:
    """Return an image (height, width, channels) as an address that holds it."""
    pixels = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    kind, options = "png", dict[str, Any](optimize=True)
    if max(picture.size) > _SMALL:
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        kind, options = "jpeg", {"quality": 88}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
