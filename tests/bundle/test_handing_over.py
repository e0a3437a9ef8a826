"""What the final stage of a run does about its bundle, where not all is as it should be."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.bundle import read_contract
from burnish.bundle.formats.onnx import ONNX
from burnish.errors import BundleError
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.runner import kept_model
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

from . import STUDY, read_json

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Notebook(Observer):
    """Writes down what a run notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_note(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The finished run, for a test to change."""
    shutil.copytree(run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def run_again(run: RunFolder) -> list[str]:
    """Return the same command again; what it noted."""
    study, text = parse_study(STUDY, "tiny")
    notes = Notebook()
    run_study(study, text, run, observer=notes)
    return notes.lines


def age(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "format": 1}


def forget_file(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "sha256": {**content["sha256"], "model.onnx": "0" * 64}}


@pytest.mark.parametrize("change", [age, forget_file, None])
def test_a_bundle_that_is_old_damaged_or_gone_is_written_anew_by_the_same_command(
    run: RunFolder, copy: RunFolder, change: Any
) -> None:
    contract = copy.model / "contract.json"
    before = read_json(contract)
    if change is None:
        shutil.rmtree(copy.model)
    else:
        write_json(contract, change(before))
    with pytest.raises(BundleError):
        read_contract(copy.model)
    assert run_again(copy) == [
        f"{copy.model} is missing, damaged or of another format: it is written anew"
    ]
    after = read_contract(copy.model)
    assert after["study_fingerprint"] == before["study_fingerprint"]
    assert after["metrics"] == before["metrics"]
    assert after["sha256"]["model.keras"] == before["sha256"]["model.keras"]
    assert copy.readings() == run.readings()  # The test split was not read again.
    assert run_again(copy) == []
    assert not (copy.path / ".scratch").exists()


def test_a_model_that_onnx_cannot_hold_does_not_lose_the_study(
    copy: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(kept_model, "ONNX", dataclasses.replace(ONNX, write=refuse))
    shutil.rmtree(copy.model)
    _, note = run_again(copy)
    assert f"{copy.model} has no model.onnx" in note
    assert "NotImplementedError: no such operator" in note
    assert set(read_contract(copy.model)["sha256"]) == {"model.keras", "README.md"}
    with pytest.raises(BundleError, match=r"has no model\.onnx, only README\.md, model\.keras"):
        burnish.load(copy.path)
