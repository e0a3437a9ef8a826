from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from burnish.bundle import write_bundle
from burnish.bundle.contract import ONNX_MODEL
from burnish.bundle.export import export_model
from burnish.bundle.model import Model, load
from burnish.data import Dataset, Split, SplitSizes, load_source, prepare
from burnish.image import InputSpec
from burnish.models import default_params, find_family
from burnish.study.config import parse_study
from burnish.study.run import run_study
from burnish.study.store import RunFolder
from burnish.training import FitRequest, TrainingSettings, fit, restore_model

from . import STUDY, make_facts


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with its bundle, for reading alone."""
    study, text = parse_study(STUDY, "tiny")
    run = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    run_study(study, text, run)
    return run


@pytest.fixture
def bundle(run: RunFolder, tmp_path: Path) -> Path:
    """A bundle, for a test to damage."""
    shutil.copytree(run.model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def tiny(run: RunFolder) -> Model:
    """The model of the tiny run: 8x8 digits, 10 classes."""
    return load(run.path)


@pytest.fixture(scope="session")
def mnist_test() -> Split:
    """MNIST's 10,000 test images."""
    folder = os.environ.get("BURNISH_DATA")
    if folder is None or not (Path(folder) / "mnist").is_dir():
        pytest.skip("BURNISH_DATA names no folder with MNIST in it")
    test = load_source("mnist", Path(folder)).test
    assert test is not None
    return test


@pytest.fixture(scope="session")
def mnist_model(mnist_test: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small network, trained for seconds on 20,000 images of MNIST."""
    raw = load_source("mnist", Path(os.environ["BURNISH_DATA"]))
    data, _ = prepare(raw, SplitSizes(train=20_000, val=2_000), seed=1)
    request = _request_small_network()
    fitted = fit(request, data)
    folder = tmp_path_factory.mktemp("mnist")
    restore_model(request, fitted.weights, data).save(folder / "network.keras")
    return _bundle(folder, data)


def _request_small_network() -> FitRequest:
    params = {
        **default_params(find_family("cnn")),
        "num_filters_first_layer": 12,
        "num_filters_sub_layers": 24,
        "dense_layer_size": 64,
        "batch_normalization": True,
        "dropout_rate": 0.2,
        "rotation_range": 0.03,
        "zoom_range": 0.1,
        "learning_rate": 0.006,
    }
    settings = TrainingSettings(max_epochs=2.5, learning_rate_schedule="one-cycle")
    return FitRequest("cnn", params, settings, seed=1)


def _bundle(folder: Path, data: Dataset) -> Path:
    network = folder / "network.keras"
    certificate = export_model(network, folder / ONNX_MODEL, "onnx", data)
    assert certificate["label_agreement"] == 1.0
    facts = make_facts(
        spec=InputSpec(28, 28, "grey", recipe="digit"),
        class_names=data.class_names,
        source=data.source,
        data_fingerprint=data.fingerprint,
    )
    write_bundle(folder / "model", network, facts, [folder / ONNX_MODEL])
    return folder / "model"
