"""Augmentation: what training images suffer at random, all operations together.

What each image suffers is drawn outside the compiled graph, from a generator that depends on
(seed, epoch) alone; so a fit that goes on after a crash sees the images that it would have seen,
on every backend. Applying it happens inside the graph. The saved inference model holds none of
this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Operation
from burnish.augmentation.operations import OPERATIONS
from burnish.augmentation.pose import NUM_COEFFICIENTS, Pose
from burnish.backend import keras
from burnish.space import Params, Value


@dataclass(frozen=True)
class Augmentation:
    """All operations with their hyperparameters.

    Parameters
    ----------
    params
        Hyperparameters of operations, such as ``rotation_range``; others are passed over, and
        those that are not there have their defaults.
    """

    params: Params

    @property
    def is_active(self) -> bool:
        """Whether it does anything at all."""
        return any(True for _ in self._on())

    def active_params(self) -> dict[str, Value]:
        """Return the hyperparameters of the operations that change images, by name."""
        on = {n: self.params.get(n, v) for op in self._on() for n, v in op.defaults.items()}
        return dict(sorted(on.items()))

    @property
    def width(self) -> int:
        """Numbers that are drawn for each image, as `draw` returns them."""
        moves = NUM_COEFFICIENTS if self._moves() else 0
        return moves + sum(op.num_drawn for op in self._on() if op.apply is not None)

    def draw(
        self, generator: np.random.Generator, num_images: int, image_shape: tuple[int, int, int]
    ) -> NDArray[np.float32]:
        """Draw what happens to images of shape (height, width, channels).

        Returns
        -------
        Shape (num_images, width): the coefficients of one affine map if images are moved
        (`Pose.coefficients`), then the numbers of each operation on pixel values.
        """
        pose = Pose(num_images, *image_shape[:2])
        columns = []
        for operation in OPERATIONS:
            is_on = operation.is_on(self.params)
            if not (is_on or operation.draws_when_off):
                continue
            params = {**operation.defaults, **self.params}
            drawn = operation.draw(generator, params, num_images, image_shape)
            if operation.place is not None:
                operation.place(pose, drawn)
            elif is_on:
                columns.append(drawn.astype(np.float32))
        if self._moves():
            columns.insert(0, pose.coefficients())
        return np.concatenate(columns or [np.zeros((num_images, 0), np.float32)], axis=1)

    def apply(self, images: Any, drawn: Any) -> Any:
        """Change images as it was drawn.

        Parameters
        ----------
        images
            Float tensor of pixel values 0-255, shape (batch, height, width, channels).
        drawn
            Float tensor, shape (batch, width), from `draw`.

        Returns
        -------
        A tensor like ``images``.
        """
        first = 0
        if self._moves():
            images = transform_images(images, drawn[:, :NUM_COEFFICIENTS])
            first = NUM_COEFFICIENTS
        for operation in self._on():
            if operation.apply is None:
                continue
            numbers = drawn[:, first : first + operation.num_drawn]
            images = operation.apply(images, numbers, {**operation.defaults, **self.params})
            first += operation.num_drawn
        return images

    def _on(self) -> Iterator[Operation]:
        return (operation for operation in OPERATIONS if operation.is_on(self.params))

    def _moves(self) -> bool:
        return any(operation.place is not None for operation in self._on())


def transform_images(images: Any, coefficients: Any) -> Any:
    """Move images; pixels from outside an image are 0.

    Parameters
    ----------
    images
        Float tensor, shape (batch, height, width, channels).
    coefficients
        Float tensor, shape (batch, 8), from `Pose.coefficients`.

    Returns
    -------
    A tensor like ``images``, bilinearly interpolated.
    """
    return keras.ops.image.affine_transform(
        images,
        coefficients,
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=0.0,
        data_format="channels_last",
    )
