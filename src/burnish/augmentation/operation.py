"""What an operation of augmentation is: a plug point with hyperparameters and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.pose import Pose
from burnish.space import Params, SearchSpace

Drawn: TypeAlias = NDArray[np.float64]
"""The random numbers of one operation, shape (num_images, num_drawn)."""

ImageShape: TypeAlias = tuple[int, int, int]
"""Height, width and channels."""


@dataclass(frozen=True)
class Operation:
    """One way to change training images at random.

    Its random numbers are drawn outside the compiled graph. An operation that moves images has
    ``place``: all of these together cost one interpolation. One that changes pixel values has
    ``apply``, which runs inside the graph, after the images were moved, in the order of
    registration.

    Attributes
    ----------
    name
        What it does: ``rotation``.
    defaults
        A value for every hyperparameter, with which images stay as they are.
    limits
        The values that make sense at all, for every hyperparameter.
    num_drawn
        Random numbers an image.
    draw
        Takes a generator, the hyperparameters, a number of images and their shape; returns
        an array of shape (num_images, num_drawn).
    place
        Takes the pose of the images so far and the drawn numbers, and changes the pose.
    apply
        Takes a float tensor of pixel values 0-255, shape (batch, height, width, channels), the
        drawn numbers as a float tensor, shape (batch, num_drawn), and the hyperparameters;
        returns a tensor like the first, made by ``keras.ops`` or TensorFlow.
    draws_when_off
        Whether its numbers are drawn even where it leaves images as they are, as soon as another
        operation is on. The published study's three do, so that each image gets the same
        rotation whatever is on besides. An operation that came later must not: it would change
        what those before it draw.
    """

    name: str
    defaults: Params
    limits: SearchSpace
    num_drawn: int
    draw: Callable[[np.random.Generator, Params, int, ImageShape], Drawn]
    place: Callable[[Pose, Drawn], None] | None = None
    apply: Callable[[Any, Any, Params], Any] | None = None
    draws_when_off: bool = False

    def is_on(self, params: Params) -> bool:
        """Whether it changes images with these hyperparameters."""
        return any(params.get(name, default) != default for name, default in self.defaults.items())

    def refuse_misuse(self) -> None:
        """Refuse an operation that breaks the contract.

        Raises
        ------
        ValueError
            Says what is wrong.
        """
        if (self.place is None) == (self.apply is None):
            raise ValueError(f"the augmentation '{self.name}' needs either 'place' or 'apply'")
        if set(self.defaults) != set(self.limits.ranges):
            raise ValueError(
                f"defaults and limits of the augmentation '{self.name}' name different "
                "hyperparameters"
            )
        if self.defaults not in self.limits:
            raise ValueError(f"a default of the augmentation '{self.name}' lies outside its limits")


def draw_symmetric(
    generator: np.random.Generator, amount: float, num_images: int
) -> NDArray[np.float64]:
    """Draw a number from -amount to +amount for each image, each as likely as another."""
    return generator.uniform(-amount, amount, num_images)
