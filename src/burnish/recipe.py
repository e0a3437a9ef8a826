"""Hyperparameters of training itself, which fits of every model family have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from burnish.space import Choice, Float, Params, SearchSpace, Value

RECIPE: Mapping[str, Value] = MappingProxyType(
    {
        "optimizer": "adam",
        "momentum": 0.9,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "weight_averaging": 0.0,
    }
)
"""What each is where params do not name it; a fit that names none has none of them in its
fingerprint.

``optimizer``
    ``adam``, or ``sgd`` with Nesterov's ``momentum``, which Adam passes over.
``weight_decay``
    Decoupled (Loshchilov & Hutter 2019): this times the learning rate is the share of a kernel
    that goes with each step. Biases and batch normalisation keep theirs.
``label_smoothing``
    Share of what is asked for that is spread over all classes (Szegedy et al. 2016).
``weight_averaging``
    Decay of an exponential average of the weights over steps, such as 0.999, which then is the
    model that is validated and kept; 0: the weights themselves are.
"""

RECIPE_LIMITS = SearchSpace(
    {
        "learning_rate": Float(1e-7, 10.0),
        "optimizer": Choice(("adam", "sgd")),
        "momentum": Float(0.0, 0.999),
        "weight_decay": Float(0.0, 10.0),
        "label_smoothing": Float(0.0, 0.9),
        "weight_averaging": Float(0.0, 0.99999),
    }
)
"""The values that make sense at all."""


def recipe_number(params: Params, name: str) -> float:
    """Return a hyperparameter of training that is a number: as given, or what it is else."""
    return float(params.get(name, RECIPE[name]))
