"""Where faults of storage are caused: the shim, a warm process, and an undisturbed run's record."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .disk import Disk, Files, read_files, write_files
from .shim import Kind, Operation, Shim
from .study import describe_run, hash_weights, without_clock, write_study
from .warm import Driver

STAGES = ("start", "tuned", "final")

_RECORD = re.compile(r"run/stages/[^/]+/(result|trials/\d+/round-\d+)\.json|run/test-ledger\.jsonl")
"""What is recorded: nothing of it may be lost."""

_ROUND = re.compile(r"run/stages/[^/]+/trials/\d+/round-\d+\.json")
"""Of these, the rounds of trials."""

_TEMPORARY = re.compile(r"(.*/)?\.[^/]+\.tmp(\.keras)?|run/\.(scratch|owner\.json|lock)(/.*)?")
"""What a run that goes on removes or writes anew before it looks at it."""


Goal = Literal["next round", "end of stage", "end of study"]
"""How far a run goes on from a state. Each later state is one of those that are tried as well."""


@dataclass
class Bench:
    """A warm driver under the shim, and all that an undisturbed run did to its disk.

    Attributes
    ----------
    folder
        Where everything lies.
    operations
        Of the undisturbed run, in order.
    expected
        What it came to: see :func:`describe_stages`.
    names
        The files that it left.
    rounds
        Every round of a trial as it was recorded, by its path: see :func:`describe_round`.
    """

    folder: Path
    study: Path
    shim: Shim
    driver: Driver
    operations: list[Operation] = field(default_factory=list)
    expected: dict[str, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    rounds: dict[str, Any] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def set_up(cls, folder: Path) -> Bench:
        """Start the process, and record an undisturbed run."""
        shim = Shim(folder / "shim")
        driver = Driver(shim.environment, folder / "scratch")
        bench = cls(folder, write_study(folder), shim, driver)
        root = bench.new_root()
        root.mkdir()
        shim.set(root, log=True)
        assert bench.driver.run(bench.study, root / "run") == "done"
        shim.quieten()
        bench.operations = list(shim.operations())
        bench.expected = describe_stages(root / "run")
        bench.names = _list_kept(root / "run")
        describe_run(root / "run")  # It has all that a run must have.
        # What the shim wrote down is all that happened.
        disk = Disk(root)
        for operation in bench.operations:
            disk.apply(operation)
            if operation.kind == Kind.RENAME:
                name = operation.target.relative_to(root.resolve()).as_posix()
                if _ROUND.fullmatch(name):
                    bench.rounds[name] = describe_round(name, disk.files())
        assert disk.files() == read_files(root)
        return bench

    @property
    def recorded_root(self) -> Path:
        """The folder below which the undisturbed run was recorded."""
        return self.folder / "root-0"

    def new_root(self) -> Path:
        """A folder that is not there yet, for one disk."""
        return self.folder / f"root-{next(self._numbers)}"

    def go_on(self, files: Files, to: Goal, *, without: Sequence[str] = ()) -> None:
        """Go on from a state of the disk, and see that it comes to the same.

        To the end of the study; or of the stage that was interrupted: what follows it is then
        the same as in the undisturbed run, for it follows from the same files; or, in a tuning
        stage, to the next round that it records, for the same reason.
        """
        root = self.new_root()
        write_files(files, root)
        run = root / "run"
        ended = {name[14:].partition("/")[0] for name in files if name.endswith("/result.json")}
        until = next((stage for stage in STAGES if stage not in ended), STAGES[-1])
        if to == "end of study":
            assert self.driver.run(self.study, run) == "done"
            self.compare(run, without=without)
        else:
            one_round = to == "next round"
            answer = self.driver.run(self.study, run, until, one_round=one_round)
            assert answer == "stopped", answer
            if (run / "stages" / f"0{STAGES.index(until) + 1}-{until}" / "result.json").exists():
                self.compare(run, until, without=without)
        # It is recorded once, and as it was.
        after = read_files(root)
        for name in filter(_ROUND.fullmatch, after):
            found, recorded = describe_round(name, after), self.rounds[name]
            assert found == {key: recorded[key] for key in found}, f"{name} is another"
        for name, content in files.items():
            if _RECORD.fullmatch(name):
                assert after[name] == content, f"{name} was recorded, and is lost or changed"
        remove(root)

    def compare(self, run: Path, last: str = STAGES[-1], *, without: Sequence[str] = ()) -> None:
        """See that a run has all of the undisturbed one up to a stage, and nothing besides.

        It may be without what a study can do without: ``events`` of TensorBoard, and the
        ``database`` of Optuna; or have begun the ``whole database`` anew and kept a damaged one.
        """
        found = describe_stages(run)
        stages = STAGES[: STAGES.index(last) + 1]
        assert found["results"] == {s: self.expected["results"][s] for s in stages}
        assert found["weights"] == {
            name: weights
            for name, weights in self.expected["weights"].items()
            if last == "final" or name.split("/")[1][3:] in stages
        }
        if "tuned" in stages:
            assert found["trials"] == self.expected["trials"]
            assert "database" in without or found["database"] == self.expected["database"]
        if last == "final":
            assert found["ledger"] == self.expected["ledger"]
            names = _list_kept(run)
            if "events" in without:
                names |= {name for name in self.names if name.startswith("tensorboard/")}
            if "whole database" in without:
                names.discard("trials.db.damaged")
            assert names == self.names


def remove(root: Path) -> None:
    """Remove a disk that nothing was wrong with; the others are left to look at."""
    import shutil

    shutil.rmtree(root)


def is_record(name: str) -> bool:
    """Whether a path below a root is that of something recorded."""
    return _RECORD.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Whether a path below a root is that of something which is not read again."""
    return _TEMPORARY.fullmatch(name) is not None


def describe_stages(run: Path) -> dict[str, Any]:
    """Return of each stage that has ended what must be the same in two runs."""
    results = [json.loads(p.read_text("utf-8")) for p in sorted(run.glob("stages/*/result.json"))]
    ledger = run / "test-ledger.jsonl"
    lines = ledger.read_text("utf-8").splitlines() if ledger.exists() else []
    models = [*run.glob("stages/*/model.keras"), *run.glob("model/model.keras")]
    trials = sorted(run.glob("stages/*/trials/*/*.json"))
    return {
        "results": {result["name"]: without_clock(result) for result in results},
        "weights": {p.relative_to(run).as_posix(): hash_weights(p) for p in sorted(models)},
        "trials": [without_clock(json.loads(path.read_text("utf-8"))) for path in trials],
        "ledger": [without_clock(json.loads(line)) for line in lines],
        "database": read_database(run / "trials.db") if (run / "trials.db").exists() else None,
    }


def describe_round(name: str, files: Files) -> dict[str, Any]:
    """Return of a round of a trial what must be the same in two runs, with the weights it left."""
    content = files[name]
    assert content is not None
    described = {name: without_clock(json.loads(content))}
    stem = name.removesuffix(".json")
    for path, archive in files.items():
        if path.startswith(f"{stem}-fold-") and path.endswith(".npz") and archive is not None:
            with np.load(io.BytesIO(archive)) as arrays:
                described[path] = [
                    (key, hashlib.sha256(arrays[key].tobytes()).hexdigest())
                    for key in arrays.files
                    if key != "meta"  # It holds the seconds.
                ]
    return described


def read_database(path: Path) -> list[tuple[Any, ...]]:
    """Return the trials in Optuna's database, with their states, params and losses."""
    query = """
        SELECT study_name, number, state,
            (SELECT group_concat(value) FROM trial_values v WHERE v.trial_id = t.trial_id),
            (SELECT group_concat(param_name || param_value) FROM trial_params p
                WHERE p.trial_id = t.trial_id),
            (SELECT group_concat(step || ':' || intermediate_value)
                FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id)
        FROM trials t JOIN studies s ON t.study_id = s.study_id ORDER BY study_name, number
    """
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def identify(files: Files) -> str:
    """Return a digest that is the same for states which a run that goes on cannot tell apart.

    It does not look at what was not whole yet, nor at the clock; and SQLite brings a
    database to what it was before a transaction that did not end.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        if _TEMPORARY.fullmatch(name) or name.startswith("run/trials.db"):
            continue
        if name == "run/state.json":
            assert content is not None
            content = json.dumps(without_clock(json.loads(content))).encode()
        digest.update(
            f"{name} {content is None} {len(content or b'')}\n".encode() + (content or b"")
        )
    database = files.get("run/trials.db")
    if database is not None:
        digest.update(_dump(database, files.get("run/trials.db-journal")).encode())
    return digest.hexdigest()


def _dump(database: bytes, journal: bytes | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.db"
        path.write_bytes(database)
        if journal is not None:
            path.with_name("trials.db-journal").write_bytes(journal)
        connection = sqlite3.connect(path)
        try:
            return "\n".join(connection.iterdump())
        finally:
            connection.close()


def _list_kept(run: Path) -> set[str]:
    """Names of all files but those of the report, which can be drawn from them again."""
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    return {n for n in names if not n.startswith("report/") and not n.endswith((".svg", ".png"))}


def changes(operation: Operation) -> bool:
    """Whether an operation changes what another process sees."""
    return operation.kind != Kind.SYNC
