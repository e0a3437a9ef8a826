"""A Keras model as an ONNX file, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from burnish.telemetry import switch_off

OPSET = 17
"""Version of ONNX's operators: onnxruntime has had it since 1.12, of 2022."""


def write_onnx(model: Any, target: Path, output: str) -> None:
    """Write a Keras model that takes images.

    Parameters
    ----------
    model
        Takes pixel values 0-255, shape (batch, height, width, channels); its input in the file is
        called ``image``.
    target
        The file to write.
    output
        What to call what it gives.
    """
    import tensorflow as tf

    switch_off("onnxruntime")  # tf2onnx may import it.
    import tf2onnx

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        return {output: model(image, training=False)}

    tf2onnx.convert.from_function(
        serve,
        signature,
        opset=OPSET,
        output_path=str(target),
        custom_op_handlers={"Erfc": (_write_erfc, [])},
    )


def _write_erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """Return 1 - erf(x) for erfc(x), which gelu takes and neither tf2onnx nor ONNX knows."""
    del args
    (taken,), (given,) = node.input, node.output
    kinds, shapes = [graph.get_dtype(given)], [graph.get_shape(given)]
    graph.remove_node(name)
    one = graph.make_const(f"{name}_one", np.float32(1))
    erf = graph.make_node("Erf", [taken], name=f"{name}_erf", dtypes=kinds, shapes=shapes)
    graph.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        outputs=[given],
        name=name,
        dtypes=kinds,
        shapes=shapes,
    )
