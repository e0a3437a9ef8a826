"""A study on a pretrained network, frozen and then fine-tuned, to its bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import burnish
from burnish.errors import StudyError
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.study.parse import load_study

from ..study import read_result

STUDY = """
[study]
name = "stripes"

[data]
path = "stripes.npz"
split = { val = 0.2, test = 0.2 }

[training]
batch_size = 16
max_epochs = 1

[[stage]]
name = "head"
kind = "train"
model = "pretrained"
params = { weights = "none", learning_rate = 0.003 }

[[stage]]
name = "fine-tuned"
kind = "train"
base = "head"
params = { num_trainable_blocks = 2, learning_rate = 0.001 }

[[stage]]
name = "final"
kind = "final"
"""


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generator = np.random.default_rng(5)
    x = generator.integers(0, 256, (120, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "stripes.npz", x=x, y=np.arange(120) % 2)
    (tmp_path / "stripes.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path / "stripes.toml"


def test_a_frozen_stage_and_a_fine_tuned_one_lead_to_a_bundle(study_file: Path) -> None:
    study, text = load_study(str(study_file))
    run = RunFolder(study_file.parent / "run")
    run_study(study, text, run)
    head, tuned = read_result(run, "head"), read_result(run, "fine-tuned")
    assert (head["model"], tuned["model"]) == ("pretrained", "pretrained")
    assert tuned["params"] == {
        **head["params"],
        "num_trainable_blocks": 2,
        "learning_rate": 0.001,
    }
    assert head["num_parameters"] == tuned["num_parameters"] > 900_000
    model = burnish.load(run.path)
    assert model.class_names == ("0", "1")
    labels, probabilities = model.predict(list(np.zeros((3, 32, 32, 3), np.uint8)))
    assert len(labels) == 3
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_weights_that_are_not_there_are_an_error_before_anything_is_trained(
    study_file: Path,
) -> None:
    study, text = load_study(str(study_file), ["fine-tuned.params.weights=absent.h5"])
    run = RunFolder(study_file.parent / "run")
    with pytest.raises(StudyError, match=r"stage 'fine-tuned': weights = 'absent.h5'"):
        run_study(study, text, run)
    assert not (run.path / "stages").exists()
