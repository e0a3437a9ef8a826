"""The ground behind the ink: its brightness at each pixel, and light parted from dark."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY_LEVELS = 10.0
"""Less contrast than this between ink and ground is none."""

_FIT_SIDE = 48


def reduce_image(grey: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average squares of factor x factor pixels."""
    return grey if factor == 1 else np.asarray(Image.fromarray(grey).reduce(factor))


def fit_ground(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness of the ground at each pixel: a quadratic surface, fitted without the ink.

    The pixels are parted in dark and light, and it begins with those of which there are more
    along the border; then it takes what lies close to the surface so far, four times.
    """
    small = reduce_image(grey, max(1, max(grey.shape) // _FIT_SIDE)).astype(np.float64)
    terms, values = _list_terms(small.shape), small.ravel()
    light = small > divide_levels(small)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    chosen = (light == (border.mean() >= 0.5)).ravel()
    for _ in range(5):
        a, b = terms[chosen], values[chosen]
        # A little ridge keeps the surface flat where few pixels hold it.
        normal = a.T @ a + np.diag([0, *[1e-3 * len(b)] * 5])
        surface = np.linalg.solve(normal, a.T @ b)
        off = np.abs(values - terms @ surface)
        chosen = off <= max(GREY_LEVELS, 2.5 * 1.4826 * np.median(off[chosen]))
    return np.clip(_evaluate(surface, grey.shape), 0, 255)


def divide_levels(values: NDArray[np.generic]) -> float:
    """Threshold between dark and light: the variance within the two classes is least.

    N. Otsu, 1979, "A threshold selection method from gray-level histograms". Where several
    are as good, the middle one.
    """
    counts = np.bincount(values.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * (below[-1] - below))
    between = np.nan_to_num(between, posinf=0.0)
    return float(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


@lru_cache(maxsize=16)
def _list_terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """1, x, y, x², xy, y² at each pixel, with x and y from -1 to 1; shape (pixels, 6)."""
    y, x = np.meshgrid(*map(_list_places, shape), indexing="ij")
    terms = np.stack([np.ones(shape), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    terms.flags.writeable = False
    return terms


def _list_places(num: int) -> NDArray[np.float64]:
    return (np.arange(num) + 0.5) / num * 2 - 1


def _evaluate(surface: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a surface's values, given by the factors of its terms, at each pixel."""
    y, x = _list_places(shape[0])[:, None], _list_places(shape[1])
    one, by_x, by_y, by_xx, by_xy, by_yy = surface
    across = (one + by_x * x + by_xx * x * x).astype(np.float32)
    down = (by_y * y + by_yy * y * y).astype(np.float32)
    mixed = (by_xy * y).astype(np.float32) * x.astype(np.float32)
    values: NDArray[np.float32] = across + down + mixed
    return values
