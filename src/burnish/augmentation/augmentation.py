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

from burnish.augmentation.operation import Operation, Turn, draw_operation
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
        return moves + sum(op.num_drawn for op in self._on() if op.place is None)

    @property
    def is_mixing(self) -> bool:
        """Whether it mixes images, and with them their labels."""
        return any(op.mix is not None for op in self._on())

    def draw(
        self,
        generator: np.random.Generator,
        num_images: int,
        image_shape: tuple[int, int, int],
        turn: Turn | None = None,
    ) -> NDArray[np.float32]:
        """Draw what happens to images of shape (height, width, channels).

        Parameters
        ----------
        generator
            Of everything but what follows from the image and the epoch.
        num_images, image_shape
            Of how many images, and their shape.
        turn
            Which images these are, and the epoch; else the first images, in the first epoch.

        Returns
        -------
        Shape (num_images, width): the coefficients of one affine map if images are moved
        (`Pose.coefficients`), then the numbers of each operation on pixel values.
        """
        pose = Pose(num_images, *image_shape[:2])
        turn = turn or Turn(np.arange(num_images, dtype=np.int32), epoch=0, seed=0)
        columns = []
        for operation in OPERATIONS:
            is_on = operation.is_on(self.params)
            if not (is_on or operation.draws_when_off):
                continue
            params = {**operation.defaults, **self.params}
            drawn = draw_operation(operation, generator, turn, params, image_shape)
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
        if self._moves():
            move = mirror_images if self._only_mirrors() else transform_images
            images = move(images, drawn[:, :NUM_COEFFICIENTS])
        for operation, params, numbers in self._on_pixels(drawn):
            if operation.apply is not None:
                images = operation.apply(images, numbers, params)
        return images

    def mix(self, images: Any, targets: Any, drawn: Any) -> tuple[Any, Any]:
        """Mix images with others of their batch, and their labels alike.

        The partner of an image is the one before it: which images meet is as random as their
        order, which each epoch draws.

        Parameters
        ----------
        images, drawn
            As `apply` takes them; the former as it gave them.
        targets
            Shares of the classes, float tensor of shape (batch, num_classes).

        Returns
        -------
        Tensors like ``images`` and ``targets``.
        """
        for operation, params, numbers in self._on_pixels(drawn):
            if operation.mix is None:
                continue
            partners = keras.ops.roll(images, 1, axis=0)
            images, share = operation.mix(images, partners, numbers, params)
            share = keras.ops.reshape(share, (-1, 1))
            targets = share * targets + (1 - share) * keras.ops.roll(targets, 1, axis=0)
        return images, targets

    def _on_pixels(self, drawn: Any) -> Iterator[tuple[Operation, Params, Any]]:
        """Go through the operations on pixel values, with hyperparameters and numbers of each."""
        first = NUM_COEFFICIENTS if self._moves() else 0
        for operation in self._on():
            if operation.place is None:
                numbers = drawn[:, first : first + operation.num_drawn]
                yield operation, {**operation.defaults, **self.params}, numbers
                first += operation.num_drawn

    def _on(self) -> Iterator[Operation]:
        return (operation for operation in OPERATIONS if operation.is_on(self.params))

    def _moves(self) -> bool:
        return any(operation.place is not None for operation in self._on())

    def _only_mirrors(self) -> bool:
        return all(op.only_mirrors for op in self._on() if op.place is not None)


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


def mirror_images(images: Any, coefficients: Any) -> Any:
    """Mirror images left to right where that is what is to be done.

    Parameters
    ----------
    images, coefficients
        As :func:`transform_images` takes them, of poses that are mirrored or not moved at all.

    Returns
    -------
    What that function returns, to the bit, in a third of the time.
    """
    mirrored = keras.ops.cast(coefficients[:, :1] < 0, images.dtype)[:, :, None, None]
    return images * (1 - mirrored) + keras.ops.flip(images, axis=2) * mirrored
