"""Flipped bits, cut files and old files in a run folder and a bundle.

A real run is damaged in every file that it left, and must be found out: by
`burnish verify` whatever the place, by `burnish run` before it builds on it, and by
every command that shows or uses what was damaged.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.advice.suggest import suggest_study
from burnish.errors import BurnishError, DamageError
from burnish.files import read_json, strip_seal
from burnish.report import write_report
from burnish.report.compare import compare_runs
from burnish.runfolder.manifest import DRAWN
from burnish.runfolder.status import describe_run as describe_status
from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run
from burnish.runner.evaluate import describe_readings
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

from . import TORTURE, sample
from .conftest import Tally
from .study import STUDY, describe_run

FLIPPED, CUT = "bit flips in a run folder", "truncated files in a run folder"

DERIVED = {"trials.db"}
"""What nothing is read from, and what Optuna's tools may write to: it has no digest."""

REWRITTEN = {"study.toml", "provenance.json"}
"""What every run writes anew without having read it, and so without a word."""


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(tmp_path / "run")


class Notes(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_note(self, note: str) -> None:
        self.lines.append(note)


def go_on(run: RunFolder) -> list[str]:
    """Return the same command again, in this process; what it said."""
    study, text = parse_study(STUDY, "the study of faults")
    notes = Notes()
    run_study(study, text, run, observer=notes, workers=1)
    return notes.lines


def files_of(run: RunFolder) -> list[Path]:
    """Every file that a run leaves, but the lock, in which nothing stands."""
    found = [path for path in sorted(run.path.rglob("*")) if path.is_file()]
    return [path for path in found if path.name not in DERIVED | {".lock"}]


def damage(content: bytes, flips: int, seed: str) -> Iterator[tuple[str, bytes]]:
    """Flip bits of the first, the middle and the last byte and at random; cut."""
    chance = random.Random(seed)
    places = [0, len(content) // 2, len(content) - 1]
    for place in [*places, *(chance.randrange(len(content)) for _ in range(flips - 3))][:flips]:
        flipped = content[place] ^ 1 << chance.randrange(8)
        yield FLIPPED, content[:place] + bytes([flipped]) + content[place + 1 :]
    for length in (0, len(content) // 2, len(content) - 1):
        yield CUT, content[:length]


def test_damage_anywhere_in_any_file_is_found_and_named(run: RunFolder, tally: Tally) -> None:
    """Row "bit flips in every file of a run folder and bundle, truncated files": verify."""
    assert verify_run(run) == []
    files = files_of(run)
    names = {path.relative_to(run.path).as_posix() for path in files}
    assert {"study.toml", "state.json", "provenance.json", "test-ledger.jsonl"} < names
    assert {"model/contract.json", "model/model.onnx", "report/index.html"} < names
    assert {f"stages/02-tuned/{name}" for name in ("result.json", "model.keras")} < names
    for path in files:
        whole = path.read_bytes()
        for row, damaged in damage(whole, sample(3, 20), path.name):
            path.write_bytes(damaged)
            found = [f for f in verify_run(run) if f.path == path]
            assert [f.problem for f in found] == ["damaged"], (path, row)
            assert str(path) in found[0].detail or path.name in found[0].detail
            tally(row)
        path.write_bytes(whole)
    assert verify_run(run) == []


def test_what_is_gone_or_does_not_belong_is_named(run: RunFolder, tally: Tally) -> None:
    """Row "bit flips ..., truncated files": files that are missing."""
    for path in files_of(run):
        name = path.relative_to(run.path).as_posix()
        if (
            name in ("report/files.json", "plan.json")
            or path.name in DRAWN
            or "tensorboard" in name
        ):
            continue  # Without its manifest, what can be made again is not judged.
        path.rename(run.path / ".elsewhere")
        assert any(f.problem != "unknown" for f in verify_run(run)), name
        (run.path / ".elsewhere").rename(path)
        tally("a file of a run folder is gone")
    for folder in (run.path, run.stage(1, "start"), run.model):
        (folder / "notes.txt").write_text("mine")
    assert {f.path.parent.name: f.problem for f in verify_run(run)} == {
        run.path.name: "unknown",
        "01-start": "unknown",
        "model": "unknown",
    }


def test_no_command_shows_or_uses_what_is_damaged(
    run: RunFolder, tmp_path: Path, tally: Tally
) -> None:
    """Row "bit flips ...; never a silent wrong result": status, report, suggest, load ..."""

    def load(_: RunFolder) -> None:
        burnish.load(run.path)

    def suggest(_: RunFolder) -> None:
        suggest_study(run, tmp_path / "next.toml")
        (tmp_path / "next.toml").unlink()

    def compare(_: RunFolder) -> None:
        compare_runs([run, run], tmp_path / "compare.html")

    # Which commands must name the damage of which files; whatever else is damaged, they
    # answer as before, or name it.
    stages, top = "stages/", ("study.toml", "state.json", "provenance.json", "test-ledger.jsonl")
    uses: list[tuple[Callable[[RunFolder], Any], tuple[str, ...]]] = [
        (describe_status, ("state.json", "study.toml", "test-ledger.jsonl")),
        (describe_readings, ("test-ledger.jsonl",)),
        (load, ("model/",)),
        (suggest, (stages, "study.toml")),
        (compare, (stages,)),
        (write_report, (stages, *top)),
    ]
    before = describe_status(run)
    chance = random.Random(1)
    files = [path for path in files_of(run) if "tensorboard" not in path.parts]
    for path in chance.sample(files, sample(12, len(files))):
        name = path.relative_to(run.path).as_posix()
        whole = path.read_bytes()
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        for use, must in uses:
            if name.startswith(must) and path.name not in DRAWN:
                with pytest.raises(BurnishError) as caught:
                    use(run)
                assert path.name in str(caught.value), name
                tally(FLIPPED)
        assert ask(run, path) in (None, before)
        path.write_bytes(whole)


def ask(run: RunFolder, damaged: Path) -> dict[str, Any] | None:
    """What status says; nothing where it names the damage instead."""
    try:
        return describe_status(run)
    except DamageError as error:
        if str(damaged) in str(error):
            return None
        raise


IN_CI = (
    "stages/02-tuned/result.json",
    "stages/02-tuned/trials/0001/round-1.csv",
    "stages/03-final/predictions.parquet",
    "model/model.onnx",
)


def test_a_run_goes_on_from_damage_to_the_same_result(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "bit flips ...; never a silent wrong result": `burnish run` on the damaged folder."""
    before = describe_run(finished)
    names = [path.relative_to(finished).as_posix() for path in files_of(RunFolder(finished))]
    # What can be drawn again is, by the command that the report belongs to.
    names = [name for name in names if not name.startswith(("report/", "tensorboard/"))]
    names = [name for name in names if Path(name).name not in DRAWN]
    chance = random.Random(2)
    for name in random.sample(names, 20) if TORTURE else IN_CI:
        folder = tmp_path / "run"
        shutil.copytree(finished, folder)
        run, path = RunFolder(folder), folder / name
        whole = path.read_bytes()
        row, damaged = chance.choice(list(damage(whole, 5, name)))
        path.write_bytes(damaged)
        if name == "test-ledger.jsonl":
            with pytest.raises(DamageError, match=r"test-ledger\.jsonl .*put the file back"):
                go_on(run)
            assert path.read_bytes() == damaged
        else:
            said = go_on(run)
            named = any(str(path) in line or f"{run.model} is" in line for line in said)
            assert named or name in REWRITTEN, (name, said)
            after = describe_run(folder)
            # A reading that was damaged was read again, and the ledger has both.
            ledger = after["ledger"]
            again = name in ("stages/03-final/predictions.parquet", "stages/03-final/mistakes.npz")
            assert ledger == before["ledger"] * (2 if again else 1)
            assert {**after, "ledger": None} == {**before, "ledger": None}, name
            left = [f for f in verify_run(run) if "tensorboard" not in f.path.parts]
            assert left == [], name
        tally(row)
        shutil.rmtree(folder)


def test_a_run_folder_of_an_older_version_is_named_and_run_again(
    run: RunFolder, tally: Tally
) -> None:
    """Row "a run folder of an older version": it kept no digests."""
    for path in files_of(run):
        if path.name == "files.json":
            path.unlink()
        elif path.suffix == ".json":
            content = {k: v for k, v in read_json(path).items() if k != "readings"}
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        elif path.suffix in (".npz", ".toml"):
            path.write_bytes(strip_seal(path.read_bytes()))
    (line,) = run.readings()
    run.ledger.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for show in (describe_status, write_report, lambda run: burnish.load(run.path)):
        with pytest.raises(BurnishError, match="an older burnish wrote it"):
            show(run)
    before = {path: path.read_bytes() for path in (run.path / "stages").rglob("result.json")}

    said = go_on(run)
    assert sum("older burnish" in note for note in said) >= 4
    assert describe_status(run)["state"] == "done"
    # Nothing was thrown away, and the first reading stands before the second.
    kept = [path.read_bytes() for path in (run.path / "superseded").rglob("result.json")]
    assert sorted(kept) == sorted(before.values())
    assert run.readings()[0] == line
    assert len(run.readings()) == 2
    assert [f for f in verify_run(run) if "tensorboard" not in f.path.parts] == []
    tally("a run folder of an older version")
