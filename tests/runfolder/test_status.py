from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import BurnishError, RunFolderError, StudyError
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder
from burnish.stages.observer import Observer
from burnish.training import Progress

from ..study import read_result, run_here

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KEYS = {"study", "state", "error", "seconds", "data", "stages", "test"}
STAGE_KEYS = {"name", "kind", "state", "params", "val_loss", "val_accuracy", "epochs", "seconds"}
VALUES = ("params", "val_loss", "val_accuracy", "epochs", "seconds")


class Camera(Observer):
    """Copies the run folder as it is in the middle of the second stage: as a kill leaves it."""

    def __init__(self, run: RunFolder, copy: Path) -> None:
        self.run = run
        self.copy = copy
        self.stage = ""
        self.seen: dict[str, Any] = {}

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        self.stage = name

    def fit_progressed(self, progress: Progress) -> None:
        if self.stage == "second" and progress.last is not None and not self.seen:
            shutil.copytree(self.run.path, self.copy)
            self.seen = describe_run(self.run)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Camera:
    folder = tmp_path_factory.mktemp("runs")
    camera = Camera(RunFolder(folder / "finished"), folder / "midway")
    run_here(camera.run.path, observer=camera)
    return camera


@contextmanager
def another_process_in(folder: Path) -> Iterator[None]:
    script = """
import sys, time
from pathlib import Path
from burnish.runfolder.store import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()


def states(description: dict[str, Any]) -> list[str]:
    return [stage["state"] for stage in description["stages"]]


def assert_form(description: dict[str, Any]) -> None:
    """The keys that the docstring names, no others, and plain JSON throughout."""
    assert set(description) == KEYS
    assert all(set(stage) == STAGE_KEYS for stage in description["stages"])
    assert set(description["data"]) == {"source", "path", "fingerprint"}
    assert json.loads(json.dumps(description, allow_nan=False)) == description


def test_a_finished_run_is_described_with_all_its_values(camera: Camera) -> None:
    description = describe_run(camera.run)
    assert_form(description)
    assert (description["study"], description["state"], description["error"]) == (
        "tiny",
        "done",
        None,
    )
    assert description["seconds"] > 0
    provenance = json.loads((camera.run.path / "provenance.json").read_text(encoding="utf-8"))
    assert description["data"] == {
        "source": "digits",
        "path": None,
        "fingerprint": provenance["data"]["fingerprint"],
    }
    assert [(s["name"], s["kind"], s["state"]) for s in description["stages"]] == [
        ("first", "train", "done"),
        ("second", "train", "done"),
        ("alone", "train", "done"),
        ("final", "final", "done"),
    ]
    for stage in description["stages"]:
        result = read_result(camera.run, stage["name"])
        assert {key: stage[key] for key in VALUES} == {key: result[key] for key in VALUES}
    test = read_result(camera.run, "final")["test"]
    assert description["test"] == {
        "accuracy": test["accuracy"],
        "loss": test["loss"],
        "readings": 1,
    }


def test_a_run_that_goes_on_is_described_as_far_as_it_is(camera: Camera) -> None:
    description = camera.seen
    assert_form(description)
    assert description["state"] == "running"
    assert states(description) == ["done", "running", "pending", "pending"]
    assert description["stages"][0]["val_loss"] is not None
    for stage in description["stages"][1:]:
        assert [stage[key] for key in VALUES] == [None] * 5
    assert description["test"] is None
    assert description["data"]["fingerprint"] is not None


def test_running_means_that_a_process_holds_the_folder(camera: Camera) -> None:
    run = RunFolder(camera.copy)
    description = describe_run(run)
    assert_form(description)
    assert description["state"] == "interrupted"
    assert states(description) == ["done", "interrupted", "pending", "pending"]
    with another_process_in(run.path):
        description = describe_run(run)
        assert description["state"] == "running"
        assert states(description) == ["done", "running", "pending", "pending"]
    assert describe_run(run)["state"] == "interrupted"


def test_a_failed_run_says_why(tmp_path: Path, camera: Camera) -> None:
    shutil.copytree(camera.run.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    wrong = ["alone.model=cnn", "alone.params={ num_conv_layers = 4 }"]
    with pytest.raises(StudyError) as caught:
        run_here(run.path, overrides=wrong)
    description = describe_run(run)
    assert_form(description)
    assert description["state"] == "failed"
    assert description["error"] == str(caught.value)


def test_looking_changes_nothing(camera: Camera) -> None:
    before = {p: p.stat().st_mtime_ns for p in camera.copy.rglob("*") if p.name != ".lock"}
    describe_run(RunFolder(camera.copy))
    after = {p: p.stat().st_mtime_ns for p in camera.copy.rglob("*") if p.name != ".lock"}
    assert after == before


def test_what_is_no_run_folder_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(RunFolderError) as caught:
            describe_run(RunFolder(folder))
        assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "state.json",
        "study.toml",
        "provenance.json",
        "test-ledger.jsonl",
        "stages/01-first/result.json",
    ],
)
def test_a_damaged_file_is_named(camera: Camera, tmp_path: Path, name: str) -> None:
    shutil.copytree(camera.run.path, tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(BurnishError) as caught:
        describe_run(RunFolder(tmp_path / "run"))
    assert str(file) in str(caught.value)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BurnishError) as caught:
        describe_run(RunFolder(tmp_path / "run"))
    assert str(file) in str(caught.value)
