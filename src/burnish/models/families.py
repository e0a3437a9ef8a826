"""The model families that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.augmentation import augmentation_defaults, augmentation_limits
from burnish.errors import StudyError, name_what_exists, shorten
from burnish.models.cnn import CNN
from burnish.models.family import Family
from burnish.models.fnn import FNN
from burnish.models.pretrained import PRETRAINED
from burnish.models.resnet import RESNET
from burnish.recipe import RECIPE_LIMITS
from burnish.registry import Registry
from burnish.space import Params, SearchSpace, Value


def _check(family: Family, others: Sequence[Family]) -> None:
    if set(family.defaults) != set(family.limits.ranges):
        raise ValueError(f"defaults and limits of '{family.name}' name different hyperparameters")
    if family.defaults not in family.limits:
        raise ValueError(f"a default of '{family.name}' lies outside its limits")


FAMILIES: Registry[Family] = Registry("model", StudyError, (FNN, CNN, RESNET, PRETRAINED), _check)


def find_family(name: str) -> Family:
    """Return the family of a name.

    Raises
    ------
    StudyError
        If there is none; the message names those that exist.
    """
    return FAMILIES.find(name)


def limits_of(family: Family) -> SearchSpace:
    """Return what every hyperparameter of a fit may be: training, family, augmentation."""
    ranges = augmentation_limits().ranges
    return SearchSpace({**RECIPE_LIMITS.ranges, **family.limits.ranges, **ranges})


def default_params(family: Family) -> dict[str, Value]:
    """Return the defaults of every hyperparameter that each fit names."""
    return {**family.defaults, **augmentation_defaults(), "learning_rate": 0.001}


def check_params(family: Family, params: Params) -> None:
    """Refuse params that this family does not have, or values outside their limits.

    Raises
    ------
    StudyError
        Names the hyperparameter, the value, the limits, and what exists.
    """
    limits = limits_of(family)
    for name, value in params.items():
        if name not in limits.ranges:
            unknown = name_what_exists("hyperparameter", name, limits.ranges)
            raise StudyError(f"model '{family.name}': {unknown}")
        if value not in limits.ranges[name]:
            given = shorten(repr(value), 120)
            raise StudyError(f"{name} = {given} is out of range: expected {limits.ranges[name]}")
