"""``burnish.run``, ``check`` and ``plan``, and the commands that call them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import burnish
from burnish.api import run as api_run
from burnish.cli import app
from burnish.errors import DataError, StudyError
from burnish.files import read_json

from .studies import TINIER, TINY, write_digits

FAST = {f"{key}": value for key, value in TINIER.items() if key != "data"}


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


@pytest.fixture
def photos(here: Path) -> Path:
    write_digits(here / "photos")
    return Path("photos")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reaches the stage loop, which then does nothing."""
    calls: list[dict[str, Any]] = []

    def record(study: Any, text: str, folder: Any, **rest: Any) -> None:
        calls.append({"text": text, "folder": folder.path, **rest})
        folder.write_study(text)

    monkeypatch.setattr("burnish.runner.run.run_study", record)
    monkeypatch.setattr(api_run, "write_report", lambda folder: folder.report)
    return calls


def test_images_are_checked_get_a_study_and_run(
    photos: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = burnish.run("photos")
    said = capsys.readouterr().out
    assert said.startswith("photos: 120 images, format folder\n")
    assert "nothing is wrong\nstudy:  runs/photos.toml\n" in said
    assert run.path == Path("runs/photos")
    call = asked[0]
    assert (call["minutes"], call["command"]) == (10, "burnish run photos")
    written = tomllib.loads(Path("runs/photos.toml").read_text(encoding="utf-8"))
    assert written["data"]["path"] == "../photos"
    assert tomllib.loads(call["text"])["data"]["path"] == str(photos.absolute())


def test_a_study_beside_the_run_is_the_users(photos: Path, asked: list[dict[str, Any]]) -> None:
    burnish.run(photos, minutes=3, verbose=False)
    file = Path("runs/photos.toml")
    text = file.read_text(encoding="utf-8").replace("seed = 42", "seed = 7")
    file.write_text(text, encoding="utf-8")
    result = command("run", "photos", "--minutes", "3", "--set", "head.trials=4")
    assert result.exit_code == 0, result.output
    assert "study:  runs/photos.toml, which was there" in result.output
    study = tomllib.loads(asked[1]["text"])
    assert (study["study"]["seed"], study["stage"][0]["trials"]) == (7, 4)
    assert asked[1]["command"] == "burnish run photos --set head.trials=4 --minutes 3.0"
    assert file.read_text(encoding="utf-8") == text


def test_a_study_of_other_images_is_not_taken(photos: Path, asked: list[dict[str, Any]]) -> None:
    burnish.run(photos, verbose=False, on_bad_image="skip")
    write_digits(Path("elsewhere/photos"), 40)
    with pytest.raises(StudyError, match=r"runs/photos\.toml is the study of other images"):
        burnish.run("elsewhere/photos", verbose=False)
    burnish.run(photos, verbose=False, on_bad_image="skip")
    with pytest.raises(StudyError, match="has max_pixels = None, not 1000"):
        burnish.run(photos, verbose=False, max_pixels=1000)
    assert burnish.run("elsewhere/photos", out="runs/b", verbose=False).path == Path("runs/b")
    assert Path("runs/b.toml").exists()


def test_a_study_is_not_limited_unless_asked(here: Path, asked: list[dict[str, Any]]) -> None:
    burnish.Study.from_dict(TINY).write("tiny.toml")
    burnish.run("tiny.toml", verbose=False, values={"search.params.hidden_layer_size": 16})
    assert asked[0]["minutes"] is None
    assert asked[0]["command"] == "burnish run tiny.toml --set search.params.hidden_layer_size=16"
    burnish.run(burnish.Study.from_dict(TINY), minutes=2, verbose=False)
    assert asked[1]["minutes"] == 2
    assert asked[1]["command"] == "burnish run runs/tiny/study.toml --minutes 2"
    assert "hidden_layer_size = 16" in asked[0]["text"]


def test_the_command_gives_what_the_function_takes(here: Path, asked: list[dict[str, Any]]) -> None:
    burnish.Study.from_dict(TINY).write("tiny.toml")
    words = ["--out", "o", "--workers", "3", "--minutes", "2", "--skip-disk-check"]
    result = command("run", "tiny.toml", *words, "--memory-per-worker", "4GB")
    assert result.exit_code == 0, result.output
    burnish.run(
        "tiny.toml",
        out="o",
        workers=3,
        minutes=2.0,
        check_disk=False,
        memory_per_worker="4GB",
        verbose=False,
    )
    first, second = ({**call, "observer": None, "began": 0} for call in asked)
    assert first == second
    assert first["command"].endswith("--memory-per-worker 4GB --skip-disk-check")


def test_images_that_cannot_be_used_are_named_and_nothing_is_left(photos: Path) -> None:
    for number in range(3):
        (photos / "d0" / f"bad{number}.png").write_bytes(b"no image")
    result = command("run", "photos")
    assert result.exit_code == 1
    assert isinstance(result.exception, DataError)
    assert "bad0.png" in str(result.exception)
    assert not Path("runs").exists()


def test_images_that_may_be_skipped_are_shown(
    photos: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "d0" / "bad.png").write_bytes(b"no image")
    burnish.run(photos, on_bad_image="skip")
    assert "problems\n  " in capsys.readouterr().out
    assert asked[0]["command"] == "burnish run photos --on-bad-image skip"


@pytest.mark.parametrize(
    ("source", "keywords", "said"),
    [
        ("nothing", {}, "unknown study 'nothing'. There are: digits, "),
        ("runs/old", {}, r"is a run folder\. To go on with its run"),
        ("digits", {"group": "writer"}, "group says how images are read, and a study was given"),
        ("digits", {"address": "auto"}, "belongs to a cluster"),
        ("digits", {"executor": "cloud"}, "expected 'local' or 'ray'"),
        ("digits", {"memory_per_worker": "4"}, "expected MB or GB"),
        ("digits", {"values": {"cmn.x": 1}}, "did you mean 'cnn'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_done(
    source: str, keywords: dict[str, Any], said: str, here: Path
) -> None:
    for name in ("study.toml", "state.json"):
        (here / "runs" / "old").mkdir(parents=True, exist_ok=True)
        (here / "runs" / "old" / name).touch()
    with pytest.raises(StudyError, match=said):
        burnish.run(source, **keywords)
    assert [path.name for path in (here / "runs").iterdir()] == ["old"]


def test_check_is_a_dict_that_shows_itself(photos: Path) -> None:
    found = burnish.check("photos", format="folder")
    assert found["num_images"] == 120
    assert json.loads(command("check", "photos", "--json").output) == found
    assert repr(found).endswith("nothing is wrong")
    assert "d0" in found._repr_html_()
    Image.new("L", (8, 8)).save(photos / "d0" / "black.png")
    Image.new("L", (8, 8)).save(photos / "d1" / "black.png")
    assert burnish.check(photos)["problems"]


def test_plan_writes_nothing(photos: Path) -> None:
    before = sorted(Path().rglob("*"))
    study = burnish.Study.from_dict(TINIER)
    planned = burnish.plan(study.with_images(photos), workers=1)
    assert [stage["name"] for stage in planned["stages"]] == ["fnn", "final"]
    assert "what will run" in repr(planned)
    assert "<pre" in planned._repr_html_()
    assert sorted(Path().rglob("*")) == before


def test_the_plan_of_images_is_that_of_their_study(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def record(study: Any, text: str, *rest: Any, minutes: float, **more: Any) -> dict[str, Any]:
        asked.append((study.name, minutes))
        features = {"files": 0, "views": 0, "bytes": 0, "seconds": 0.0, "refused": None}
        known = {"seconds": 1.0, "disk_bytes": 1, "features": features, "stages": []}
        return {"study": study.name, **known}

    monkeypatch.setattr("burnish.planning.plan.plan_study", record)
    burnish.plan("photos")
    assert command("plan", "photos", "--minutes", "4").exit_code == 0
    assert asked == [("photos", 10), ("photos", 4)]
    assert not Path("runs").exists()


def test_one_run_from_images_to_a_model(photos: Path) -> None:
    """All of it, by stages that take seconds: the user has changed the study."""
    study = burnish.Study.from_dict(TINIER).with_images(photos)
    run = burnish.run(study, out="runs/photos", verbose=False, report=False)
    assert run.test.accuracy > 0.9
    assert run.model.class_names == ("d0", "d1")
    provenance = read_json(run.path / "provenance.json")
    assert provenance["command"] == "burnish run runs/photos/study.toml --out runs/photos"
    again = burnish.run(study, out="runs/photos", verbose=False, report=False)
    assert again.test == run.test  # Nothing is done twice, and the test split not read again.
