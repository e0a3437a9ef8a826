"""Family ``pretrained``: a new head on a network of ``keras.applications``.

In stages: first with the backbone frozen (``num_trainable_blocks = 0``), then, with a
stage whose base that is, training its last blocks too, at ``backbone_rate`` times the
learning rate. Batch normalisation stays frozen, so that its statistics are those which
the weights were trained with.

Only networks without dropout of their own are offered, as Keras seeds that from outside.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from burnish.backend import keras
from burnish.errors import BundleError, StudyError
from burnish.models.family import Family, Layers
from burnish.models.layers import LayerFactory
from burnish.models.saved import refuse_unsafe_weights
from burnish.space import Choice, Float, Int, Params, SearchSpace, Text

MIN_SIDE = 32
"""Smallest height and width that the backbones of ``keras.applications`` take."""

IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True)
class Backbone:
    """A network of ``keras.applications``.

    Attributes
    ----------
    application
        Name of the function that builds it.
    block
        Matches the beginning of a layer's name; what it captures names the block.
    scaling
        Scale and offset from 0-255 to what it takes; ``None`` where it scales itself.
    has_hash
        Whether Keras knows the hash of the weights that it downloads, and checks it.
    """

    application: str
    block: str
    scaling: tuple[float, float] | None = None
    has_hash: bool = True


BACKBONES = {
    "mobilenet-v3-small": Backbone("MobileNetV3Small", r"(expanded_conv(?:_\d+)?)_"),
    "mobilenet-v3-large": Backbone("MobileNetV3Large", r"(expanded_conv(?:_\d+)?)_"),
    "mobilenet-v2": Backbone(
        "MobileNetV2", r"((?:block_\d+|expanded_conv))_", (1 / 127.5, -1.0), has_hash=False
    ),
    "resnet50-v2": Backbone("ResNet50V2", r"(conv\d_block\d+)_", (1 / 127.5, -1.0)),
    "convnext-tiny": Backbone("ConvNeXtTiny", r"(convnext_tiny_stage_\d_block_\d+)_"),
}


def _build(params: Params, factory: LayerFactory) -> Layers:
    backbone = BACKBONES[str(params["backbone"])]
    with factory.seeded():
        network = _load(str(params["backbone"]), str(params["weights"]))
    _freeze_but_last(network, int(params["num_trainable_blocks"]), backbone.block)
    layers: Layers = [_to_three_channels]
    if backbone.scaling:
        layers.append(factory.rescaling(*backbone.scaling))
    layers.append(network)
    if params["dropout_rate"]:
        layers.append(factory.dropout(float(params["dropout_rate"])))
    return layers


def _to_three_channels(x: Any) -> Any:
    return x if x.shape[-1] == 3 else keras.layers.Concatenate(name="to_rgb")([x, x, x])


def _load(name: str, weights: str) -> Any:
    """Build a backbone; its output is one vector an image."""
    build = getattr(keras.applications, BACKBONES[name].application)
    arguments: dict[str, Any] = {
        "include_top": False,
        "input_shape": (None, None, 3),
        "pooling": "avg",
        "weights": IMAGENET if weights == IMAGENET else None,
        "name": "backbone",
    }
    try:
        with warnings.catch_warnings():
            # That ImageNet's images were larger: the convolutions take any size.
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            network = build(**arguments)
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise StudyError(
            f"weights 'imagenet' of {name} could not be had: {error}. Download the file that is "
            "named there on another machine, and give its path: "
            'params.weights = "path/to/the_file.h5"; or start without: weights = "none"'
        ) from error
    if weights not in (IMAGENET, NONE):
        try:
            network.load_weights(weights)
        except Exception as error:  # As many kinds as there are ways for a file to be wrong.
            raise StudyError(
                f"weights = {weights!r} cannot be loaded into {name}: {error}. Give a file of "
                "weights of that network without its top, as keras.applications downloads them "
                '("..._no_top....h5"), or "imagenet", or "none"'
            ) from error
    return network


def _freeze_but_last(network: Any, num_blocks: int, block: str) -> None:
    """Leave only the last blocks, and what comes after them, open to training."""
    names = [re.match(block, layer.name) for layer in network.layers]
    in_order = list(dict.fromkeys(match[1] for match in names if match))
    opened = set(in_order[len(in_order) - num_blocks :]) if num_blocks else set()
    reached = False
    for layer, match in zip(network.layers, names, strict=True):
        reached = reached or (match is not None and match[1] in opened)
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = reached and not normalises


def _explain_misfit(params: Params, image_shape: tuple[int, int, int]) -> str | None:
    height, width, channels = image_shape
    if min(height, width) < MIN_SIDE:
        return (
            f"a pretrained network takes images of at least {MIN_SIDE}x{MIN_SIDE}, and these are "
            f"{height}x{width}: set size = [{MIN_SIDE}, {MIN_SIDE}] or more in [data]"
        )
    if channels not in (1, 3):
        return f"a pretrained network takes 1 or 3 channels, not {channels}"
    return None


def _find_files(params: Params) -> tuple[Path, ...]:
    name, weights = str(params["backbone"]), str(params["weights"])
    if weights not in (IMAGENET, NONE) and not Path(weights).is_file():
        raise StudyError(
            f"weights = {weights!r}: there is no such file. Give the path of a file of weights of "
            f'{name} without its top, or "imagenet", or "none"'
        )
    if weights not in (IMAGENET, NONE):
        try:
            refuse_unsafe_weights(Path(weights))
        except BundleError as error:
            raise StudyError(
                f"weights = {weights!r} cannot be loaded into {name}: the file {error}. Give a "
                "file of weights of that network without its top, as keras.applications downloads "
                'them ("..._no_top....h5"), or "imagenet", or "none"'
            ) from error
    if weights == IMAGENET and not BACKBONES[name].has_hash:
        raise StudyError(
            f"weights 'imagenet' of {name}: Keras would fetch them without checking what it gets, "
            "and burnish fetches nothing without a known hash. Download the file with 'no_top' in "
            f"its name that keras.applications.{BACKBONES[name].application} documents, check it, "
            'and give its path: params.weights = "path/to/the_file.h5"; or take another backbone'
        )
    _check_weights(name, weights)
    return (Path(weights),) if weights not in (IMAGENET, NONE) else ()


@cache
def _check_weights(name: str, weights: str) -> None:
    """Load once what every fit will load: a download, or a wrong file, is found out early."""
    if weights != NONE:
        _load(name, weights)


def _rate_factors(params: Params) -> Mapping[str, float]:
    return {"backbone": float(params["backbone_rate"])} if params["num_trainable_blocks"] else {}


PRETRAINED = Family(
    name="pretrained",
    description="a new head on a network of keras.applications, frozen or fine-tuned",
    defaults={
        "backbone": "mobilenet-v3-small",
        "weights": IMAGENET,
        "num_trainable_blocks": 0,
        "backbone_rate": 0.1,
        "dropout_rate": 0.2,
    },
    limits=SearchSpace(
        {
            "backbone": Choice(tuple(BACKBONES)),
            "weights": Text(),
            "num_trainable_blocks": Int(0, 100),
            "backbone_rate": Float(0.0, 1.0),
            "dropout_rate": Float(0.0, 0.95),
        }
    ),
    build=_build,
    # Its batch normalisation is Keras's own, which bfloat16 makes slower.
    convolutional=False,
    training_only=("backbone_rate", "dropout_rate"),
    explain_misfit=_explain_misfit,
    rescaled=False,
    rate_factors=_rate_factors,
    find_files=_find_files,
)
