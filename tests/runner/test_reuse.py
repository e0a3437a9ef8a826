from __future__ import annotations

from pathlib import Path

import pytest

from burnish.files import write_json
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.store import RunFolder
from burnish.runner.reuse import is_done, set_leftovers_aside
from burnish.runner.stage_context import StageContext
from burnish.runner.state import RunState
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

from ..study import TINY
from ..study.test_init import make_dataset

STUDY, _ = parse_study(TINY, "the test's study")
FIRST, SECOND, ALONE, FINAL = range(1, 5)


class Notebook(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_note(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A folder in which every stage stands, its fingerprint its own name."""
    folder = RunFolder(tmp_path / "run")
    for number, stage in enumerate(STUDY.stages, start=1):
        stage_dir = folder.stage(number, stage.name)
        stage_dir.mkdir(parents=True)
        write_manifest(stage_dir, fingerprint=stage.name)
        write_json(stage_dir / "result.json", {"name": stage.name, "fingerprint": stage.name})
    return folder


@pytest.fixture
def notes() -> Notebook:
    return Notebook()


def ask(folder: RunFolder, number: int, fingerprint: str, notes: Notebook) -> bool:
    context = StageContext(
        study=STUDY,
        number=number,
        results={},
        data=make_dataset([2, 2], side=8),
        folder=folder,
        fingerprint=fingerprint,
        workers=1,
        observer=notes,
        watch=RunState(folder, STUDY.name).watch_with(notes),
    )
    return is_done(context, STUDY.stages[number - 1])


def standing(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in (folder.path / "stages").iterdir())


def set_aside(folder: RunFolder) -> list[str]:
    """What lies in ``superseded/``, without the time."""
    return sorted(p.name.rpartition("-")[0] for p in folder.path.glob("superseded/*"))


def test_a_stage_of_its_fingerprint_stands(folder: RunFolder, notes: Notebook) -> None:
    assert ask(folder, FIRST, "first", notes)
    assert notes.lines == []
    assert set_aside(folder) == []


def test_a_stage_that_has_not_ended_is_not_done_and_stays(
    folder: RunFolder, notes: Notebook
) -> None:
    stage_dir = folder.stage(FIRST, "first")
    (stage_dir / "result.json").rename(stage_dir / "begun.json")
    assert not ask(folder, FIRST, "first", notes)
    assert "01-first" in standing(folder)


def test_a_changed_base_takes_along_what_builds_on_it(folder: RunFolder, notes: Notebook) -> None:
    assert not ask(folder, FIRST, "another", notes)
    assert standing(folder) == ["03-alone"]
    assert set_aside(folder) == ["01-first", "02-second", "04-final"]
    assert len(notes.lines) == 3
    assert notes.lines[0].startswith("stage 'first' has changed since it was run: ")


def test_a_stage_on_which_nothing_builds_takes_along_the_final_one_alone(
    folder: RunFolder, notes: Notebook
) -> None:
    assert not ask(folder, ALONE, "another", notes)
    assert set_aside(folder) == ["03-alone", "04-final"]


def test_a_stage_of_another_name_makes_way(folder: RunFolder, notes: Notebook) -> None:
    folder.stage(SECOND, "second").rename(folder.stage(SECOND, "before"))
    assert not ask(folder, SECOND, "second", notes)
    assert set_aside(folder) == ["02-before", "04-final"]


def test_a_final_stage_without_its_bundle_is_done_again(folder: RunFolder, notes: Notebook) -> None:
    assert not ask(folder, FINAL, "final", notes)
    (line,) = notes.lines
    assert "is missing, damaged or of another format: it is written anew" in line
    assert set_aside(folder) == []


def test_a_damaged_stage_is_named_and_not_done(folder: RunFolder, notes: Notebook) -> None:
    (folder.stage(FIRST, "first") / "result.json").write_text("{", encoding="utf-8")
    assert not ask(folder, FIRST, "first", notes)
    assert notes.lines[0].startswith("stage 'first': ")
    assert set_aside(folder) == ["01-first-damaged"]


def test_stages_beyond_the_last_make_way(folder: RunFolder, notes: Notebook) -> None:
    shorter = STUDY.model_copy(update={"stages": STUDY.stages[:2]})
    set_leftovers_aside(shorter, folder, notes.on_note)
    assert standing(folder) == ["01-first", "02-second"]
    assert set_aside(folder) == ["03-alone", "04-final"]
