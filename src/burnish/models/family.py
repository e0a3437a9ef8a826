"""What a model family is: a plug point with a name, hyperparameters and a builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.models.layers import LayerFactory
from burnish.space import Params, SearchSpace

Layers = list[Any]
"""Keras layers, or functions from tensor to tensor, to be applied in order."""


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
        From params and a factory to the layers between the image and the output layer.
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
    training_only: tuple[str, ...] = ("dropout_rate", "l2_strength")

    def is_structure(self, name: str) -> bool:
        """Whether a hyperparameter changes which network is built."""
        return name in self.defaults and name not in self.training_only
