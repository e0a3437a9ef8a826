"""The formats that a model is exported to: how each is written, and run in its own runtime."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.data import Split
from burnish.errors import ExportError, name_what_exists
from burnish.models.saved import load_saved
from burnish.telemetry import switch_off
from burnish.training.engine import PREDICTION_PIXELS, make_predictor

BATCH = 200
"""Images predicted at once; the last batch of a split has fewer, which tries dynamic sizes."""

OPSET = 17
"""Version of ONNX's operators: onnxruntime has had it since 1.12, of 2022."""

Images: TypeAlias = NDArray[np.uint8]
Probabilities: TypeAlias = NDArray[np.float32]


CLASS_NAMES = "class_names"
"""The entry of an ONNX file's metadata: the names as a JSON list."""

LABELS = "labels.txt"
"""The file within a LiteRT file: a name a line, as its tools expect it."""


def _add_nothing(path: Path, class_names: Sequence[str]) -> None:
    """Leave a format as it is that has no place for names; they stand beside it."""


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes
    ----------
    name
        As the command line has it.
    suffix
        Of the file; a format without one is a folder.
    packages
        Whose versions the certificate names.
    write
        Takes the saved Keras model's file, the model, and the file to write.
    predict
        Takes the written file and a split, and gives probabilities
        (num_images, num_classes) by the format's own runtime.
    quantize
        Writes it in int8: takes the model, the file to write, and images to calibrate with.
    add_class_names
        Puts the names of the classes, in the order of the probabilities, into the written file.
    """

    name: str
    suffix: str
    packages: tuple[str, ...]
    write: Callable[[Path, Any, Path], None]
    predict: Callable[[Path, Split], Probabilities]
    quantize: Callable[[Any, Path, Images], None] | None = None
    add_class_names: Callable[[Path, Sequence[str]], None] = _add_nothing

    def versions(self) -> dict[str, str]:
        """Versions of what wrote it and of what ran it."""
        return {package: version(package) for package in self.packages}


def find_format(name: str) -> ExportFormat:
    """Return the format of a name.

    Raises
    ------
    ExportError
        If there is none; the message names those that exist.
    """
    if name not in FORMATS:
        raise ExportError(name_what_exists("format", name, FORMATS))
    return FORMATS[name]


def write_labels(class_names: Sequence[str]) -> str:
    """Return the names of classes as a file of labels: one a line, in the order of the outputs."""
    return "".join(f"{name}\n" for name in class_names)


def _batches(split: Split) -> Iterator[NDArray[np.float32]]:
    height, width, _ = split.image_shape
    size = max(1, min(BATCH, PREDICTION_PIXELS // (height * width)))
    for first in range(0, len(split), size):
        yield split.read(slice(first, first + size)).astype(np.float32)


# Keras


def _write_keras(source: Path, model: Any, target: Path) -> None:
    del model  # The file is what was tested; it is not written again.
    shutil.copyfile(source, target)


def _predict_keras(path: Path, split: Split) -> Probabilities:
    return make_predictor(load_saved(path), split).predict()


# ONNX


def _write_onnx(source: Path, model: Any, target: Path) -> None:
    del source
    import tensorflow as tf

    switch_off("onnxruntime")  # tf2onnx may import it.
    import tf2onnx

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        return {"probabilities": model(image, training=False)}

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
    return np.concatenate([session.run(None, {"image": b})[0] for b in _batches(split)])


def _quantize_onnx(model: Any, target: Path, images: Images) -> None:
    import onnx

    from burnish.onnx_runtime import import_quantization

    quantization = import_quantization()

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self._batches = _batches(Split(images, np.zeros(len(images), np.int32)))

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


# LiteRT


def _write_litert(source: Path, model: Any, target: Path) -> None:
    del source
    import tensorflow as tf

    # Built-in operators alone: the runtime needs no part of TensorFlow then.
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(target, format="litert", verbose=False, target_spec=builtin)


def _add_names_to_litert(path: Path, class_names: Sequence[str]) -> None:
    """Append a zip file with the names, which LiteRT's format calls associated files."""
    member = zipfile.ZipInfo(LABELS, date_time=(1980, 1, 1, 0, 0, 0))  # The same bytes each time.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, write_labels(class_names))


def _predict_litert(path: Path, split: Split) -> Probabilities:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    parts = []
    size = None
    for batch in _batches(split):
        if len(batch) != size:
            size = len(batch)
            interpreter.resize_tensor_input(taken["index"], batch.shape, strict=True)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], batch)
        interpreter.invoke()
        parts.append(interpreter.get_tensor(given["index"]))
    return np.concatenate(parts)


def _quantize_litert(model: Any, target: Path, images: Images) -> None:
    import tensorflow as tf

    def examples() -> Iterator[list[NDArray[np.float32]]]:
        for image in images:
            yield [image[None].astype(np.float32)]

    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(
        target,
        format="litert",
        verbose=False,
        target_spec=builtin,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=examples,
    )


# SavedModel


def _write_savedmodel(source: Path, model: Any, target: Path) -> None:
    del source
    model.export(target, format="tf_saved_model", verbose=False)


def _predict_savedmodel(path: Path, split: Split) -> Probabilities:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # It owns the variables, and must be kept.
    batches = map(tf.constant, _batches(split))
    return np.concatenate([loaded.serve(batch).numpy() for batch in batches])


FORMATS: dict[str, ExportFormat] = {
    found.name: found
    for found in (
        ExportFormat("keras", ".keras", ("keras", "tensorflow"), _write_keras, _predict_keras),
        ExportFormat(
            "onnx",
            ".onnx",
            ("keras", "tensorflow", "tf2onnx", "onnxruntime"),
            _write_onnx,
            _predict_onnx,
            _quantize_onnx,
            _add_names_to_onnx,
        ),
        ExportFormat(
            "litert",
            ".tflite",
            ("keras", "tensorflow", "ai-edge-litert"),
            _write_litert,
            _predict_litert,
            _quantize_litert,
            _add_names_to_litert,
        ),
        ExportFormat(
            "savedmodel", "", ("keras", "tensorflow"), _write_savedmodel, _predict_savedmodel
        ),
    )
}
