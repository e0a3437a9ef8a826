"""Family ``resnet``: a residual network, trained from nothing, for small images of any kind.

A stem, and stages, each of which halves height and width, doubles the channels, and then has
residual blocks (He et al. 2016a). What halves and doubles stands between the blocks, so that every
shortcut is the identity and no weights are spent on it. The mean of each channel over an image goes
to the classifier, whatever the image's size.
"""

from __future__ import annotations

from typing import Any

from burnish.models.family import Family, ImageShape, Layers
from burnish.models.layers import LayerFactory, apply_layers
from burnish.space import Choice, Float, Int, Params, SearchSpace

POOL, STRIDE = "pool", "stride"

STEM_SIDE = 48
"""Longest that the shorter side of an image may be for the stem to keep all its pixels."""

MAX_STEM_STRIDES = 8

MAX_WEIGHTS = 100_000_000
"""Of all convolutions: with Adam's state, 1.2 GB in float32."""


def _build(params: Params, factory: LayerFactory) -> Layers:
    width, pools = int(params["width"]), params["downsampling"] == POOL

    def conv(filters: int, size: int = 3, *, strides: int = 1, pools: bool = False) -> Layers:
        # What batch normalisation subtracts needs no bias before it.
        return [
            factory.conv(filters, size, strides=strides, use_bias=False),
            *([factory.max_pooling()] if pools else []),
            factory.batch_normalization(),
            factory.activation(str(params["activation"])),
        ]

    def stem(x: Any) -> Any:
        # The first layer that knows how large the images are.
        strides = _find_stem_strides(x.shape[1], x.shape[2])
        size = 3 if strides == 1 else 2 * strides + 1
        return apply_layers(conv(width, size, strides=strides), x)

    layers: Layers = [stem]
    for stage in range(int(params["num_stages"])):
        filters = _count_filters(params, stage)
        layers += conv(filters, pools=True) if pools else conv(filters, strides=2)
        for _ in range(int(params["num_blocks"])):
            layers += [factory.add([], [*conv(filters), *conv(filters)])]
    layers += [factory.global_average_pooling()]
    if params["dropout_rate"]:
        layers += [factory.dropout(float(params["dropout_rate"]))]
    return layers


def _find_stem_strides(height: int, width: int) -> int:
    """Return by how much the stem divides both sides: large images then cost little more."""
    strides = 1
    while min(height, width) > STEM_SIDE * strides and strides < MAX_STEM_STRIDES:
        strides *= 2
    return strides


def _count_filters(params: Params, stage: int) -> int:
    return int(params["width"]) << (stage + 1)


def _explain_misfit(params: Params, image_shape: ImageShape) -> str | None:
    """Too deep: nothing is left of the image. Too wide: too many weights."""
    height, width, _ = image_shape
    num_stages, num_blocks = int(params["num_stages"]), int(params["num_blocks"])
    strides = _find_stem_strides(height, width)
    # The stem and convolutions with strides round up, pooling rounds down and so runs out.
    most = (-(-min(height, width) // strides)).bit_length() - 1
    if params["downsampling"] == POOL and num_stages > most:
        return (
            f"num_stages = {num_stages} does not fit images of {height}x{width}: each stage halves "
            f'them, so at most {most} fit; or set downsampling = "{STRIDE}", which always fits'
        )
    filters = [_count_filters(params, stage) for stage in range(num_stages)]
    weights = sum(9 * n * (n // 2 + 2 * num_blocks * n) for n in filters)
    if weights > MAX_WEIGHTS:
        return (
            f"width = {params['width']} with num_stages = {num_stages} and num_blocks = "
            f"{num_blocks} makes {weights:,} weights, more than {MAX_WEIGHTS:,}: take less of one"
        )
    return None


RESNET = Family(
    name="resnet",
    description="residual network, trained from nothing, for small images of any kind",
    defaults={
        "width": 16,
        "num_stages": 3,
        "num_blocks": 1,
        "downsampling": STRIDE,
        "activation": "relu",
        "dropout_rate": 0.0,
    },
    limits=SearchSpace(
        {
            "width": Int(1, 512),
            "num_stages": Int(1, 6),
            "num_blocks": Int(0, 16),
            "downsampling": Choice((POOL, STRIDE)),
            "activation": Choice(("relu", "tanh", "gelu", "silu", "elu")),
            "dropout_rate": Float(0.0, 0.95),
        }
    ),
    build=_build,
    convolutional=True,
    explain_misfit=_explain_misfit,
)
