"""Export format ``savedmodel``: TensorFlow's own, a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from burnish.bundle.formats.format import NetworkFormat, Probabilities, split_into_batches
from burnish.data import Split


def _write_savedmodel(source: Path, model: Any, target: Path) -> None:
    del source
    model.export(target, format="tf_saved_model", verbose=False)


def _predict_savedmodel(path: Path, split: Split) -> Probabilities:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # It owns the variables, and must be kept.
    batches = map(tf.constant, split_into_batches(split))
    return np.concatenate([loaded.serve(batch).numpy() for batch in batches])


SAVED_MODEL = NetworkFormat(
    name="savedmodel",
    ending="-savedmodel",
    is_folder=True,
    packages=("keras", "tensorflow"),
    write=_write_savedmodel,
    predict=_predict_savedmodel,
)
