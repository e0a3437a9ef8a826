"""The two photographs that come with scikit-learn, and small ones cut from them."""

from __future__ import annotations

from functools import cache
from typing import Any

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


def draw_images(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw coloured squares under a finer pattern and noise; shape (count, side, side, 3).

    Nothing but integers of NumPy's generator is in them, so that they are the same everywhere.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros((count, side, side, 3), np.int64)
    for length, most in ((16, 128), (5, 96), (1, 32)):
        cells = generator.integers(0, most, (count, -(-side // length), -(-side // length), 3))
        drawn += np.repeat(np.repeat(cells, length, 1), length, 2)[:, :side, :side]
    return drawn.astype(np.uint8)


def reference_batches() -> tuple[NDArray[np.uint8], ...]:
    """Return what PyTorch's features were computed of: twenty images of two sizes, two photographs.

    One size is even and one is odd, for which padding differs.
    """
    middles = [photograph[101:325, 208:432] for photograph in load_photographs().values()]
    return draw_images(10, 96), draw_images(10, 75, seed=1), np.stack(middles)


def pack_features(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Sum four neighbours with weights of their own, shape (num, 320): what is kept of 1280."""
    grouped = np.asarray(features, np.float64).reshape(len(features), 320, 4)
    return np.asarray(grouped @ [1, 2, 4, 8], np.float32)
