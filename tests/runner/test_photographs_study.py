"""A study of photographs with the pretrained network: a head, its last blocks, the test split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import burnish
from burnish.cli import app
from burnish.files import read_json
from burnish.runfolder.store import RunFolder

from ..study import read_result
from ..support.photographs import cut_photographs
from ..support.shared import make_once

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "photographs"
seed = 3

[data]
path = "photographs"
size = [64, 64]
split = { val = 0.25, test = 0.25 }

[training]
batch_size = 8
max_epochs = 3

[[stage]]
name = "head"
kind = "tune"
model = "pretrained"
sampler = "random"
trials = 3
folds = 2
params = { views = 2, horizontal_flip = true, crop_range = 0.2 }

[stage.space]
learning_rate = { low = 1e-3, high = 1e-2, log = true }
weight_decay = [0.0, 0.1]

[[stage]]
name = "last-blocks"
kind = "train"
base = "head"
start_from = "head"
params = { num_trainable_blocks = 2, learning_rate = 0.0005 }

[[stage]]
name = "final"
kind = "final"
"""
IMAGES = 48


def call(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def make(folder: Path) -> None:
    """Write the photographs and the study, and run it, with a cache of its own."""
    for number, image in enumerate(cut_photographs(IMAGES, 64)):
        place = folder / "photographs" / ("china", "flower")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    (folder / "photographs.toml").write_text(STUDY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patched.chdir(folder)
        said = call("run", "photographs.toml", "--workers", "1")
    (folder / "said.txt").write_text(said, encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "photographs", make)


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The run, in its project."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    monkeypatch.chdir(project)
    return RunFolder(project / "runs" / "photographs")


def test_the_last_blocks_start_from_the_head_that_the_search_found(run: RunFolder) -> None:
    head, blocks = read_result(run, "head"), read_result(run, "last-blocks")
    assert len(head["trials"]) == 3
    assert all(trial["state"] == "complete" for trial in head["trials"])
    # Of the whole network: EfficientNet-Lite0 without its classes, and the head.
    assert head["num_parameters"] == 3_413_024 + 1280 * 2 + 2
    assert blocks["params"] == {
        **head["params"],
        "num_trainable_blocks": 2,
        "learning_rate": 0.0005,
    }
    assert blocks["num_parameters"] > 1_000_000
    # It begins where the head ended, not at the loss of a head that knows nothing.
    first = (run.path / "stages" / "02-last-blocks" / "history.csv").read_text().splitlines()
    names, values = first[0].split(","), first[1].split(",")
    assert float(dict(zip(names, values, strict=True))["val_loss"]) < head["val_loss"] + 0.1
    assert head["val_loss"] < 0.4
    final = read_result(run, "final")
    assert final["test"]["accuracy"] >= 0.8


def test_features_are_computed_once_for_each_frozen_part(project: Path, run: RunFolder) -> None:
    names = sorted(path.suffix for path in (project / "cache/burnish/features").iterdir())
    assert names == [".lock", ".lock", ".npy", ".npy", ".onnx", ".onnx"]


def test_run_again_it_takes_all_that_is_done(project: Path, run: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run.path / "stages").rglob("*.keras")}
    features = project / "cache/burnish/features"
    shutil.move(features, project / "features")
    said = call("run", "photographs.toml", "--workers", "1")
    assert said.count("done before") == 2, said
    assert "read before, not again" in said
    after = {path: path.stat().st_mtime_ns for path in (run.path / "stages").rglob("*.keras")}
    assert before == after
    assert not features.exists(), "features were computed again"
    shutil.move(project / "features", features)


def test_the_bundle_predicts_in_the_words_of_the_classes(project: Path, run: RunFolder) -> None:
    model = burnish.load(run.path)
    assert model.class_names == ("china", "flower")
    fresh = cut_photographs(20, 200, seed=9)
    labels, probabilities = model.predict(list(fresh))
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    right = [label == ("china", "flower")[number % 2] for number, label in enumerate(labels)]
    assert np.mean(right) >= 0.9
    said = call("predict", "runs/photographs", "photographs/flower/01.png", "--json")
    assert "flower" in said


def test_onnx_agrees_with_keras(run: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "photographs.onnx"
    said = call("export", "runs/photographs", "--format", "onnx", "--out", str(target))
    assert "agrees with Keras" in said
    certificate = read_json(tmp_path / "photographs.onnx.certificate.json")
    assert certificate["label_agreement"] == 1.0
    assert certificate["max_probability_difference"] < 1e-3
