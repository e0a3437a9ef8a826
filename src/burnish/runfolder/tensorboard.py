"""Histories of fits as TensorBoard's event files: ``tensorboard --logdir RUN`` shows them.

    tensorboard/02-fnn-tuned/fit/               the stage's own model, or its refit
    tensorboard/02-fnn-tuned/seed-2/            its runs, where it has several seeds
    tensorboard/02-fnn-tuned/trial-0007/round-1/

They are written from the histories when a stage has ended, never while a fit runs, and
nothing reads them back. A record is an ``Event`` of TensorFlow's own format, which needs no
TensorBoard to be installed.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from burnish.errors import RunFolderError
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_history

FILE = "events.out.tfevents.burnish"
"""TensorBoard knows such a file by the middle of its name."""

_TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
}


def write_events(run: RunFolder, stage_dir: Path) -> None:
    """Write the event files of all fits of a stage that has ended.

    Parameters
    ----------
    run
        The run folder.
    stage_dir
        Folder of the stage.

    Raises
    ------
    RunFolderError
        If they cannot be written.
    """
    import tensorflow as tf

    target = run.tensorboard / stage_dir.name
    try:
        shutil.rmtree(target, ignore_errors=True)
        for name, history in _find_histories(stage_dir):
            _write_file(target / name, read_history(history), history.stat().st_mtime)
        if target.is_dir():
            write_manifest(target)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(target, ignore_errors=True)  # All of a stage, or nothing of it.
        reason = error.strerror if isinstance(error, OSError) else error.message
        raise RunFolderError(f"cannot write {target}: {reason}") from error


def _find_histories(stage_dir: Path) -> Iterator[tuple[str, Path]]:
    own = stage_dir / "history.csv"
    if own.exists():
        yield "fit", own
    for path in sorted((stage_dir / "seeds").glob("*/history.csv")):
        yield f"seed-{path.parent.name}", path
    for path in sorted((stage_dir / "trials").glob("*/round-*.csv")):
        yield f"trial-{path.parent.name}/{path.stem}", path


def _write_file(folder: Path, history: Sequence[Mapping[str, float]], ended: float) -> None:
    """Write one fit; its steps are epochs, a part of one counting as the whole."""
    import tensorflow as tf

    v1 = tf.compat.v1
    folder.mkdir(parents=True, exist_ok=True)
    began = ended - math.fsum(row["seconds"] for row in history)
    path = folder / FILE
    # TensorBoard may be looking: it finds the whole file or none.
    temporary = folder / f".writing.{os.getpid()}.tmp"
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        writer.write(v1.Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        now = began
        for row in history:
            now += row["seconds"]
            values = [v1.Summary.Value(tag=t, simple_value=row[n]) for n, t in _TAGS.items()]
            event = v1.Event(
                wall_time=now, step=math.ceil(row["epoch"]), summary=v1.Summary(value=values)
            )
            writer.write(event.SerializeToString())
    temporary.replace(path)
