"""How checkpoints reach a node and come back: through Ray, or in a folder that all nodes have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from burnish.files import write_whole
from burnish.tuning.executor import FitTask
from burnish.tuning.ray.node import Place, Sent, name_attempts_file

Checkpoints = Literal["object-store", "shared"]


def send_checkpoints(
    task: FitTask, data: Any, put: Callable[[bytes], Any], starts: dict[str, Any]
) -> Sent:
    """Put a task's checkpoints into the object store, if they are there, and what it starts from.

    Parameters
    ----------
    task
        Whose they are.
    data
        Reference to the data set.
    put
        Puts bytes into the store.
    starts
        References to models that were put there before, by their fingerprints; a new one is added.
    """

    def put_file(path: Path | None) -> Any:
        return put(path.read_bytes()) if path is not None and path.exists() else None

    if task.probe:
        return Sent(data)
    request, start = task.request, task.request.start
    if start is not None and start.fingerprint not in starts:
        starts[start.fingerprint] = put_file(start.model)
    return Sent(
        data,
        put_file(request.checkpoint),
        put_file(request.resume_from),
        None if start is None else starts[start.fingerprint],
    )


def keep_checkpoint(task: FitTask, content: bytes) -> None:
    """Write the checkpoint that a fit sent back where it was asked for."""
    checkpoint = task.request.checkpoint
    assert checkpoint is not None
    write_whole(checkpoint, content)


def adopt_shared_file(task: FitTask, token: str) -> bool | None:
    """Rename an attempt's file in a shared folder to what its task asked for.

    Returns
    -------
    Whether it was there; ``None`` where there is to be none.
    """
    checkpoint = task.request.checkpoint
    if task.probe or checkpoint is None:
        return None
    own = name_attempts_file(checkpoint, token)
    if not own.exists():
        return False
    own.replace(checkpoint)
    return True


def explain_unseen(place: Place) -> str:
    """Say that a node's checkpoints do not lie in a folder of this machine, and what to do."""
    return (
        f"a checkpoint that {place.describe()} wrote is not to be seen on this machine: "
        "with --checkpoints shared the run folder must be one folder on all machines. "
        "Mount it, or leave the option out: then checkpoints travel through Ray."
    )


def find_probe(task: FitTask) -> str | None:
    """A file beside a task's checkpoint that nodes must see."""
    checkpoint = task.request.checkpoint
    if checkpoint is None:
        return None
    return next((str(path) for path in sorted(checkpoint.parent.glob("*.json"))), None)
