"""The run folder: what is written where, whole or not at all, by one process.

Layout (``NN`` counts the stages from 01):

    study.toml            the study as given
    provenance.json       versions, machine, data
    state.json            what goes on now
    placed.json           where trials run, while they run on a cluster
    trials.db             every trial, in Optuna's storage
    test-ledger.jsonl     every reading of the test split
    stages/NN-name/       result.json  history.csv  model.keras  predictions.parquet
                          files.json (the hash of every file of the stage)
                          (begun.json and checkpoint.npz until there is a result)
    superseded/           stages whose settings have changed since they were run, and
                          what was found damaged
    tensorboard/          event files of every fit
    model/                the bundle
    report/               figures and the page

Every file is written under a temporary name, flushed to disk and renamed, so
that a reader, or a run that goes on after a crash, finds it whole or not at all.
Evidence (all but tensorboard/, report/, trials.db and superseded/, which are made of it) has
a digest or stands in a manifest: damage is found when it is read.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from burnish.child_processes import refuse_to_begin_again
from burnish.errors import DamageError, RunBusyError, RunFolderError
from burnish.files import (
    make_folder,
    may_run,
    move_folder,
    read_json,
    read_sealed,
    remove_leftovers,
    strip_seal,
    write_json,
    write_sealed,
    write_whole,
)
from burnish.runfolder.ledger import append_line, explain_missing, read_lines
from burnish.runfolder.manifest import DRAWN, check_folder

if TYPE_CHECKING:
    from filelock import BaseFileLock

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


def _name_as_now(result: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's result by the names of today: ``_std`` was ``_deviation`` before."""
    return {re.sub("_deviation$", "_std", name): value for name, value in result.items()}


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
        self._held = False

    @property
    def model(self) -> Path:
        """Folder of the bundle."""
        return self.path / "model"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def data(self) -> Path:
        """Folder of what was found in the data; not there where nothing was."""
        return self.path / "data"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def study_file(self) -> Path:
        """The study, as given."""
        return self.path / "study.toml"

    @property
    def plan(self) -> Path:
        """For which minutes the study file was planned, and when their clock began."""
        return self.path / "plan.json"

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

        Whoever holds it may ask again. What a killed process had begun to write is removed
        first. A folder that was created, and in which nothing was written, is removed at the end,
        with those above it.

        Raises
        ------
        RunBusyError
            If another process holds it; the message names that process.
        RunFolderError
            If the folder cannot be created or written.
        """
        if self._held:
            yield
            return
        refuse_to_begin_again()
        held, created = self._acquire()
        self._held = True
        try:
            write_json(
                self._owner_file,
                {"pid": os.getpid(), "host": socket.gethostname(), "since": now()},
            )
            remove_leftovers(self.path)
            yield
        finally:
            self._held = False
            with suppress(OSError):
                self._owner_file.unlink(missing_ok=True)
            if created and [entry.name for entry in self.path.iterdir()] == [".lock"]:
                # While it is held: whoever has opened the file sees that it is gone.
                (self.path / ".lock").unlink()
                with suppress(OSError):  # Another run may have begun in those above.
                    for folder in created:
                        folder.rmdir()
            held.release()

    def _acquire(self) -> tuple[BaseFileLock, list[Path]]:
        """Take the lock, and return the folders that were created for it, the inner ones first."""
        import filelock

        try:
            refuse_name(self.path)
            above = [self.path, *self.path.parents]
            created = list(takewhile(lambda folder: not folder.exists(), above))
            make_folder(self.path)
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
                "Choose another with --out, or free the disk or fix the permission, "
                "then give the same command again."
            ) from error
        return held, created

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

    @property
    def _owner_file(self) -> Path:
        return self.path / ".owner.json"

    def _owner(self) -> str:
        """Name the process that holds the folder.

        Whoever has just taken it has not written its name yet, and that of one that was
        killed may stand there still: both are over in a moment.
        """
        for _ in range(20):
            try:
                owner = read_json(self._owner_file)
            except RunFolderError:
                owner = {}
            if owner and (owner["host"] != socket.gethostname() or may_run(int(owner["pid"]))):
                return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
            time.sleep(0.1)
        return "another process"

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

    def stage_folders(self) -> list[Path]:
        """Folders of stages, finished or not, in the order of the study.

        Raises
        ------
        RunFolderError
            If they cannot be listed; they would pass for stages that are still to come.
        """
        stages = self.path / "stages"
        try:
            found = sorted(stages.iterdir()) if stages.exists() else []
        except OSError as error:
            raise RunFolderError(f"{stages} cannot be read: {error.strerror or error}") from error
        return [folder for folder in found if re.fullmatch(r"[0-9]{2}-.*", folder.name)]

    def stages(self) -> list[StageRecord]:
        """The finished stages, in the order of the study."""
        return [
            StageRecord(folder, _name_as_now(read_json(folder / "result.json")))
            for folder in self.stage_folders()
            if (folder / "result.json").exists()
        ]

    def supersede(self, folder: Path) -> Path:
        """Move a stage's folder, whose settings have changed, out of the way."""
        target = self.make_room(folder.name)
        move_folder(folder, target)
        # What it gave can be written again from what is kept; here it would pass for current.
        shutil.rmtree(self.tensorboard / folder.name, ignore_errors=True)
        return target

    def make_room(self, name: str) -> Path:
        """Return a place under ``superseded/`` where nothing stands yet."""
        name = f"{name}-{time.strftime('%Y%m%dT%H%M%S')}"
        target = self.path / "superseded" / name
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{name}-{number}")
        make_folder(target.parent)
        return target

    def write_study(self, text: str) -> None:
        """Keep the study, with a last line by which damage is found; a comment in TOML."""
        given = strip_seal(text.encode()).rstrip(b"\n")
        write_sealed(self.study_file, given + b"\n")

    def read_study(self) -> str:
        """Return the text of the study.

        Raises
        ------
        DamageError
            If it is not what was written: damaged, edited, or of an older burnish.
        RunFolderError
            If it cannot be read.
        """
        return read_sealed(self.study_file).decode()

    def append_reading(self, reading: Mapping[str, Any]) -> None:
        """Append one reading of the test split to the ledger."""
        self.readings()  # Nothing is added to a ledger that cannot be relied on.
        append_line(self.ledger, reading)

    def count_readings(self) -> None:
        """Let ``state.json`` say how many readings there are, so that none can be lost unseen."""
        state = self.path / "state.json"
        write_json(state, {**read_json(state), "readings": len(self.readings())})

    def readings(self) -> list[dict[str, Any]]:
        """Every reading of the test split, oldest first.

        Raises
        ------
        DamageError
            If a line is damaged, or there are fewer than ``state.json`` counts.
        """
        found = read_lines(self.ledger)
        try:
            counted = int(read_json(self.path / "state.json").get("readings", 0))
        except RunFolderError:
            counted = 0  # There is none, or whoever needs it finds the damage.
        if len(found) < counted:
            raise DamageError(explain_missing(self.ledger, len(found), counted))
        return found

    def check_stages(self) -> None:
        """Read every file of the finished stages, and refuse the first that is damaged.

        Raises
        ------
        DamageError
            Names the file.
        """
        for record in self.stages():
            for finding in check_folder(record.folder, finished=True):
                if finding.problem != "unknown" and finding.path.name not in DRAWN:
                    raise DamageError(
                        f"{finding.detail}. 'burnish verify {self.path}' lists all that is "
                        "damaged; the same 'burnish run' again does it anew"
                    )


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Return the trials of a tuning stage as they stand, in the order of their numbers."""
    return [read_json(path) for path in sorted((folder / "trials").glob("*/trial.json"))]


def count_trials(trials: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count trials by their state."""
    states = ("complete", "pruned", "failed", "running")
    return {state: sum(trial["state"] == state for trial in trials) for state in states}


def refuse_name(path: Path) -> None:
    """Refuse a folder whose name is not text: TensorFlow and SQLite could not open files in it.

    Raises
    ------
    RunFolderError
        If the name is not UTF-8.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise RunFolderError(
            f"the name of the run folder {path.absolute()} is not text in UTF-8: choose another "
            "with --out"
        ) from error
    except FileNotFoundError as error:
        raise RunFolderError(
            f"the folder that {path} counts from, the working directory, is gone: change to "
            "another, or give a whole path with --out"
        ) from error


def now() -> str:
    """The time in UTC, as ISO 8601 with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
