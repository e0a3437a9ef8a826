"""How many weights and operations a model has, found without computing anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from burnish.backend import keras
from burnish.errors import StudyError
from burnish.models.build import build_model
from burnish.models.family import Family
from burnish.space import Params


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
