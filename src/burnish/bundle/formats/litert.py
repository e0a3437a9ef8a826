"""Export format ``litert``: TensorFlow Lite's successor, in built-in operators alone."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.bundle.formats.format import (
    Images,
    NetworkFormat,
    Probabilities,
    split_into_batches,
    write_labels,
)
from burnish.data import Split

LABELS = "labels.txt"
"""The file within a LiteRT file: a name a line, as its tools expect it."""


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
    for batch in split_into_batches(split):
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


LITERT = NetworkFormat(
    name="litert",
    ending=".tflite",
    packages=("keras", "tensorflow", "ai-edge-litert"),
    write=_write_litert,
    predict=_predict_litert,
    quantize=_quantize_litert,
    add_class_names=_add_names_to_litert,
)
