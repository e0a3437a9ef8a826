from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from burnish.bundle.model import Model, load
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.study.parse import parse_study

from ..support.shared import make_once
from . import STUDY


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with its bundle, for reading alone."""
    study, text = parse_study(STUDY, "tiny")
    folder = make_once(
        tmp_path_factory, "bundle", lambda f: run_study(study, text, RunFolder(f / "tiny"))
    )
    return RunFolder(folder / "tiny")


@pytest.fixture
def bundle(run: RunFolder, tmp_path: Path) -> Path:
    """A bundle, for a test to damage."""
    shutil.copytree(run.model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def tiny(run: RunFolder) -> Model:
    """The model of the tiny run: 8x8 digits, 10 classes."""
    return load(run.path)
