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

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import DamageError, RunFolderError
from burnish.files import (
    make_folder,
    move_folder,
    read_json,
    read_sealed,
    strip_seal,
    write_json,
    write_sealed,
)
from burnish.runfolder.ledger import append_line, explain_missing, read_lines
from burnish.runfolder.lock import RunLock
from burnish.runfolder.manifest import DRAWN, check_folder
from burnish.runfolder.tables import read_history


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
        self._lock = RunLock(path)

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

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run folder for writing; see :meth:`burnish.runfolder.lock.RunLock.hold`."""
        return self._lock.hold()

    def is_locked(self) -> bool:
        """Whether some process is running in this folder."""
        return self._lock.is_held()

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
        """Return an unused path under ``superseded/``."""
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
