"""Drawings on a transparent ground, as a canvas saves them: what is ink is said by the alpha."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_OPAQUE = 250
"""From this alpha on nothing shines through."""

_VISIBLE = 32
"""Below this alpha there is nothing to see, and colours are left-overs."""

_ONE_COLOR = 24.0
"""Grey levels that one pen's strokes spread over, as standard deviation, at most."""

_STROKES_FILL = 0.7
"""Share of its surrounding box that a digit's ink fills at most; a sheet of paper fills more."""


def flatten_drawing(image: Image.Image) -> NDArray[np.uint8]:
    """Return grey values of an image with alpha, on a ground that shows its strokes.

    Where all that is visible has one colour, as of one pen, the alpha alone says where ink is:
    white on transparent is ink as black is. Where the visible part is a sheet or a picture of its
    own, transparency is filled with its commonest grey. Strokes of several colours lie on black or
    white, whichever is farther from them.

    Parameters
    ----------
    image
        Of mode ``LA`` or ``RGBA``.

    Returns
    -------
    uint8, shape (height, width)
    """
    alpha = np.asarray(image.getchannel("A"))
    grey = np.asarray(image.convert("RGB").convert("L"))
    if alpha.min(initial=255) >= _OPAQUE:
        return grey
    visible = alpha >= _VISIBLE
    if not visible.any():
        return np.full(alpha.shape, 255, np.uint8)
    values = grey[visible]
    if values.std() <= _ONE_COLOR:
        return 255 - alpha
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    box = (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
    if len(values) > _STROKES_FILL * box:
        ground = float(np.median(values))
    else:
        ground = 0.0 if np.percentile(values, 10) > 255 - np.percentile(values, 90) else 255.0
    share = alpha / np.float32(255)
    return np.rint(grey * share + ground * (1 - share)).astype(np.uint8)
