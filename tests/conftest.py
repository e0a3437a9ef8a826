from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from burnish.data import Dataset, Split, SplitSizes, load_source, prepare
from burnish.registry import Registry

from .support.shared import make_once

# A test's time says more of the machine than of the test.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LONGEST = (
    "test_packaging.py",
    "test_own_data.py",
    "runner/test_tune_stage.py",
    "runner/test_pretrained_study.py",
    "test_child_processes.py",
    "faults/test_interrupts.py",
    "runner/test_run.py",
    "tests/test_cli.py",
    "report/test_report.py",
    "bundle/test_photographs.py",
    "training/test_fit.py",
    "report/test_real_run.py",
    "faults/test_storage.py",
    "runner/test_evidence_files.py",
    "test_own_images_run.py",
)
"""Files that take longest: begun last, all other cores would wait for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    places = {
        item.path: next(
            (n for n, name in enumerate(LONGEST) if item.path.as_posix().endswith(f"/{name}")),
            len(LONGEST),
        )
        for item in items
    }
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session", autouse=True)
def _deterministic_backend() -> None:
    """Set the backend up before its first operation, where a collected test imported it."""
    if "burnish.backend" in sys.modules:
        from burnish.backend import configure, settle_imports

        configure(deterministic=True)
        settle_imports()


@pytest.fixture
def plug_in() -> Iterator[Callable[[Any, Any], None]]:
    """Register entries of plug points, and forget them at the end."""
    registered = []

    def register(registry: Registry[Any], entry: Any) -> None:
        registry.register(entry)
        registered.append((registry, entry.name))

    yield register
    for registry, name in registered:
        registry.unregister(name)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1,078 training and 360 validation images of 8x8x1 in 10 classes."""
    dataset, _ = prepare(
        load_source("digits", None), SplitSizes(train=0.6, val=0.2, test=0.2), seed=0
    )
    return dataset


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
    return make_once(tmp_path_factory, "mnist", _train) / "model"


def _train(folder: Path) -> None:
    from burnish.models import default_params, find_family
    from burnish.training import FitRequest, TrainingSettings, fit, restore_model

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
    request = FitRequest("cnn", params, settings, seed=1)
    raw = load_source("mnist", Path(os.environ["BURNISH_DATA"]))
    data, _ = prepare(raw, SplitSizes(train=20_000, val=2_000), seed=1)
    fitted = fit(request, data)
    restore_model(request, fitted.weights, data).save(folder / "network.keras")
    _bundle(folder, data)


def _bundle(folder: Path, data: Dataset) -> None:
    """Write the bundle of a network; its figures are made up."""
    from burnish.bundle import BundleFacts, write_bundle
    from burnish.bundle.contract import ONNX_MODEL
    from burnish.bundle.export import export_model
    from burnish.bundle.formats.onnx import ONNX
    from burnish.image import InputSpec

    network = folder / "network.keras"
    certificate = export_model(network, folder / ONNX_MODEL, ONNX, data)
    assert certificate["label_agreement"] == 1.0
    facts = BundleFacts(
        study="mnist",
        study_fingerprint="b" * 64,
        stage="cnn",
        family="cnn",
        params={},
        spec=InputSpec(28, 28, "grey", recipe="digit"),
        class_names=data.class_names,
        source=data.source,
        data_fingerprint=data.fingerprint,
        validation={"accuracy": 0.99, "loss": 0.03, "num_images": 2_000},
        test={
            "accuracy": 0.99,
            "loss": 0.03,
            "num_images": 10_000,
            "accuracy_interval": [0.98, 0.995],
        },
        num_parameters=1,
        provenance={"burnish": "0", "keras": "0", "tensorflow": "0", "study_seed": 1},
    )
    write_bundle(folder / "model", network, facts, [folder / ONNX_MODEL])
