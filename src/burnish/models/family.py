"""What a model family is: a plug point with a name, hyperparameters and a builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from burnish.models.layers import LayerFactory, Layers
from burnish.space import Params, SearchSpace

__all__ = ["Family", "FrozenPart", "ImageShape", "Layers"]

ImageShape: TypeAlias = tuple[int, int, int]
"""Height, width and channels."""


@dataclass(frozen=True)
class FrozenPart:
    """The first layers of a network, which training leaves as they are.

    What they make of an image is computed once, and kept (:mod:`burnish.features`).

    Attributes
    ----------
    identity
        Names all that their output depends on, beside the image.
    build
        Builds them as a Keras model, from pixel values 0-255, shape (batch, height, width,
        channels), to vectors or maps.
    views
        Of how many fixed views of each training image they are computed: the image, and
        augmented ones.
    find_shape
        Says the shape of what ``build``'s model gives, without its weights; ``None`` where only
        the model itself says it.
    """

    identity: str
    build: Callable[[], Any]
    views: int = 1
    find_shape: Callable[[], tuple[int | None, ...]] | None = None


def _freeze_nothing(params: Params, image_shape: ImageShape) -> FrozenPart | None:
    return None


def _credit_nobody(params: Params) -> str:
    return ""


def _explain_start(before: Params, after: Params) -> str | None:
    return None if before == after else "is of another network"


def _no_rate_factors(params: Params) -> Mapping[str, float]:
    return {}


def _no_files(params: Params) -> tuple[Path, ...]:
    return ()


@dataclass(frozen=True)
class Family:
    """A kind of model and the hyperparameters that shape it.

    Attributes
    ----------
    name
        The name by which a study file asks for it.
    description
        One line for people.
    defaults
        A value for every hyperparameter.
    limits
        The values that make sense at all, for every hyperparameter; a study's
        search spaces lie within.
    build
        From params and a factory to the layers between the image, or what the frozen part
        gives, and the output layer.
    convolutional
        Whether most of its arithmetic is in convolutions, which is where
        bfloat16 pays.
    explain_misfit
        Says why params do not fit images of shape (height, width, channels), or
        gives ``None`` where they do.
    rescaled
        Whether the first of its layers takes values 0-1, else 0-255.
    rate_factors
        By the name of a layer: what its learning rate is multiplied by.
    find_files
        Files that the initial weights come from, their content being part of what a
        result depends on. Fetches what is to be downloaded; raises
        :class:`burnish.errors.StudyError` if it is not to be had.
    freeze
        Gives the part of the network that training leaves as it is and that is computed once, for
        images of a shape, or ``None``; ``build`` then gives the layers behind it.
    frozen_by
        Hyperparameters that change what the frozen part gives, beside those of augmentation.
    explain_start
        Says why a fit with the second params cannot start from the weights of one with the first,
        as something that the weights "are" or "have", or gives ``None`` where it can. Both
        are of the hyperparameters that change which network is built.
    credit
        Says in a sentence or two where its initial weights come from and under which licence, for
        the model card; nothing where they are random.
    training_only
        Hyperparameters that change only how a network is trained, not which one it is.
    """

    name: str
    description: str
    defaults: Params
    limits: SearchSpace
    build: Callable[[Params, LayerFactory], Layers]
    convolutional: bool
    explain_misfit: Callable[[Params, tuple[int, int, int]], str | None]
    rescaled: bool = True
    rate_factors: Callable[[Params], Mapping[str, float]] = _no_rate_factors
    find_files: Callable[[Params], tuple[Path, ...]] = _no_files
    freeze: Callable[[Params, ImageShape], FrozenPart | None] = _freeze_nothing
    frozen_by: tuple[str, ...] = ()
    credit: Callable[[Params], str] = _credit_nobody
    explain_start: Callable[[Params, Params], str | None] = _explain_start
    training_only: tuple[str, ...] = ("dropout_rate", "l2_strength")

    def structure(self, params: Params) -> Params:
        """Return the params that change which network is built."""
        return {name: value for name, value in params.items() if self.is_structure(name)}

    def is_structure(self, name: str) -> bool:
        """Whether a hyperparameter changes which network is built."""
        return name in self.defaults and name not in self.training_only
