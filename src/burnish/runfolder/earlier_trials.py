"""Rounds that earlier searches of a stage have done, for a search that asks for the same again.

A search with more trials, another sampler or another schedule is another stage, which starts from
its first proposal. But a fit is what it is asked for: where an earlier search of the stage, kept in
``superseded/``, has a trial of the same number with the same params that went through the same
budgets, its result is what the fit would give again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import hash_file, read_json
from burnish.tuning.schedules import Bracket
from burnish.tuning.trial import Trial


class EarlierTrials:
    """What earlier searches of a stage have recorded.

    Parameters
    ----------
    run
        The run folder.
    stage
        Name of the stage.
    trials_of
        Fingerprint of what its trials depend on: see
        :func:`burnish.stages.fit_requests.fingerprint_trials`.
    brackets
        The rounds of the search that asks.
    """

    def __init__(self, run: Path, stage: str, trials_of: str, brackets: Sequence[Bracket]) -> None:
        self._run = run
        self._brackets = brackets
        self._folders = [f for f in _find_superseded(run, stage) if _holds_trials(f, trials_of)]

    def find(self, trial: Trial, rung: int) -> tuple[Path, dict[str, Any], str] | None:
        """Find a round of a trial.

        Failed rounds count as none: what made them fail may not do so again.

        Returns
        -------
        The folder of the trial that has done it, its record, and the folder of its stage as seen
        from the run; ``None`` where no search has done it.
        """
        budgets = [r.epochs for r in self._brackets[trial.bracket].rungs[: rung + 1]]
        for stage in self._folders:
            folder = stage / "trials" / f"{trial.number:04d}"
            record = _read_round(folder, trial, budgets)
            if record is not None:
                return folder, record, stage.relative_to(self._run).as_posix()
        return None


def _find_superseded(run: Path, stage: str) -> Iterator[Path]:
    """Find the folders of a stage that were moved away, the latest first."""
    pattern = re.compile(rf"\d{{2}}-{re.escape(stage)}-(\d{{8}}T\d{{6}}(-\d+)?)")
    named = [(pattern.fullmatch(path.name), path) for path in (run / "superseded").glob("*")]
    found = [(match[1], path) for match, path in named if match is not None]
    return (path for _, path in sorted(found, reverse=True))


def _holds_trials(folder: Path, trials_of: str) -> bool:
    for name in ("result.json", "begun.json"):
        try:
            if (folder / name).exists() and read_json(folder / name).get("trials_of") == trials_of:
                return True
        except RunFolderError:  # What is damaged nobody can rely on.
            continue
    return False


def _read_round(folder: Path, trial: Trial, budgets: Sequence[float]) -> dict[str, Any] | None:
    """Read the last of some rounds, if all of them are sound, of these budgets, and succeeded."""
    record: dict[str, Any] = {}
    try:
        for number, epochs in enumerate(budgets, start=1):
            record = read_json(folder / f"round-{number}.json")
            same = record.get("params") == trial.params and record.get("epochs") == epochs
            if not same or record.get("loss") is None:
                return None
        files = record.get("files", {}).items()
        is_sound = all(hash_file(folder / name) == expected for name, expected in files)
    except (RunFolderError, OSError):  # Missing, or damaged.
        return None
    return record if is_sound else None
