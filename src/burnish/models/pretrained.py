"""Family ``pretrained``: a new head on a network that was trained on ImageNet.

In stages: first with the backbone frozen (``num_trainable_blocks = 0``), then, with a
stage whose base that is, training its last blocks too, at ``backbone_rate`` times the
learning rate. What training leaves as it is, is computed once (:mod:`burnish.features`): of each
training image so many fixed ``views`` as are asked for, or, with none, only where nothing
changes the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from burnish.augmentation import Augmentation
from burnish.backend import keras
from burnish.models.backbones import (
    BACKBONES,
    IMAGENET,
    NONE,
    credit_weights,
    cut_before_blocks,
    describe_weights,
    find_cut_shape,
    find_weights,
    load_backbone,
    open_last_blocks,
)
from burnish.models.family import Family, FrozenPart, ImageShape, Layers
from burnish.models.layers import LayerFactory
from burnish.space import Choice, Float, Int, Params, SearchSpace, Text

ADAM, LBFGS = "adam", "lbfgs"
"""What trains a head on a frozen backbone: batch by batch, or on all images at once."""

MIN_SIDE = 32
"""Smallest height and width that the backbones of ``keras.applications`` take."""


def _build(params: Params, factory: LayerFactory) -> Layers:
    layers = _build_backbone(params, factory)
    if params["dropout_rate"]:
        layers.append(factory.dropout(float(params["dropout_rate"])))
    if params["hidden_units"]:
        layers += [factory.dense(int(params["hidden_units"])), factory.activation("relu")]
        if params["dropout_rate"]:
            layers.append(factory.dropout(float(params["dropout_rate"])))
    return layers


def _build_backbone(params: Params, factory: LayerFactory) -> Layers:
    """Build the backbone, or, where the rest of it is computed once, its last blocks."""
    name, num_blocks = str(params["backbone"]), int(params["num_trainable_blocks"])
    computes_once = _computes_once(params)
    if computes_once and not num_blocks:
        return []
    with factory.seeded():
        network = load_backbone(name, str(params["weights"]))
    open_last_blocks(network, name, num_blocks)
    if not computes_once:
        return [*_prepare(params), network]
    parts = cut_before_blocks(network, name, num_blocks)
    assert parts is not None
    assert parts[1] is not None
    return [parts[1]]


def _prepare(params: Params) -> Layers:
    """Bring images to what the backbone takes."""
    layers: Layers = [_to_three_channels]
    side = int(params["input_size"])
    if side:
        # Not a layer: Keras's takes it that it is trained unless told otherwise, and has all
        # layers after it do so too.
        layers.append(lambda x: keras.ops.image.resize(x, (side, side)))
    scaling = BACKBONES[str(params["backbone"])].scaling
    if scaling:
        layers.append(keras.layers.Rescaling(*scaling, name="rescaling"))
    return layers


def _to_three_channels(x: Any) -> Any:
    return x if x.shape[-1] == 3 else keras.layers.Concatenate(name="to_rgb")([x, x, x])


def _computes_once(params: Params) -> bool:
    """Whether the frozen part sees the same images in every epoch, and is worth keeping."""
    if params["weights"] == NONE:
        return False
    if Augmentation(params).is_active and not params["views"]:
        return False
    return _can_be_cut(str(params["backbone"]), int(params["num_trainable_blocks"]))


@cache
def _can_be_cut(name: str, num_blocks: int) -> bool:
    return cut_before_blocks(load_backbone(name, NONE), name, num_blocks) is not None


def _freeze(params: Params, image_shape: ImageShape) -> FrozenPart | None:
    if not _computes_once(params):
        return None
    name, weights = str(params["backbone"]), str(params["weights"])
    num_blocks, side = int(params["num_trainable_blocks"]), int(params["input_size"])

    def build() -> Any:
        parts = cut_before_blocks(load_backbone(name, weights), name, num_blocks)
        assert parts is not None
        inputs = x = keras.Input(image_shape, name="image")
        for layer in [*_prepare(params), parts[0]]:
            x = layer(x)
        return keras.Model(inputs, x, name="frozen")

    identity = (
        f"{name} {describe_weights(name, weights)} before the last {num_blocks} blocks, "
        f"images of {image_shape} at {side or 'their own size'}"
    )
    height, width = (side, side) if side else image_shape[:2]
    return FrozenPart(
        identity,
        build,
        int(params["views"]) or 1,
        lambda: find_cut_shape(name, num_blocks, height, width),
    )


def _explain_misfit(params: Params, image_shape: ImageShape) -> str | None:
    height, width, channels = image_shape
    side = int(params["input_size"])
    if not side and min(height, width) < MIN_SIDE:
        return (
            f"a pretrained network takes images of at least {MIN_SIDE}x{MIN_SIDE}, and these are "
            f"{height}x{width}: set params.input_size = 96, or more; or a larger size in [data]"
        )
    if 0 < side < MIN_SIDE:
        return f"input_size = {side}: expected at least {MIN_SIDE}, or 0 for the images' own size"
    if channels not in (1, 3):
        return f"a pretrained network takes 1 or 3 channels, not {channels}"
    return None


def _explain_start(before: Params, after: Params) -> str | None:
    for name in ("backbone", "weights", "hidden_units"):
        if before[name] != after[name]:
            return f"has {name} = {before[name]!r}, not {after[name]!r}"
    opened, open_now = int(before["num_trainable_blocks"]), int(after["num_trainable_blocks"])
    if opened > open_now:
        return (
            f"has trained its last {opened} blocks, of which only {open_now} would stay open; set "
            f"num_trainable_blocks = {opened}, or more"
        )
    return None


def _find_files(params: Params) -> tuple[Path, ...]:
    return find_weights(str(params["backbone"]), str(params["weights"]))


def _credit(params: Params) -> str:
    return credit_weights(str(params["backbone"]), str(params["weights"]))


def _rate_factors(params: Params) -> Mapping[str, float]:
    return {"backbone": float(params["backbone_rate"])} if params["num_trainable_blocks"] else {}


PRETRAINED = Family(
    name="pretrained",
    description="a new head on a network trained on ImageNet, frozen or fine-tuned",
    defaults={
        "backbone": "efficientnet-lite0",
        "weights": IMAGENET,
        "input_size": 0,
        "num_trainable_blocks": 0,
        "backbone_rate": 0.1,
        "views": 0,
        "hidden_units": 0,
        "solver": ADAM,
        "l2_strength": 0.0,
        "dropout_rate": 0.2,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
    },
    limits=SearchSpace(
        {
            "backbone": Choice(tuple(BACKBONES)),
            "weights": Text(),
            "input_size": Int(0, 1024),
            "num_trainable_blocks": Int(0, 100),
            "backbone_rate": Float(0.0, 1.0),
            "views": Int(0, 64),
            "hidden_units": Int(0, 65536),
            "solver": Choice((ADAM, LBFGS)),
            "l2_strength": Float(0.0, 1000.0),
            "dropout_rate": Float(0.0, 0.95),
            "weight_decay": Float(0.0, 10.0),
            "label_smoothing": Float(0.0, 0.9),
        }
    ),
    build=_build,
    # Its batch normalisation is Keras's own, which bfloat16 makes slower.
    convolutional=False,
    training_only=(
        "backbone_rate",
        "views",
        "solver",
        "l2_strength",
        "dropout_rate",
        "weight_decay",
        "label_smoothing",
    ),
    explain_misfit=_explain_misfit,
    rescaled=False,
    rate_factors=_rate_factors,
    find_files=_find_files,
    freeze=_freeze,
    frozen_by=("backbone", "weights", "input_size", "num_trainable_blocks", "views"),
    explain_start=_explain_start,
    credit=_credit,
)
