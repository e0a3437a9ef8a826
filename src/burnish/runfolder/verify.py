"""Whether a run folder is what was written: every file of it is read.

Evidence is checked: what stands at the top, the stages, the bundle, the ledger. What is made
of it can be made again and is checked as far as it says of itself what it is: the report and
TensorBoard's files have manifests, ``trials.db`` has SQLite's own structure. What was set
aside under ``superseded/`` is read by nobody and not checked.
"""

from __future__ import annotations

import sqlite3
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from burnish.bundle.contract import CONTRACT, check_contract
from burnish.errors import BundleError, RunFolderError
from burnish.files import read_json
from burnish.runfolder.ledger import read_lines
from burnish.runfolder.manifest import FILE as MANIFEST
from burnish.runfolder.manifest import Flaw, check_file, check_folder, judge, walk
from burnish.runfolder.store import RunFolder

_TOP = {
    "study.toml",
    "reproduce.toml",
    "provenance.json",
    "state.json",
    "plan.json",
    "test-ledger.jsonl",
}
_TOP |= {"reproduce.toml", "trials.db", "trials.db-journal", "trials.db-wal", "trials.db-shm"}
_FOLDERS = {"data", "stages", "superseded", "tensorboard", "model", "report"}


def verify_run(run: RunFolder) -> list[Flaw]:
    """Read every file of a run folder, and give those that are not as they were written.

    Raises
    ------
    RunFolderError
        If there is no such folder, or it is none that a run made.
    """
    if not (run.path / "state.json").exists():
        run.check()
    found = [*_check_top(run)]
    for stage_dir in run.stage_folders():
        finished = (stage_dir / "result.json").exists()
        found += check_folder(stage_dir, finished=finished)
    found += _check_stages_are_there(run)
    found += _check_bundle(run.model)
    for made in (run.data, run.report, *sorted(run.tensorboard.glob("*"))):
        if (made / MANIFEST).exists():
            found += check_folder(made, finished=True)
    found += _check_database(run)
    return found


def describe_findings(path: Path, findings: Sequence[Flaw]) -> dict[str, Any]:
    """Return what ``burnish verify --json`` prints.

    Returns
    -------
    ``run``, ``sound`` (whether nothing is damaged or missing) and ``findings``, a list of
    ``path`` (within the run), ``problem`` and ``detail``.
    """
    return {
        "run": str(path),
        "sound": all(finding.problem == "unknown" for finding in findings),
        "findings": [
            {
                "path": finding.path.relative_to(path).as_posix(),
                "problem": finding.problem,
                "detail": finding.detail,
            }
            for finding in findings
        ],
    }


def _check_top(run: RunFolder) -> Iterator[Flaw]:
    begun = (run.path / "provenance.json").exists() or any((run.path / "stages").glob("*"))
    for name in ("state.json", "provenance.json", "plan.json"):
        path = run.path / name
        if path.exists():
            yield from _try(path, lambda path=path: read_json(path))
        elif name != "plan.json" and begun:
            yield Flaw(path, "missing", f"{path} is missing")
    if run.study_file.exists():
        yield from _try(run.study_file, run.read_study)
    elif begun:
        yield Flaw(run.study_file, "missing", f"{run.study_file} is missing")
    yield from _try(run.ledger, lambda: (read_lines(run.ledger), run.readings()))
    for path in sorted(run.path.iterdir()):
        if path.name not in _TOP | _FOLDERS and not path.name.startswith("."):
            yield Flaw(path, "unknown", f"{path} is no part of a run")


def _try(path: Path, read: Any) -> Iterator[Flaw]:
    try:
        read()
    except RunFolderError as error:
        yield judge(path, error)


def _check_stages_are_there(run: RunFolder) -> Iterator[Flaw]:
    """A run that is done has the result of every stage of its study."""
    try:
        state = read_json(run.path / "state.json")["state"]
        stages = tomllib.loads(run.read_study())["stage"] if state == "done" else []
    except (RunFolderError, ValueError, KeyError):
        return  # Their damage has been found.
    for number, stage in enumerate(stages, start=1):
        path = run.stage(number, stage["name"]) / "result.json"
        if not path.exists():
            yield Flaw(path, "missing", f"{path} is missing, and the run is done")
        elif stage["kind"] == "final" and not (run.model / CONTRACT).exists():
            path = run.model / CONTRACT
            yield Flaw(path, "missing", f"{path} is missing, and the run is done")


def _check_bundle(folder: Path) -> Iterator[Flaw]:
    path = folder / CONTRACT
    if not path.exists():
        return  # None yet: a run that is done is asked for it elsewhere.
    try:
        contract = read_json(path)
        check_contract(contract, folder)
    except RunFolderError as error:
        yield judge(path, error)
        return
    except BundleError as error:
        yield Flaw(path, "damaged", str(error))
        return
    for name, expected in contract["sha256"].items():
        finding = check_file(folder / name, expected)
        if finding is not None:
            yield finding
    for file in walk(folder):
        if file.name != CONTRACT and file.name not in contract["sha256"]:
            yield Flaw(file, "unknown", f"{file} is no part of the bundle")


def _check_database(run: RunFolder) -> Iterator[Flaw]:
    path = run.trials
    if not path.exists():
        if any((run.path / "stages").glob("*/trials/*/trial.json")):
            yield Flaw(
                path,
                "missing",
                f"{path} is missing. Nothing is lost: it only shows what the stages' own files "
                "hold. The same 'burnish run' writes it anew",
            )
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, TypeError) as error:
        said = str(error)
    if said != "ok":
        yield Flaw(
            path,
            "damaged",
            f"{path} is damaged ({said}). Nothing is lost: it only shows what the stages' own "
            "files hold. Remove it",
        )
