"""Bringing an image of a digit to what MNIST's look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def centre_digit(grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale to the asked size."""
    image = Image.fromarray(grey).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)[..., None]
