"""Family ``cnn``: pairs of convolution and subsampling, then one dense layer.

Defaults are the published baseline, which has neither batch normalisation nor
dropout; the tuned networks of the study switch both on.
"""

from __future__ import annotations

from burnish.models.family import Family, Layers
from burnish.models.layers import Kit
from burnish.space import Choice, Float, Int, Params, SearchSpace

POOL, STRIDE = "2x2pool", "5x5stride2"


def _build(params: Params, kit: Kit) -> Layers:
    normalise = bool(params["batch_normalization"])
    l2 = float(params["l2_strength"])

    def activated(layer: object) -> Layers:
        normalisation = [kit.batch_normalization()] if normalise else []
        return [layer, *normalisation, kit.activation(str(params["activation"]))]

    def conv(filters: int, size: int, strides: int = 1) -> Layers:
        # What batch normalisation subtracts needs no bias before it.
        return activated(kit.conv(filters, size, strides=strides, l2=l2, use_bias=not normalise))

    layers: Layers = []
    for block in range(int(params["num_conv_layers"])):
        which = "num_filters_first_layer" if block == 0 else "num_filters_sub_layers"
        filters = int(params[which])
        layers += conv(filters, int(params["kernel_size"]))
        if params["subsample_type"] == STRIDE:
            layers += conv(filters, 5, strides=2)
        else:
            layers += [kit.max_pooling()]
    layers += [kit.flatten()]
    layers += activated(kit.dense(int(params["dense_layer_size"]), l2=l2, use_bias=not normalise))
    if params["dropout_rate"]:
        layers += [kit.dropout(float(params["dropout_rate"]))]
    return layers


def _explain_misfit(params: Params, image_shape: tuple[int, int, int]) -> str | None:
    """Each subsampling halves the image; pooling rounds down and so runs out."""
    side = min(image_shape[:2])
    blocks = int(params["num_conv_layers"])
    most = 0
    while side >= 2:
        side = side // 2 if params["subsample_type"] == POOL else (side + 1) // 2
        most += 1
    if blocks <= most:
        return None
    height, width = image_shape[:2]
    return (
        f"num_conv_layers = {blocks} does not fit images of {height}x{width}: "
        f"each layer halves them, so at most {most} fit"
    )


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
