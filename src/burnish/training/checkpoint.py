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

from burnish.errors import DamageError, RunFolderError
from burnish.files import read_sealed, write_sealed
from burnish.training.pace import Decision
from burnish.training.request import Epoch

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a fit between two steps.

    Attributes
    ----------
    cycle_start
        Step at which the present learning-rate cycle began: 0, unless the fit goes on
        from a smaller budget.
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
    pace
        What was decided about the number of steps, if the fit has a deadline.
    """

    cycle_start: int
    step: int
    variables: Arrays
    best_weights: Arrays
    history: tuple[Epoch, ...]
    seconds: float
    pace: tuple[Decision, ...] = ()


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    meta = {
        "identity": identity,
        "cycle_start": checkpoint.cycle_start,
        "step": checkpoint.step,
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "seconds": checkpoint.seconds,
        "pace": checkpoint.pace,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        meta=np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8),
        **_number("variable", checkpoint.variables),
        **_number("best", checkpoint.best_weights),
    )
    write_sealed(path, buffer.getvalue())


def load_checkpoint(
    path: Path, identity: dict[str, Any], *, any_budget: bool = False
) -> Checkpoint | None:
    """Read a checkpoint; ``None`` where there is none, or it is of another fit.

    With ``any_budget``, a fit that differs in ``max_epochs`` alone counts as the same.

    Raises
    ------
    DamageError
        If the file is damaged.
    RunFolderError
        If it cannot be read.
    """
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(read_sealed(path)), allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            if _compare(meta["identity"], any_budget) != _compare(identity, any_budget):
                return None
            return Checkpoint(
                cycle_start=meta["cycle_start"],
                step=meta["step"],
                variables=_collect("variable", arrays),
                best_weights=_collect("best", arrays),
                history=tuple(Epoch(**epoch) for epoch in meta["history"]),
                seconds=meta["seconds"],
                pace=tuple(tuple(decision) for decision in meta.get("pace", ())),
            )
    except Exception as error:  # A damaged archive fails in many ways; all mean the same.
        if isinstance(error, RunFolderError) and not isinstance(error, DamageError):
            raise  # It may be as good as ever.
        raise DamageError(f"the checkpoint {path} is damaged ({error})") from error


def _compare(identity: dict[str, Any], any_budget: bool) -> Any:
    """Bring an identity into the form in which two are compared."""
    plain = json.loads(json.dumps(identity))
    if any_budget:
        del plain["settings"]["max_epochs"]
    return plain


def _number(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, Any]:
    return {f"{name}_{i}": array for i, array in enumerate(arrays)}


def _collect(name: str, arrays: Any) -> Arrays:
    count = sum(key.startswith(f"{name}_") for key in arrays.files)
    return tuple(arrays[f"{name}_{i}"] for i in range(count))
