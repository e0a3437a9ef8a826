"""The run folder: what is written where, whole or not at all, by one process.

Layout (``NN`` counts the stages from 01):

    study.toml            the study as given
    provenance.json       versions, machine, data
    state.json            what goes on now
    placed.json           where trials run, while they run on a cluster
    trials.db             every trial, in Optuna's storage
    test-ledger.jsonl     every reading of the test split
    stages/NN-name/       result.json  history.csv  model.keras  predictions.parquet
                          (begun.json and checkpoint.npz until there is a result)
    superseded/           stages whose settings have changed since they were run
    tensorboard/          event files of every fit
    model/                the bundle
    report/               figures and the page

Every file is written under a temporary name, flushed to disk and renamed, so
that a reader, or a run that goes on after a crash, finds it whole or not at all.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import RunBusyError, RunFolderError
from burnish.files import read_json, write_json, write_whole

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
    columns = ("number", "bracket", "state", "loss", "deviation", "accuracy", "epochs", "seconds")
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
    write_whole(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays; pickled content is refused.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # A damaged archive fails in many ways; all mean the same.
        raise RunFolderError(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True)
class StageRecord:
    """One finished stage as it stands in a run folder: its result and its folder."""

    folder: Path
    result: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the stage."""
        return str(self.result["name"])

    @property
    def kind(self) -> str:
        """``train``, ``tune`` or ``final``."""
        return str(self.result["kind"])

    def history(self) -> list[dict[str, float]]:
        """Per-epoch history of the stage's fit; empty for a final stage."""
        path = self.folder / "history.csv"
        return read_history(path) if path.exists() else []


class RunFolder:
    """One execution of one study on disk.

    Reading needs no lock; writing happens inside :meth:`lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def model(self) -> Path:
        """Folder of the bundle."""
        return self.path / "model"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def study_file(self) -> Path:
        """The study, as given."""
        return self.path / "study.toml"

    @property
    def trials(self) -> Path:
        """Optuna's database of all trials."""
        return self.path / "trials.db"

    @property
    def placed(self) -> Path:
        """Where the trials that run on a cluster are; not there otherwise."""
        return self.path / "placed.json"

    @property
    def ledger(self) -> Path:
        """One line for every reading of the test split."""
        return self.path / "test-ledger.jsonl"

    def stage(self, number: int, name: str) -> Path:
        """Folder of a stage; stages are numbered from 1."""
        return self.path / "stages" / f"{number:02d}-{name}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder for writing; it is created if need be.

        Raises
        ------
        RunBusyError
            If another process holds it; the message names that process.
        RunFolderError
            If the folder cannot be created or written.
        """
        import filelock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = filelock.FileLock(self.path / ".lock")
            # Whoever asks for its state (status, watch) tries the lock for an instant.
            held.acquire(timeout=0.5)
        except filelock.Timeout as error:
            raise RunBusyError(
                f"{self.path} is in use by {self._owner()}. Wait for it, stop it, "
                "or run in another folder with --out."
            ) from error
        except OSError as error:
            raise RunFolderError(
                f"the run folder {self.path} cannot be written: {error.strerror or error}. "
                "Choose another with --out, or mend its permissions."
            ) from error
        try:
            write_json(
                self.path / ".owner.json",
                {"pid": os.getpid(), "host": socket.gethostname(), "since": now()},
            )
            yield
        finally:
            (self.path / ".owner.json").unlink(missing_ok=True)
            held.release()

    def is_locked(self) -> bool:
        """Whether some process is running in this folder."""
        import filelock

        if not (self.path / ".lock").exists():
            return False
        probe = filelock.FileLock(self.path / ".lock")
        try:
            probe.acquire(timeout=0)
        except filelock.Timeout:
            return True
        except OSError:  # A folder that is not ours to write is not ours to lock.
            return False
        probe.release()
        return False

    def _owner(self) -> str:
        try:
            owner = read_json(self.path / ".owner.json")
        except RunFolderError:
            return "another process"
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"

    def check(self) -> None:
        """Refuse a folder that is no run folder.

        Raises
        ------
        RunFolderError
            If the folder or its study file is missing.
        """
        if not self.path.is_dir():
            raise RunFolderError(
                f"there is no run folder {self.path}. 'burnish run STUDY' makes one "
                "(by default runs/<study>)."
            )
        if not self.study_file.exists():
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no study.toml. "
                "Give the folder that 'burnish run' named."
            )

    def stages(self) -> list[StageRecord]:
        """The finished stages, in the order of the study."""
        folders = sorted((self.path / "stages").glob("[0-9][0-9]-*"))
        return [
            StageRecord(folder, read_json(folder / "result.json"))
            for folder in folders
            if (folder / "result.json").exists()
        ]

    def supersede(self, folder: Path) -> Path:
        """Move a stage's folder, whose settings have changed, out of the way."""
        name = f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}"
        target = self.path / "superseded" / name
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{name}-{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(target)
        # What it gave can be written again from what is kept; here it would pass for current.
        shutil.rmtree(self.tensorboard / folder.name, ignore_errors=True)
        return target

    def append_reading(self, reading: Mapping[str, Any]) -> None:
        """Append one reading of the test split to the ledger."""
        line = json.dumps(reading, ensure_ascii=False, allow_nan=False) + "\n"
        before = self.ledger.read_bytes() if self.ledger.exists() else b""
        write_whole(self.ledger, before + line.encode())

    def readings(self) -> list[dict[str, Any]]:
        """Every reading of the test split, oldest first."""
        if not self.ledger.exists():
            return []
        try:
            return [json.loads(line) for line in self.ledger.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.ledger} cannot be read: {error}") from error


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Give the trials of a tuning stage as they stand, in the order of their numbers."""
    return [read_json(path) for path in sorted((folder / "trials").glob("*/trial.json"))]


def count_trials(trials: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count trials by their state."""
    states = ("complete", "pruned", "failed", "running")
    return {state: sum(trial["state"] == state for trial in trials) for state in states}


def now() -> str:
    """The time in UTC, as ISO 8601 with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
