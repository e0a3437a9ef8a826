"""Every command that takes a run or a study, tried on a run of one's own images.

The run moves alone, with its project, or loses its images.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from burnish.bundle.model import load
from burnish.cli import app
from burnish.errors import BurnishError, DataNotFoundError, StudyError
from burnish.files import read_json
from burnish.runfolder.store import RunFolder
from burnish.serve import Limits
from burnish.study.parse import load_study
from burnish.watch import Watcher

from .serve.bundles import serve_in_thread

STUDY = """
[study]
name = "s"
seed = 1
[data]
path = "photos"
split = { val = 0.25, test = 0.25 }
[training]
max_epochs = 1
batch_size = 8
[[stage]]
name = "fnn"
kind = "train"
model = "fnn"
params = { hidden_layer_size = 32, num_hidden_layers = 1 }
[[stage]]
name = "rate"
kind = "tune"
base = "fnn"
sampler = "grid"
[stage.space]
learning_rate = [0.001, 0.01]
[[stage]]
name = "final"
kind = "final"
"""


def burnish(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


def succeed(*words: str) -> str:
    result = burnish(*words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project: photos of 8x8 pixels in two classes, a study of them, and its run."""
    project = tmp_path_factory.mktemp("made") / "project"
    for name, value in (("cat", 40), ("dog", 200)):
        (project / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((8, 8), value + number, np.uint8)
            Image.fromarray(pixels).save(project / "photos" / name / f"{number}.png")
    (project / "s.toml").write_text(STUDY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(project.parent / "cache"))
        patch.chdir(project)
        succeed("run", "s.toml", "--workers", "1")
    return project


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, which is none that any path counts from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.parent / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def run(made: Path, here: Path) -> Path:
    """The run folder alone, moved; the images lie where they lay."""
    shutil.copytree(made / "runs" / "s", here.parent / "kept" / "run")
    return Path("../kept/run")


@pytest.fixture
def moved_run(made: Path, here: Path) -> Iterator[Path]:
    """The run folder within its project, which has moved as a whole."""
    shutil.copytree(made, here.parent / "elsewhere" / "project")
    with moved_away(made):
        yield Path("../elsewhere/project/runs/s")


class moved_away:  # noqa: N801
    """While it lasts a project is not where it was."""

    def __init__(self, project: Path) -> None:
        self._project, self._gone = project, project.with_name("gone")

    def __enter__(self) -> None:
        self._project.rename(self._gone)

    def __exit__(self, *_: object) -> None:
        self._gone.rename(self._project)


COMMANDS = {
    "status": ["status", "RUN"],
    "status-json": ["status", "RUN", "--json"],
    "verify": ["verify", "RUN"],
    "report": ["report", "RUN"],
    "compare": ["compare", "RUN", "RUN"],
    "suggest": ["suggest", "RUN"],
    "evaluate": ["evaluate", "RUN", "--json"],
    "evaluate-again": ["evaluate", "RUN", "--again"],
    "export-run": ["export", "RUN", "--format", "keras"],
    "export-bundle": ["export", "RUN/model", "--format", "onnx"],
    "export-study": ["export", "RUN/model", "--format", "keras", "--study", "RUN/study.toml"],
    "export-zip": ["export", "RUN", "--format", "zip"],
}
"""Commands that take a run, or what lies in it."""


NEED_IMAGES = ("status-json", "suggest", "evaluate-again", "export-run", "export-study")
"""Those that say where the images lie, or read them."""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_takes_a_run_of_ones_own_images(name: str, run: Path) -> None:
    check_command(name, run)


@pytest.mark.parametrize("name", NEED_IMAGES)
def test_a_run_that_moved_with_its_project_finds_its_images(name: str, moved_run: Path) -> None:
    check_command(name, moved_run)


def check_command(name: str, run: Path) -> None:
    output = succeed(*(word.replace("RUN", str(run)) for word in COMMANDS[name]))
    if name == "status":
        assert "s on photos: done" in output
    elif name == "status-json":
        data = json.loads(output)["data"]
        assert data["source"] == Path(data["path"]).name == "photos"
        assert data["fingerprint"] == read_json(run / "provenance.json")["data"]["fingerprint"]
    elif name == "evaluate-again":
        assert len(RunFolder(run).readings()) == 2
    elif name == "suggest":
        # It leads to the images from where it was written.
        study, _ = load_study("next.toml")
        assert study.data.path is not None
        assert (Path(study.data.path) / "cat").is_dir()


@pytest.mark.parametrize("path", ["", "live.json"])
def test_watch_answers(path: str, run: Path) -> None:
    with Watcher(RunFolder(run)) as watcher:
        threading.Thread(target=watcher.serve_forever, daemon=True).start()
        answer = httpx.get(watcher.address + path, timeout=60)
        watcher.shutdown()
    assert answer.status_code == 200, answer.text
    assert ("photos" if not path else "The run is done.") in answer.text


def test_the_model_predicts_and_is_served(run: Path, tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    Image.fromarray(np.full((8, 8), 205, np.uint8)).save(image)
    (answer,) = json.loads(succeed("predict", str(run), str(image), "--json"))["images"]
    assert answer["label"] in ("cat", "dog")
    with serve_in_thread(load(run, threads=1), Limits()) as address:
        served = httpx.post(f"{address}/predict", content=image.read_bytes()).json()
    assert served["label"] == answer["label"]


def test_a_runs_own_study_leads_to_its_images(moved_run: Path) -> None:
    study, text = load_study(str(moved_run / "study.toml"))
    assert study.data.path is not None
    assert (Path(study.data.path) / "cat").is_dir()
    assert study.data.path in text


def test_the_same_command_goes_on_after_the_project_has_moved(made: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(made, project)
    with moved_away(made), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(made.parent / "cache"))
        patch.chdir(project)
        succeed("run", "s.toml", "--workers", "1")
        plan = json.loads(succeed("plan", "runs/s/study.toml", "--workers", "1", "--json"))
    assert plan["study"] == "s"
    assert not (project / "runs" / "s" / "superseded").exists()
    assert read_json(project / "runs/s/provenance.json")["data"]["path"] == str(project / "photos")


def test_init_and_check_take_the_images(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.parent / "cache"))
    monkeypatch.chdir(made)
    assert "nothing is wrong" in succeed("check", "photos")
    succeed("init", "photos", "--out", "made.toml")
    assert load_study("made.toml")[0].data.path == str(made / "photos")
    (made / "made.toml").unlink()


@pytest.fixture
def stray(made: Path, here: Path) -> Iterator[Path]:
    """The run folder alone; its images are in another place, which nothing recorded."""
    shutil.copytree(made / "runs" / "s", here / "run")
    shutil.copytree(made / "photos", here / "pictures" / "photos")
    with moved_away(made):
        yield here / "run"


@pytest.mark.parametrize(
    "words",
    [["evaluate", "run", "--again"], ["export", "run", "--format", "keras"]],
    ids=["evaluate", "export"],
)
def test_images_that_are_gone_are_named_with_the_option_that_mends_it(
    words: list[str], stray: Path
) -> None:
    refused = burnish(*words)
    assert isinstance(refused.exception, DataNotFoundError)
    assert "there is no such file or folder" in str(refused.exception)
    assert "--data" in str(refused.exception)
    succeed(*words, "--data", "pictures/photos")


def test_other_images_are_not_taken_for_those_of_the_run(stray: Path) -> None:
    (stray.parent / "pictures" / "photos" / "cat" / "3.png").unlink()
    refused = burnish("evaluate", "run", "--again", "--data", "pictures/photos")
    assert "are not those that its run had" in str(refused.exception)
    assert len(RunFolder(stray).readings()) == 1


def test_a_plan_says_how_to_name_images_that_are_gone(stray: Path) -> None:
    for command in ("plan", "run"):
        refused = burnish(command, str(stray / "study.toml"), "--workers", "1")
        assert isinstance(refused.exception, DataNotFoundError)
        assert "--set data.path=" in str(refused.exception)


def test_data_is_for_ones_own_images_alone() -> None:
    from burnish.runner.reload import reload_data

    study, _ = load_study("digits")
    with pytest.raises(StudyError, match="--data-dir") as caught:
        reload_data(study, "0" * 64, data=Path("photos"))
    assert isinstance(caught.value, BurnishError)
