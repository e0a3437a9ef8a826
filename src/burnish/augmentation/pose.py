"""Where the images of a batch are put: turned, scaled, shifted, mirrored, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_COEFFICIENTS = 8
"""Numbers that ``keras.ops.image.affine_transform`` takes for each image."""


class Pose:
    """The pose of each image of a batch; operations change it one after the other.

    It maps a place of the result to the place of the image that it shows: relative to the shifted
    middle by ``linear``, then mirrored.

    Parameters
    ----------
    num_images
        How many images.
    height, width
        Of each, in pixels.

    Attributes
    ----------
    linear
        Shape (num_images, 2, 2), rows and columns in the order x, y.
    right, down
        Shifts in pixels, shape (num_images,).
    is_mirrored
        Left to right, shape (num_images,).
    """

    def __init__(self, num_images: int, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.linear = np.tile(np.eye(2), (num_images, 1, 1))
        self.right = np.zeros(num_images)
        self.down = np.zeros(num_images)
        self.is_mirrored = np.zeros(num_images, bool)

    def transform(self, matrices: NDArray[np.float64]) -> None:
        """Apply linear maps, shape (num_images, 2, 2), to where each pixel comes from."""
        a, b = self.linear, matrices
        # Written out: a product of matrices may add in another order on another processor.
        self.linear = np.stack(
            [
                np.stack(
                    [a[:, i, 0] * b[:, 0, j] + a[:, i, 1] * b[:, 1, j] for j in range(2)], axis=1
                )
                for i in range(2)
            ],
            axis=1,
        )

    def coefficients(self) -> NDArray[np.float32]:
        """Return what ``keras.ops.image.affine_transform`` takes.

        Returns
        -------
        Shape (num_images, 8): rows (a0, a1, a2, b0, b1, b2, 0, 0), by which the pixel at (x, y)
        of the result comes from (a0 x + a1 y + a2, b0 x + b1 y + b2) of the image.
        """
        middle_x, middle_y = (self.width - 1) / 2, (self.height - 1) / 2
        x0, y0 = middle_x + self.right, middle_y + self.down
        (a0, a1), (b0, b1) = np.moveaxis(self.linear, 0, -1)
        a2 = middle_x - a0 * x0 - a1 * y0
        b2 = middle_y - b0 * x0 - b1 * y0
        side = np.where(self.is_mirrored, -1.0, 1.0)
        zero = np.zeros(len(side))
        rows = [
            side * a0,
            side * a1,
            np.where(self.is_mirrored, self.width - 1 - a2, a2),
            b0,
            b1,
            b2,
            zero,
            zero,
        ]
        return np.stack(rows, axis=1).astype(np.float32)
