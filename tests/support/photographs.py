"""The two photographs that come with scikit-learn, and small ones cut from them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

NAMES = ("china", "flower")


@cache
def load_photographs() -> dict[str, NDArray[np.uint8]]:
    """Return both, 427 pixels high and 640 wide."""
    found = load_sample_images()
    names = [name.removesuffix(".jpg") for name in found.filenames]
    return {n.rsplit("/", 1)[-1]: np.asarray(i) for n, i in zip(names, found.images, strict=True)}


def cut_photographs(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Cut squares from both in turn and bring them to one size; shape (count, side, side, 3)."""
    generator = np.random.default_rng(seed)
    squares = []
    for number in range(count):
        photograph = load_photographs()[NAMES[number % 2]]
        length = int(generator.integers(120, 360))
        height, width, _ = photograph.shape
        top, left = generator.integers(0, (height - length, width - length))
        square = photograph[top : top + length, left : left + length]
        squares.append(
            np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))
        )
    return np.stack(squares)
