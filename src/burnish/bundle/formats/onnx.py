"""Export format ``onnx``: what a bundle is served from, and most runtimes read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.backend import collecting_often
from burnish.bundle.formats.format import (
    Images,
    NetworkFormat,
    Probabilities,
    split_into_batches,
)
from burnish.data import Split
from burnish.models.onnx_file import write_onnx

CLASS_NAMES = "class_names"
"""The entry of an ONNX file's metadata: the names as a JSON list."""


def _write_onnx(source: Path, model: Any, target: Path) -> None:
    del source
    with collecting_often():
        write_onnx(model, target, "probabilities")


def _add_names_to_onnx(path: Path, class_names: Sequence[str]) -> None:
    import onnx

    network = onnx.load(path)
    onnx.helper.set_model_props(
        network, {CLASS_NAMES: json.dumps(list(class_names), ensure_ascii=False)}
    )
    onnx.save(network, path)


def _predict_onnx(path: Path, split: Split) -> Probabilities:
    from burnish.onnx_runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"image": b})[0] for b in split_into_batches(split)])


def _quantize_onnx(model: Any, target: Path, images: Images) -> None:
    import onnx

    from burnish.onnx_runtime import import_quantization

    quantization = import_quantization()

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self._batches = split_into_batches(Split(images, np.zeros(len(images), np.int32)))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch}

    exact = target.with_name("float32.onnx")
    _write_onnx(exact, model, exact)
    # Batch normalisation goes into the convolution before it, or would stay in float32.
    quantization.shape_inference.quant_pre_process(str(exact), str(exact), skip_symbolic_shape=True)
    nodes = onnx.load(exact).graph.node
    quantization.quantize_static(
        exact,
        target,
        Reader(),
        # What onnxruntime recommends for processors of PCs, with a scale for each filter;
        # probabilities would have 256 steps. Weights take 7 bits: sums of two products of 8
        # bits overflow 16, silently, on processors without AVX512-VNNI (docs/log.md).
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        nodes_to_exclude=[node.name for node in nodes if node.op_type == "Softmax"],
    )
    exact.unlink()


ONNX = NetworkFormat(
    name="onnx",
    ending=".onnx",
    packages=("keras", "tensorflow", "tf2onnx", "onnxruntime"),
    write=_write_onnx,
    predict=_predict_onnx,
    quantize=_quantize_onnx,
    add_class_names=_add_names_to_onnx,
)
