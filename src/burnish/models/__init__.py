"""Model families, their hyperparameters, and the building of models.

A new family is one file that makes a :class:`Family`, and one line in
``FAMILIES`` (or a call of :func:`register_family` from outside).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from burnish.backend import keras
from burnish.errors import (
    BurnishError,
    StudyError,
    describe_exception,
    name_what_exists,
    shorten,
)
from burnish.models import augmentation
from burnish.models.cnn import CNN
from burnish.models.family import Family
from burnish.models.fnn import FNN
from burnish.models.layers import Kit
from burnish.models.pretrained import PRETRAINED
from burnish.space import Float, Params, SearchSpace, Value

__all__ = [
    "FAMILIES",
    "Family",
    "build_model",
    "check_params",
    "count_operations",
    "count_weights",
    "default_params",
    "find_family",
    "has_plugins",
    "limits_of",
    "register_family",
    "sum_operations",
]

FAMILIES: dict[str, Family] = {family.name: family for family in (FNN, CNN, PRETRAINED)}

_SHIPPED = frozenset(FAMILIES)

LEARNING_RATE = Float(1e-7, 10.0)
"""What makes sense as a learning rate of Adam."""


def register_family(family: Family) -> None:
    """Make a family known by its name.

    Raises
    ------
    ValueError
        If the name is taken, or a default is missing or outside its limits.
    """
    if family.name in FAMILIES:
        raise ValueError(f"a family '{family.name}' is registered already")
    if set(family.defaults) != set(family.limits.ranges):
        raise ValueError(f"defaults and limits of '{family.name}' name different hyperparameters")
    if family.defaults not in family.limits:
        raise ValueError(f"a default of '{family.name}' lies outside its limits")
    FAMILIES[family.name] = family


def has_plugins() -> bool:
    """Whether a program has registered families of its own."""
    return not FAMILIES.keys() <= _SHIPPED


def find_family(name: str) -> Family:
    """Give the family of a name.

    Raises
    ------
    StudyError
        If there is none; the message names those that exist.
    """
    if name not in FAMILIES:
        raise StudyError(name_what_exists("model", name, FAMILIES))
    return FAMILIES[name]


def limits_of(family: Family) -> SearchSpace:
    """What every hyperparameter of a fit may be: the family's, augmentation, learning rate."""
    return SearchSpace(
        {**family.limits.ranges, **augmentation.LIMITS.ranges, "learning_rate": LEARNING_RATE}
    )


def default_params(family: Family) -> dict[str, Value]:
    """Defaults of every hyperparameter of a fit."""
    return {**family.defaults, **augmentation.DEFAULTS, "learning_rate": 0.001}


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


def build_model(
    family: Family,
    params: Params,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    training: bool,
    bfloat16: bool = False,
    seed: int = 0,
) -> Any:
    """Build a Keras model that takes pixel values 0-255.

    Parameters
    ----------
    family, params
        What to build; params must be complete and checked.
    image_shape
        (height, width, channels).
    num_classes
        Width of the output.
    training
        ``True``: logits out, fused layers where the backend has them.
        ``False``: probabilities out, stock Keras layers in float32. Both have the
        same weights in the same order.
    bfloat16
        Whether activations are bfloat16 (training only).
    seed
        Seed of the initial weights and of dropout.

    Raises
    ------
    StudyError
        If the structure does not fit images of this size, or cannot be built at all.
    """
    misfit = family.explain_misfit(params, image_shape)
    if misfit:
        raise StudyError(misfit)
    kit = Kit(training=training, bfloat16=bfloat16 and training, seed=seed)
    try:
        inputs = x = keras.Input(image_shape, name="image")
        rescaling = [kit.rescaling()] if family.rescaled else []
        for layer in [*rescaling, *family.build(params, kit), *kit.output(num_classes)]:
            x = layer(x)
        return keras.Model(inputs, x, name=family.name)
    except BurnishError:
        raise
    except (Exception, SystemExit) as error:  # Whatever a family, or Keras over its layers, raises.
        structure = ", ".join(f"{name} = {params[name]}" for name in family.defaults)
        raise StudyError(
            f"the model '{family.name}' cannot be built for images of "
            f"{'x'.join(str(side) for side in image_shape)} with {structure}: "
            f"{describe_exception(error)}"
        ) from error


def count_weights(
    family: Family, params: Params, image_shape: tuple[int, int, int], num_classes: int
) -> int:
    """Count the weights of a model; other arguments as :func:`build_model` takes them.

    Keras makes variables without their values where it is told to, so that the largest
    network of a space can be counted in no memory. A family that reads its weights from
    files needs the values, and is built.

    Raises
    ------
    StudyError
        If the structure does not fit images of this size, or cannot be built at all.
    """
    return _ask_model(
        lambda model: int(model.count_params()), family, params, image_shape, num_classes
    )


def count_operations(
    family: Family, params: Params, image_shape: tuple[int, int, int], num_classes: int
) -> int:
    """Count the operations by which a model predicts an image: :func:`sum_operations`.

    Arguments and errors as in :func:`count_weights`; nothing is computed here either.
    """
    return _ask_model(sum_operations, family, params, image_shape, num_classes)


_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def sum_operations(model: Any) -> int:
    """Sum the floating-point operations by which a Keras model predicts one image.

    Those of its convolutions and dense layers, two (a multiplication, an addition) for each
    weight of a kernel at each position of its output; all others are few beside them.
    Training on an image takes about three times as many.

    Raises
    ------
    StudyError
        If they cannot be counted: in a model within the model that takes images of any size, or
        in layers of somebody's own.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += sum_operations(layer)
            continue
        try:
            kernels = [getattr(layer, name) for name in _KERNELS if hasattr(layer, name)]
            positions = math.prod(layer.output.shape[1:-1]) if kernels else 0
            total += sum(2 * math.prod(kernel.shape) * positions for kernel in kernels)
        except Exception as error:
            raise StudyError(
                f"the operations of '{model.name}' cannot be counted: of its layer "
                f"'{layer.name}' the size of what it gives is not known"
            ) from error
    return total


def _ask_model(
    ask: Callable[[Any], int],
    family: Family,
    params: Params,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> int:
    """Ask a model for inference something that its weights' values do not matter for."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            return ask(build_model(family, params, image_shape, num_classes, training=False))
    except StudyError:
        return ask(build_model(family, params, image_shape, num_classes, training=False))
    finally:
        # Else Keras would give all of them their values when it next can.
        keras.utils.clear_session(free_memory=False)
