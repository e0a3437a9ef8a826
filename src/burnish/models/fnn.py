"""Family ``fnn``: pairs of dense and dropout. Defaults are the published baseline."""

from __future__ import annotations

from burnish.models.family import Family, Layers
from burnish.models.layers import LayerFactory
from burnish.space import Choice, Float, Int, Params, SearchSpace


def _build(params: Params, factory: LayerFactory) -> Layers:
    layers: Layers = [factory.flatten()]
    for _ in range(int(params["num_hidden_layers"])):
        layers += [
            factory.dense(int(params["hidden_layer_size"]), l2=float(params["l2_strength"])),
            factory.activation(str(params["activation"])),
            factory.dropout(float(params["dropout_rate"])),
        ]
    return layers


def _explain_misfit(params: Params, image_shape: tuple[int, int, int]) -> None:
    """Every image can be flattened."""


FNN = Family(
    name="fnn",
    description="feed-forward network: pairs of a dense layer and dropout",
    defaults={
        "num_hidden_layers": 2,
        "hidden_layer_size": 64,
        "activation": "relu",
        "dropout_rate": 0.2,
        "l2_strength": 0.0,
    },
    limits=SearchSpace(
        {
            "num_hidden_layers": Int(0, 16),
            "hidden_layer_size": Int(1, 8192),
            "activation": Choice(("relu", "tanh", "gelu", "silu", "elu")),
            "dropout_rate": Float(0.0, 0.95),
            "l2_strength": Float(0.0, 1.0),
        }
    ),
    build=_build,
    convolutional=False,
    explain_misfit=_explain_misfit,
)
