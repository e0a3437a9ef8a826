"""Family ``cnn``: pairs of convolution and subsampling, then one dense layer.

Defaults are the published baseline, which has neither batch normalisation nor
dropout; the tuned networks of the study switch both on.
"""

from __future__ import annotations

from burnish.models.family import Family, Layers
from burnish.models.layers import LayerFactory
from burnish.space import Choice, Float, Int, Params, SearchSpace

POOL, STRIDE = "2x2pool", "5x5stride2"

MAX_DENSE_WEIGHTS = 100_000_000
"""Of the dense layer: with Adam's state, 1.2 GB in float32."""


def _build(params: Params, factory: LayerFactory) -> Layers:
    normalise = bool(params["batch_normalization"])
    l2 = float(params["l2_strength"])

    def activated(layer: object) -> Layers:
        normalisation = [factory.batch_normalization()] if normalise else []
        return [layer, *normalisation, factory.activation(str(params["activation"]))]

    def conv(filters: int, size: int, strides: int = 1) -> Layers:
        # What batch normalisation subtracts needs no bias before it.
        return activated(
            factory.conv(filters, size, strides=strides, l2=l2, use_bias=not normalise)
        )

    layers: Layers = []
    for block in range(int(params["num_conv_layers"])):
        which = "num_filters_first_layer" if block == 0 else "num_filters_sub_layers"
        filters = int(params[which])
        layers += conv(filters, int(params["kernel_size"]))
        if params["subsample_type"] == STRIDE:
            layers += conv(filters, 5, strides=2)
        else:
            layers += [factory.max_pooling()]
    layers += [factory.flatten()]
    layers += activated(
        factory.dense(int(params["dense_layer_size"]), l2=l2, use_bias=not normalise)
    )
    if params["dropout_rate"]:
        layers += [factory.dropout(float(params["dropout_rate"]))]
    return layers


def _explain_misfit(params: Params, image_shape: tuple[int, int, int]) -> str | None:
    """Too deep: nothing is left of the image. Too shallow: too much for the dense layer."""
    height, width = image_shape[:2]
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2:
        sizes.append((_halve(sizes[-1][0], params), _halve(sizes[-1][1], params)))
    blocks, most = int(params["num_conv_layers"]), len(sizes) - 1
    if blocks > most:
        return (
            f"num_conv_layers = {blocks} does not fit images of {height}x{width}: "
            f"each layer halves them, so at most {most} fit"
        )
    which = "num_filters_first_layer" if blocks == 1 else "num_filters_sub_layers"
    filters, units = int(params[which]), int(params["dense_layer_size"])
    weights = sizes[blocks][0] * sizes[blocks][1] * filters * units
    if weights > MAX_DENSE_WEIGHTS:
        return (
            f"num_conv_layers = {blocks} does not fit images of {height}x{width}: it leaves "
            f"{sizes[blocks][0]}x{sizes[blocks][1]}x{filters} values, of which dense_layer_size = "
            f"{units} makes {weights:,} weights, more than {MAX_DENSE_WEIGHTS:,}; "
            f"take more layers (up to {most}), or fewer filters or units"
        )
    return None


def _halve(side: int, params: Params) -> int:
    """Pooling rounds down and so runs out; a convolution rounds up."""
    return side // 2 if params["subsample_type"] == POOL else (side + 1) // 2


CNN = Family(
    name="cnn",
    description="convolutional network: pairs of convolution and subsampling, one dense layer",
    defaults={
        "num_conv_layers": 2,
        "num_filters_first_layer": 32,
        "num_filters_sub_layers": 64,
        "kernel_size": 3,
        "subsample_type": POOL,
        "dense_layer_size": 64,
        "activation": "relu",
        "batch_normalization": False,
        "dropout_rate": 0.0,
        "l2_strength": 0.0,
    },
    limits=SearchSpace(
        {
            "num_conv_layers": Int(1, 8),
            "num_filters_first_layer": Int(1, 1024),
            "num_filters_sub_layers": Int(1, 1024),
            "kernel_size": Int(1, 15, step=2),
            "subsample_type": Choice((POOL, STRIDE)),
            "dense_layer_size": Int(1, 8192),
            "activation": Choice(("relu", "tanh", "gelu", "silu", "elu")),
            "batch_normalization": Choice((False, True)),
            "dropout_rate": Float(0.0, 0.95),
            "l2_strength": Float(0.0, 1.0),
        }
    ),
    build=_build,
    convolutional=True,
    explain_misfit=_explain_misfit,
)
