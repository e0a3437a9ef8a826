"""Augmentation: random rotation, zoom, shift and mirroring of training images.

What each image suffers is drawn outside the compiled graph, from a generator
that depends on (seed, epoch) alone; so a fit that goes on after a crash sees
the images that it would have seen, on every backend. Applying it happens inside
the graph. The saved inference model holds none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.space import Choice, Float, Params, SearchSpace

DEFAULTS: Params = {
    "rotation_range": 0.0,
    "zoom_range": 0.0,
    "width_shift_range": 0.0,
    "height_shift_range": 0.0,
    "horizontal_flip": False,
}

LIMITS = SearchSpace(
    {
        "rotation_range": Float(0.0, 0.5),
        "zoom_range": Float(0.0, 0.9),
        "width_shift_range": Float(0.0, 0.9),
        "height_shift_range": Float(0.0, 0.9),
        "horizontal_flip": Choice((False, True)),
    }
)


@dataclass(frozen=True)
class Augmentation:
    """How far training images are moved at random, each amount uniformly drawn.

    Attributes
    ----------
    rotation_range
        Largest turn either way, as a fraction of a full turn (0.05 = 18 degrees).
    zoom_range
        An image is scaled by 1 - zoom_range to 1 + zoom_range.
    width_shift_range, height_shift_range
        Largest shift either way, as a fraction of width or height.
    horizontal_flip
        Whether half of the images are mirrored left to right.
    """

    rotation_range: float = 0.0
    zoom_range: float = 0.0
    width_shift_range: float = 0.0
    height_shift_range: float = 0.0
    horizontal_flip: bool = False

    @classmethod
    def from_params(cls, params: Params) -> Augmentation:
        """Take the augmentation's hyperparameters out of a stage's params."""
        given = {name: params.get(name, default) for name, default in DEFAULTS.items()}
        flip = bool(given.pop("horizontal_flip"))
        return cls(**{name: float(v) for name, v in given.items()}, horizontal_flip=flip)

    @property
    def is_active(self) -> bool:
        """Whether it does anything at all."""
        return self != Augmentation()

    def draw(
        self, generator: np.random.Generator, count: int, image_shape: tuple[int, int, int]
    ) -> NDArray[np.float32]:
        """Draw ``count`` transformations of images of shape (height, width, channels).

        Returns
        -------
        Shape (count, 8): rows (a0, a1, a2, b0, b1, b2, 0, 0), by which the pixel at
        (x, y) of the result comes from (a0 x + a1 y + a2, b0 x + b1 y + b2) of the
        image: the form that ``keras.ops.image.affine_transform`` takes.
        """
        height, width = image_shape[:2]

        def uniform(amount: float) -> NDArray[np.float64]:
            return generator.uniform(-amount, amount, count)

        angle = 2 * np.pi * uniform(self.rotation_range)
        scale = 1 + uniform(self.zoom_range)
        right = width * uniform(self.width_shift_range)
        down = height * uniform(self.height_shift_range)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        # Around the middle: undo the shift, then the rotation and the zoom.
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x0, y0 = middle_x + right, middle_y + down
        zero = np.zeros(count)
        a2 = middle_x - cos * x0 - sin * y0
        # Nothing is drawn where nothing is flipped: then the other draws stay as they were.
        mirrored = generator.random(count) < 0.5 if self.horizontal_flip else np.zeros(count, bool)
        side = np.where(mirrored, -1.0, 1.0)
        rows = [
            side * cos,
            side * sin,
            np.where(mirrored, width - 1 - a2, a2),
            -sin,
            cos,
            middle_y + sin * x0 - cos * y0,
            zero,
            zero,
        ]
        return np.stack(rows, axis=1).astype(np.float32)


def transform_images(images: Any, transforms: Any) -> Any:
    """Apply drawn transformations; pixels from outside an image are 0.

    Parameters
    ----------
    images
        Float tensor, shape (batch, height, width, channels).
    transforms
        Float tensor, shape (batch, 8), from :meth:`Augmentation.draw`.

    Returns
    -------
    A tensor like ``images``, bilinearly interpolated.
    """
    return keras.ops.image.affine_transform(
        images,
        transforms,
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=0.0,
        data_format="channels_last",
    )
