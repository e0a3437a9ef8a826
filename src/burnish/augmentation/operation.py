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
class Turn:
    """Which images are trained on, in which epoch of a fit.

    Attributes
    ----------
    rows
        Numbers of the images in the train split, shape (num_images,).
    epoch
        From 0.
    seed
        Of the fit.
    """

    rows: NDArray[np.int32]
    epoch: int
    seed: int


@dataclass(frozen=True)
class Operation:
    """One way to change training images at random.

    Its random numbers are drawn outside the compiled graph. An operation that moves images has
    ``place``: all of these together cost one interpolation. One that changes pixel values has
    ``apply``, which runs inside the graph, after the images were moved, in the order of
    registration. One that mixes each image with another of its batch has ``mix``, which runs
    last; the labels are mixed alike.

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
    mix
        Takes a tensor as ``apply`` does, another one with the partner of each image, the drawn
        numbers, and the hyperparameters; returns the mixed images, and the share of each that
        is its own and not its partner's, shape (batch,), by which labels are mixed.
    draw_turn
        In place of ``draw`` where what happens depends on the image and the epoch: takes a
        `Turn`, the hyperparameters and the images' shape, and returns what ``draw`` does.
    only_mirrors
        Whether ``place`` mirrors images left to right at most: where all others that are on do no
        more, no interpolation is needed, which takes several times as long.
    draws_when_off
        Whether its numbers are drawn even where it leaves images as they are, as soon as another
        operation is on. The published study's three do, so that each image gets the same
        rotation whatever is on besides. An operation that came later must not: it would change
        what those before it draw.
    is_always_named
        Whether params name its hyperparameters where it is off, and with them the fingerprints
        of fits. Burnish's first five are; what came later must not be, so that fits without it
        keep theirs.
    """

    name: str
    defaults: Params
    limits: SearchSpace
    num_drawn: int
    draw: Callable[[np.random.Generator, Params, int, ImageShape], Drawn] | None = None
    place: Callable[[Pose, Drawn], None] | None = None
    apply: Callable[[Any, Any, Params], Any] | None = None
    mix: Callable[[Any, Any, Any, Params], tuple[Any, Any]] | None = None
    draw_turn: Callable[[Turn, Params, ImageShape], Drawn] | None = None
    only_mirrors: bool = False
    draws_when_off: bool = False
    is_always_named: bool = False

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
        if sum(way is not None for way in (self.place, self.apply, self.mix)) != 1:
            raise ValueError(
                f"the augmentation '{self.name}' needs either 'place' or 'apply' or 'mix'"
            )
        if (self.draw is None) == (self.draw_turn is None):
            raise ValueError(f"the augmentation '{self.name}' needs either 'draw' or 'draw_turn'")
        if set(self.defaults) != set(self.limits.ranges):
            raise ValueError(
                f"defaults and limits of the augmentation '{self.name}' name different "
                "hyperparameters"
            )
        if self.defaults not in self.limits:
            raise ValueError(f"a default of the augmentation '{self.name}' lies outside its limits")


def draw_operation(
    operation: Operation,
    generator: np.random.Generator,
    turn: Turn,
    params: Params,
    image_shape: ImageShape,
) -> Drawn:
    """Draw the numbers of one operation for the images of a turn."""
    if operation.draw_turn is not None:
        return operation.draw_turn(turn, params, image_shape)
    assert operation.draw is not None
    return operation.draw(generator, params, len(turn.rows), image_shape)


def draw_symmetric(
    generator: np.random.Generator, amount: float, num_images: int
) -> NDArray[np.float64]:
    """Draw a number from -amount to +amount for each image, each as likely as another."""
    return generator.uniform(-amount, amount, num_images)
