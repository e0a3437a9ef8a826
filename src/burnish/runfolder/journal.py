"""A tuning stage on disk: every result as soon as it is there, and how it goes on from them.

trials/0007/trial.json        the trial as it stands
trials/0007/round-2.json      what its second round gave
trials/0007/round-2.csv       the fit's history (round-2-fold-1.csv with folds)
trials/0007/*.npz             checkpoints, while the trial may still need them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import hash_file, read_json, write_json, write_whole
from burnish.runfolder.earlier_trials import EarlierTrials
from burnish.runfolder.tables import write_history
from burnish.training import FitResult
from burnish.tuning.trial import RungResult, Trial
from burnish.tuning.trials_db import TrialsDatabase

TAKEN_FROM = "taken_from"
"""Entry of a round that an earlier search has done: the folder of that."""


class DiskJournal:
    """Keeps a tuning stage's results in its folder, and in the run's ``trials.db``.

    Parameters
    ----------
    folder
        Folder of the stage.
    database
        The same trials, for Optuna's tools.
    num_folds
        Fits of a round.
    earlier
        Trials of earlier searches of the stage: a round that one of them has done is taken over.
    on_note
        Told, once, from how many trials the search goes on.
    """

    def __init__(
        self,
        folder: Path,
        database: TrialsDatabase,
        num_folds: int,
        earlier: EarlierTrials | None = None,
        on_note: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._folder = folder
        self._database = database
        self._num_folds = num_folds
        self._earlier = earlier
        self._on_note = on_note
        self._not_earlier: set[tuple[int, int]] = set()
        self._num_taken = 0
        self._is_told = False

    def find(self, trial: Trial, rung: int) -> RungResult | None:
        """Return the recorded result of a trial's round, if there is one.

        Raises
        ------
        RunFolderError
            If the record is damaged, or of other params: the stage was then not
            proposed as it is now.
        """
        path = self._round(trial, rung, ".json")
        if not path.exists() and not self._take_over(trial, rung):
            return None
        record = read_json(path)
        record.pop("files", None)
        record.pop(TAKEN_FROM, None)
        if record.pop("params", None) != trial.params:
            raise RunFolderError(
                f"{path} was recorded for other params than are proposed now. "
                f"Move {self._folder} away: its stage starts afresh."
            )
        return RungResult(**record)

    def record(
        self, trial: Trial, rung: int, result: RungResult, fits: Sequence[FitResult | None]
    ) -> None:
        """Record a round's result, and the histories of its fits."""
        hashes = {}
        for fold, fitted in enumerate(fits):
            if fitted is not None:
                suffix = f"-fold-{fold + 1}.csv" if self._num_folds > 1 else ".csv"
                history = [asdict(epoch) for epoch in fitted.history]
                path = self._round(trial, rung, suffix)
                write_history(path, history)
                hashes[path.name] = hash_file(path)
        # The result comes last: with it the round counts as done.
        write_json(
            self._round(trial, rung, ".json"),
            {"params": trial.params, **asdict(result), "files": hashes},
        )

    def describe_taken_over(self) -> dict[str, Any] | None:
        """Return how many ``trials`` and ``rounds`` were taken over, and ``from`` which folders.

        ``None`` where the search has done all that it needed.
        """
        records = {path: read_json(path) for path in self._folder.glob("trials/*/round-*.json")}
        taken = {path: str(r[TAKEN_FROM]) for path, r in records.items() if TAKEN_FROM in r}
        if not taken:
            return None
        return {
            "trials": len({path.parent for path in taken}),
            "rounds": len(taken),
            "from": sorted(set(taken.values())),
        }

    def report_taken_over(self) -> None:
        """Say from how many trials the search goes on, if it took over any; once."""
        if self._is_told or not self._num_taken:
            return
        taken = self.describe_taken_over()
        if taken is not None:
            self._is_told = True
            trials = f"{taken['trials']} recorded trial{'s' if taken['trials'] > 1 else ''}"
            self._on_note(f"goes on from {trials} of {', '.join(taken['from'])}")

    def _take_over(self, trial: Trial, rung: int) -> bool:
        """Take a round over from an earlier search, if one has done it; say whether."""
        if self._earlier is None or (trial.number, rung) in self._not_earlier:
            return False
        found = self._earlier.find(trial, rung)
        if found is None:
            self._not_earlier.add((trial.number, rung))
            self.report_taken_over()
            return False
        folder, record, source = found
        for name in record.get("files", {}):
            write_whole(self._trial(trial) / name, (folder / name).read_bytes())
        write_json(self._round(trial, rung, ".json"), {**record, TAKEN_FROM: source})
        self._num_taken += 1
        return True

    def trial_changed(self, trial: Trial) -> None:
        """Write a trial as it stands; drop the checkpoints that it cannot need again."""
        folder = self._trial(trial)
        write_json(folder / "trial.json", trial.describe())
        self._database.write(trial)
        over = trial.state != "running"
        # With those that a killed worker was writing: .round-1-fold-1.npz.<pid>.tmp.
        for path in folder.glob("*.npz*"):
            if over or path.name.lstrip(".").startswith(tuple(self._spent_rounds(trial))):
                path.unlink(missing_ok=True)

    def checkpoint(self, trial: Trial, rung: int, fold: int) -> Path:
        """Where a fit keeps its checkpoint."""
        return self._round(trial, rung, f"-fold-{fold + 1}.npz")

    def _spent_rounds(self, trial: Trial) -> list[str]:
        """Rounds before the last finished one: the next goes on from the last."""
        return [f"round-{number}-" for number in range(1, len(trial.rungs))]

    def _trial(self, trial: Trial) -> Path:
        return self._folder / "trials" / f"{trial.number:04d}"

    def _round(self, trial: Trial, rung: int, suffix: str) -> Path:
        return self._trial(trial) / f"round-{rung + 1}{suffix}"


def drop_checkpoints(stage: Path) -> None:
    """Remove all checkpoints of a stage that has ended.

    Those of trials are removed before, as soon as they cannot be needed; but what is removed
    can be back after a power cut.
    """
    for pattern in ("checkpoint.npz", "seeds/*/checkpoint.npz", "trials/*/*.npz*"):
        for path in stage.glob(pattern):
            path.unlink(missing_ok=True)
