"""What a model family is: a plug point with a name, hyperparameters and a builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from burnish.models.layers import Kit
from burnish.space import Params, SearchSpace

Layers = list[Any]
"""Keras layers, to be applied in order."""


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
        From params and a kit to the layers between the rescaled image and the
        output layer.
    convolutional
        Whether most of its arithmetic is in convolutions, which is where
        bfloat16 pays.
    explain_misfit
        Says why params do not fit images of shape (height, width, channels), or
        gives ``None`` where they do.
    """

    name: str
    description: str
    defaults: Params
    limits: SearchSpace
    build: Callable[[Params, Kit], Layers]
    convolutional: bool
    explain_misfit: Callable[[Params, tuple[int, int, int]], str | None]
