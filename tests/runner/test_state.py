from __future__ import annotations

from pathlib import Path

import pytest

from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.runfolder.store import RunFolder
from burnish.runner.state import RunState
from burnish.stages.observer import Observer
from burnish.training import Progress


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A folder in which a run has begun."""
    folder = RunFolder(tmp_path / "run")
    folder.write_study('[study]\nname = "tiny"\n')
    return folder


def read_state(folder: RunFolder) -> dict[str, object]:
    return read_json(folder.path / "state.json")


def note_nothing(message: str) -> None:
    raise AssertionError(message)


def test_the_stage_stays_where_a_run_fails_and_goes_when_it_is_done(folder: RunFolder) -> None:
    state = RunState(folder, "tiny")
    state.record("running")
    assert read_state(folder)["stage"] is None
    state.record("running", stage="first")
    state.record("failed", error="too little memory")
    kept = read_state(folder)
    assert (kept["state"], kept["stage"], kept["error"]) == (
        "failed",
        "first",
        "too little memory",
    )
    state.record("done")
    assert (read_state(folder)["stage"], read_state(folder)["error"]) == (None, None)


def test_the_time_of_earlier_attempts_counts(folder: RunFolder) -> None:
    first = RunState(folder, "tiny")
    first.seconds_before = 100.0
    first.record("failed")
    second = RunState(folder, "tiny")
    second.resume(note_nothing)
    assert second.seconds_before >= 100.0
    assert second.seconds() >= second.seconds_before


def test_another_study_is_refused(folder: RunFolder) -> None:
    RunState(folder, "tiny").record("done")
    with pytest.raises(RunFolderError, match="holds a run of the study 'tiny', not of 'other'"):
        RunState(folder, "other").resume(note_nothing)


def test_a_folder_in_which_nothing_has_begun_takes_any_study(folder: RunFolder) -> None:
    RunState(folder, "tiny").record("failed")
    folder.study_file.unlink()
    RunState(folder, "other").resume(note_nothing)


def test_a_damaged_state_is_named_and_costs_the_time_alone(folder: RunFolder) -> None:
    RunState(folder, "tiny").record("done")
    (folder.path / "state.json").write_text("{", encoding="utf-8")
    notes: list[str] = []
    state = RunState(folder, "tiny")
    state.resume(notes.append)
    assert state.seconds_before == 0.0
    (note,) = notes
    assert "written anew, without the time taken so far" in note


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("bad"), ("failed", "bad")),
        (KeyboardInterrupt(), ("interrupted", None)),
    ],
)
def test_what_ends_a_run_early_is_recorded_and_goes_on_its_way(
    error: BaseException, expected: tuple[str, str | None], folder: RunFolder
) -> None:
    state = RunState(folder, "tiny")
    with pytest.raises(type(error)), state.failure_recorded():
        raise error
    assert (read_state(folder)["state"], read_state(folder)["error"]) == expected


def test_a_fit_records_the_state_once_an_epoch(folder: RunFolder) -> None:
    told: list[int] = []

    class Notebook(Observer):
        def fit_progressed(self, progress: Progress) -> None:
            told.append(progress.step)

    state = RunState(folder, "tiny")
    state.record("running", stage="first")
    watch = state.watch_with(Notebook())()
    path = folder.path / "state.json"
    path.unlink()
    written = []
    for step in range(1, 7):
        watch(Progress(step, num_steps=6, steps_per_epoch=3, last=None))
        written.append(path.exists())
        path.unlink(missing_ok=True)
    assert told == [1, 2, 3, 4, 5, 6]
    assert written == [False, False, True, False, False, True]
