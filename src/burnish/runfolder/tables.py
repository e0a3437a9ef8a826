"""Tables and arrays of a run folder: histories and trials as CSV, arrays as ``.npz``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import DamageError, RunFolderError
from burnish.files import read_sealed, write_sealed, write_whole

HISTORY_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
)


def write_history(path: Path, epochs: Sequence[Mapping[str, float]]) -> None:
    """Write the history of a fit as CSV, one row per epoch."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(epochs)
    write_whole(path, buffer.getvalue().encode())


def write_trials(path: Path, trials: Sequence[Mapping[str, Any]]) -> None:
    """Write the trials of a tuning stage as CSV, one row each, params in columns of their own."""
    columns = ("number", "bracket", "state", "loss", "std", "accuracy", "epochs", "seconds")
    names = list(trials[0]["params"]) if trials else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*columns, *names, "failure"])
    for trial in trials:
        params = [trial["params"][name] for name in names]
        writer.writerow([*(trial[column] for column in columns), *params, trial["failure"]])
    write_whole(path, buffer.getvalue().encode())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a history: one mapping per epoch, all values as numbers.

    Raises
    ------
    RunFolderError
        If the file is missing or is not a history.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [{k: float(v) for k, v in row.items()} for row in reader]
            missing = set(HISTORY_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"it has no columns {', '.join(sorted(missing))}")
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise RunFolderError(f"{path} cannot be read as a history: {error}") from error
    return rows


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as ``.npz``, compressed, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_sealed(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays; pickled content is refused.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged.
    """
    content = read_sealed(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # What is no archive of arrays fails in many ways.
        raise DamageError(f"{path} cannot be read: {error}") from error
