"""From a family and its params to a Keras model."""

from __future__ import annotations

from typing import Any

from burnish.backend import keras
from burnish.errors import BurnishError, StudyError, describe_exception
from burnish.models.family import Family
from burnish.models.layers import LayerFactory, apply_layers
from burnish.space import Params


def build_model(
    family: Family,
    params: Params,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    training: bool,
    bfloat16: bool = False,
    seed: int = 0,
    behind: tuple[int, ...] | None = None,
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
    behind
        Shape of what the frozen part gives for an image: only the layers behind that part are
        built, which take it. By default all are built.

    Raises
    ------
    StudyError
        If the structure does not fit images of this size, or cannot be built at all.
    """
    misfit = family.explain_misfit(params, image_shape) if behind is None else None
    if misfit:
        raise StudyError(misfit)
    factory = LayerFactory(training=training, bfloat16=bfloat16 and training, seed=seed)
    try:
        if behind is None:
            inputs = keras.Input(image_shape, name="image")
            frozen = family.freeze(params, image_shape)
            first = [frozen.build()] if frozen else []
            first += [factory.rescaling()] if family.rescaled else []
        else:
            inputs = keras.Input(behind, name="activations")
            first = []
        layers = family.build(params, factory)
        # Vectors are kept as maps of one pixel. Small images are that, too, before a network.
        behind_cut = bool(layers) and isinstance(layers[0], keras.Model)
        if behind is not None and behind[:2] == (1, 1) and not behind_cut:
            first = [factory.flatten()]
        layers = [*first, *layers, *factory.output(num_classes)]
        return keras.Model(inputs, apply_layers(layers, inputs), name=family.name)
    except BurnishError:
        raise
    except (Exception, SystemExit) as error:  # Whatever a family, or Keras over its layers, raises.
        structure = ", ".join(f"{name} = {params[name]}" for name in family.defaults)
        raise StudyError(
            f"the model '{family.name}' cannot be built for images of "
            f"{'x'.join(str(side) for side in image_shape)} with {structure}: "
            f"{describe_exception(error)}"
        ) from error
