"""Checkpoints: all that a fit needs to go on exactly where it was."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import RunFolderError
from burnish.files import write_whole
from burnish.training.request import Epoch

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a fit between two steps.

    Attributes
    ----------
    step
        Steps done. Which images come next, how they are transformed and the
        learning rate follow from it and the fit's seed.
    variables
        Every variable of the training model (weights, moving statistics, the
        counters of the random generators) and of the optimizer.
    best_weights
        Weights of the best epoch so far.
    history
        Epochs so far; early stopping follows from it.
    seconds
        Time spent so far.
    """

    step: int
    variables: Arrays
    best_weights: Arrays
    history: tuple[Epoch, ...]
    seconds: float


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    meta = {
        "identity": identity,
        "step": checkpoint.step,
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "seconds": checkpoint.seconds,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        meta=np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8),
        **_number("variable", checkpoint.variables),
        **_number("best", checkpoint.best_weights),
    )
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """Read a checkpoint; ``None`` where there is none, or it is of another fit.

    Raises
    ------
    RunFolderError
        If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            if meta["identity"] != json.loads(json.dumps(identity)):
                return None
            return Checkpoint(
                step=meta["step"],
                variables=_collect("variable", arrays),
                best_weights=_collect("best", arrays),
                history=tuple(Epoch(**epoch) for epoch in meta["history"]),
                seconds=meta["seconds"],
            )
    except Exception as error:  # A damaged archive fails in many ways; all mean the same.
        raise RunFolderError(
            f"the checkpoint {path} is damaged ({error}). Delete it: its fit starts afresh."
        ) from error


def _number(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, Any]:
    return {f"{name}_{i}": array for i, array in enumerate(arrays)}


def _collect(name: str, arrays: Any) -> Arrays:
    count = sum(key.startswith(f"{name}_") for key in arrays.files)
    return tuple(arrays[f"{name}_{i}"] for i in range(count))
