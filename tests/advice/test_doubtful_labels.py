"""The labels of a finished run that are likely wrong, and the command that writes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from burnish.advice.doubtful_labels import find_doubtful_labels
from burnish.cli import app
from burnish.errors import RunFolderError, StudyError
from burnish.runfolder.predictions import SplitPredictions, read_predictions, write_predictions
from burnish.runfolder.store import RunFolder

from ..report.fake_run import STAGES, make_run

CLASSES = ("ant", "bee", "cow")


def name_image(split: str, row: int) -> str:
    return f"{split}/{row}.png" if row % 5 else f"{split}/=\x1b[31m\u202e{row}.png"


def change_label(split: str, stage: Path, row: int) -> None:
    """Make predictions that are right and sure, and give one image another label."""
    old = read_predictions(stage / "predictions.parquet")
    num = len(old.labels)
    true = np.arange(num) % 3
    probabilities = np.full((num, 3), 0.04, np.float32)
    probabilities[np.arange(num), true] = 0.92
    labels = true.astype(np.int32)
    labels[row] = (true[row] + 1) % 3
    # The test split's is a little less sure.
    probabilities[row] = 0.0 if split == "val" else 0.02
    probabilities[row, true[row]] = 1.0 if split == "val" else 0.96
    kept = SplitPredictions(labels, probabilities, names=old.names)
    write_predictions(stage / "predictions.parquet", kept)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = make_run(
        tmp_path / "run",
        class_names=CLASSES,
        num_test=30,
        num_wrong=3,
        stages=STAGES[:2],
        predictions=True,
        name_image=name_image,
    )
    change_label("val", run.stage(1, "fnn"), 7)
    change_label("test", run.stage(3, "final"), 11)
    return run


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["labels", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_labels_that_were_changed_are_found_with_the_right_class(run: RunFolder) -> None:
    found = find_doubtful_labels(run)
    assert found.num_judged == {"val": 60, "test": 30}
    assert found.num_by_split == {"val": 1, "test": 1}
    first, second = found.labels
    assert (first.rank, first.split, first.name) == (1, "val", "val/7.png")
    assert (first.label, first.suggested) == (CLASSES[(7 + 1) % 3], CLASSES[7 % 3])
    assert (first.probability, first.label_probability) == (1.0, 0.0)
    assert (second.rank, second.split, second.name) == (2, "test", "test/11.png")
    assert second.suggested == CLASSES[11 % 3]


def test_the_command_writes_a_table(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "check.csv"
    said = invoke(run.path, "--out", out)
    assert said == f"{out}: 2 doubtful labels (1 of 60 in val, 1 of 30 in test)\n"
    with out.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "rank": "1",
        "split": "val",
        "file": "val/7.png",
        "label": "cow",
        "suggested_label": "bee",
        "probability": "1.0",
        "label_probability": "0.0",
    }
    assert second["file"] == "test/11.png"
    assert invoke(run.path, "--out", "-") == out.read_text("utf-8")


def test_the_command_prints_json(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(invoke(run.path, "--json"))
    assert found["num_doubtful"] == {"val": 1, "test": 1}
    assert [entry["file"] for entry in found["labels"]] == ["val/7.png", "test/11.png"]
    assert not (tmp_path / "labels-to-check.csv").exists()
    invoke(run.path)
    assert (tmp_path / "labels-to-check.csv").exists()


def test_a_table_that_somebody_may_have_filled_in_is_not_overwritten(
    run: RunFolder, tmp_path: Path
) -> None:
    out = tmp_path / "check.csv"
    out.write_text("mine", "utf-8")
    for option in ("--out", "--sheet"):
        with pytest.raises(StudyError, match=r"check\.csv is there already"):
            invoke(run.path, option, out)
    assert out.read_text("utf-8") == "mine"


def test_the_sheet_shows_those_whose_pictures_are_kept(run: RunFolder, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    # Of the made-up run one validation image is kept: the first, whose label is right here.
    said = invoke(run.path, "--out", tmp_path / "a.csv", "--sheet", sheet)
    assert f"{sheet}: the pictures of 0 of them" in said
    change_label("val", run.stage(1, "fnn"), 0)
    sheet.unlink()
    said = invoke(run.path, "--out", tmp_path / "b.csv", "--sheet", sheet)
    assert f"{sheet}: the pictures of 1 of them" in said
    page = sheet.read_text("utf-8")
    assert "1. bee → ant" in page
    assert "data:image/png;base64," in page
    # The name is shown, and does nothing.
    assert r"val/=\x1b[31m\u202e0.png" in page
    assert "\u202e" not in page
    with (tmp_path / "b.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["file"] == "val/=\x1b[31m\u202e0.png"


def test_a_run_that_goes_on_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=STAGES[:2], finished=False, predictions=True)
    with pytest.raises(RunFolderError, match=r"has not finished.*then ask again"):
        find_doubtful_labels(run)


def test_a_run_without_names_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_test=30, num_wrong=3, stages=STAGES[:1], predictions=True)
    with pytest.raises(RunFolderError, match=r"does not say what the images are called.*again"):
        find_doubtful_labels(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no run folder"):
        find_doubtful_labels(RunFolder(tmp_path / "none"))
