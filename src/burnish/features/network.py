"""The frozen part of a network on onnxruntime, which runs it twice as fast as TensorFlow.

Batch normalisation is folded into the convolutions before it, by onnxruntime itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.backend import collecting_often, keras, release_models
from burnish.child_processes import count_cores
from burnish.errors import DataError
from burnish.features.store import writing_to
from burnish.files import hash_code, written_whole
from burnish.models.family import FrozenPart
from burnish.models.onnx_file import write_onnx

_CODE = ("models",)
"""What builds a network, and writes it."""


class FrozenNetwork:
    """The frozen part, ready to run on all cores.

    Parameters
    ----------
    part
        What to run.
    folder
        Where its ONNX file is kept from one process to the next.
    """

    def __init__(self, part: FrozenPart, folder: Path) -> None:
        made_of = f"{hash_code(_CODE)} {part.identity} keras {keras.__version__}"
        name = hashlib.sha256(made_of.encode()).hexdigest()
        path = folder / f"{name[:32]}.onnx"
        session = _open(path)
        if session is None:
            _write(part, path)
            release_models()
            session = _open(path)
        if session is None:
            raise DataError(f"{path}: onnxruntime cannot run what was written there")
        self._session = session
        self._input = self._session.get_inputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what it makes of images.

        Parameters
        ----------
        images
            Pixel values 0-255, shape (num, height, width, channels).

        Returns
        -------
        Shape (num, height, width, channels); of vectors (num, 1, 1, length).
        """
        (given,) = self._session.run(None, {self._input: images})
        given = np.asarray(given)
        return given if given.ndim == 4 else given.reshape(len(given), 1, 1, -1)


def _open(path: Path) -> Any:
    """Return a session; ``None`` where there is no file, or it is damaged."""
    from burnish.onnx_runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_cores()
    # It would take half as much memory again, for the same images a second.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's errors have no common base.
        return None


def _write(part: FrozenPart, path: Path) -> None:
    with writing_to(path.parent), written_whole(path, ".onnx") as temporary, collecting_often():
        write_onnx(part.build(), temporary, "activations")


def describe_runtime() -> str:
    """Name the versions that what it gives depends on."""
    from burnish.onnx_runtime import onnxruntime

    return f"onnxruntime {onnxruntime.__version__} keras {keras.__version__}"
