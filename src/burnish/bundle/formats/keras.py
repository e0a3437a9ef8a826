"""Export format ``keras``: the file of Keras itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from burnish.bundle.formats.format import NetworkFormat, Probabilities
from burnish.data import Split


def _write_keras(source: Path, model: Any, target: Path) -> None:
    del model  # The file is what was tested; it is not written again.
    shutil.copyfile(source, target)


def _predict_keras(path: Path, split: Split) -> Probabilities:
    from burnish.models.saved import load_saved
    from burnish.training.engine import make_predictor

    return make_predictor(load_saved(path), split).predict()


KERAS = NetworkFormat(
    name="keras",
    ending=".keras",
    packages=("keras", "tensorflow"),
    write=_write_keras,
    predict=_predict_keras,
)
