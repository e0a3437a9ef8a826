"""docs/extending.md: its package is built, installed, and used by a study."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burnish
from burnish.augmentation import OPERATIONS
from burnish.bundle.formats import EXPORT_FORMATS
from burnish.data import SOURCES
from burnish.data.conformance import check_format, check_source
from burnish.data.formats import FORMATS
from burnish.models import FAMILIES, count_operations, count_weights, default_params
from burnish.registry import Registry
from burnish.report.figures import FIGURES
from burnish.tuning.samplers import SAMPLERS
from burnish.tuning.schedules import SCHEDULES
from tests.models.test_families import check_family

PLUG_POINTS: dict[str, tuple[Registry[Any], str]] = {
    "perceptron": (FAMILIES, "perceptron"),
    "inception": (FAMILIES, "inception"),
    "brightness": (OPERATIONS, "brightness"),
    "halton": (SAMPLERS, "halton"),
    "doubling": (SCHEDULES, "doubling"),
    "learning_rate": (FIGURES, "learning-rate"),
    "shapes": (SOURCES, "shapes"),
    "npy_pair": (FORMATS, "npy"),
    "weights": (EXPORT_FORMATS, "weights"),
}
"""Every plug point by the page's module that adds one to it, and how that is called."""

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def write_files(folder: Path) -> None:
    """Write each block of the page that has a title."""
    blocks = re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == len(PLUG_POINTS) + 3
    for name, text in blocks:
        path = folder / name if name == "extras.toml" else folder / "burnish-extras" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's study, and the package installed into ``site``."""
    folder = tmp_path_factory.mktemp("extras")
    write_files(folder)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    # The environment's own setuptools: an isolated build would fetch one.
    command += ["--no-build-isolation", "--target", "site", "./burnish-extras"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_python(folder, "-m", "burnish", *words)


def run_python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the page's package is installed."""
    path = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
    cache = str(folder / "cache")
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": cache, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_has_one_of_every_registry() -> None:
    root = Path(burnish.__file__).parent
    made = [
        found
        for path in root.rglob("*.py")
        for found in re.findall(r"^([A-Z_]+): Registry\[", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(made) == len({id(registry) for registry, _ in PLUG_POINTS.values()})


@pytest.fixture
def added(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Run one file of the page alone, as its entry point does, and forget what it registers."""
    registry, name = PLUG_POINTS[request.param]
    assert name not in registry
    write_files(tmp_path)
    runpy.run_path(str(tmp_path / "burnish-extras" / "burnish_extras" / f"{request.param}.py"))
    yield registry.find(name)
    registry.unregister(name)


@pytest.mark.parametrize("added", PLUG_POINTS, indirect=True)
def test_each_plug_point_takes_one_file_and_nothing_else(added: Any) -> None:
    holders = {id(r): r for r, _ in PLUG_POINTS.values() if added in list(r)}
    (holder,) = holders.values()
    assert not holder.is_shipped(added.name)
    assert holder.names()[-1] == added.name


@pytest.mark.parametrize("added", ["perceptron", "inception"], indirect=True)
def test_the_pages_families_keep_the_contract(added: Any) -> None:
    check_family(added)


@pytest.mark.parametrize("added", ["inception"], indirect=True)
def test_of_the_pages_graph_weights_and_operations_are_counted(added: Any) -> None:
    params = {**default_params(added), "filters": 3}
    # From 2 channels to 3; a branch of one layer each, one of two; from 9 channels to 3; a block.
    kernels = [9 * 2 * 3, 1 * 3 * 3, 9 * 3 * 3, *[9 * 3 * 3] * 2, 1 * 9 * 3, *[9 * 3 * 3] * 2]
    positions = [8 * 10, *[4 * 5] * 7]
    products = sum(k * p for k, p in zip(kernels, positions, strict=True)) + 3 * 4
    assert count_operations(added, params, (8, 10, 2), 4) == 2 * products
    normalised = 4 * 3 * len(kernels)
    weights = sum(kernels) + normalised + 3 * 4 + 4
    assert count_weights(added, params, (8, 10, 2), 4) == weights


@pytest.mark.parametrize("added", ["shapes"], indirect=True)
def test_the_pages_source_keeps_the_contract(added: Any) -> None:
    assert len(check_source(added, None).train) == 600


def write_pair(folder: Path) -> Path:
    """Write a folder of the page's format: two classes, bright and dark."""
    folder.mkdir()
    labels = np.repeat(["bright", "dark"], 30)
    images = np.random.default_rng(0).integers(0, 99, (60, 6, 5), dtype=np.uint8)
    images[labels == "bright"] += 150
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return folder


@pytest.mark.parametrize("added", ["npy_pair"], indirect=True)
def test_the_pages_format_keeps_the_contract(added: Any, tmp_path: Path) -> None:
    listing = check_format(added, write_pair(tmp_path / "pair"))
    assert listing.class_names == ("bright", "dark")


def test_the_pages_plug_ins_are_used_by_the_command_line_and_by_workers(installed: Path) -> None:
    ended = run(installed, "run", "extras.toml")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(next(installed.glob("runs/extras/stages/01-*/result.json")).read_text())
    assert (result["model"], result["sampler"], result["schedule"]) == (
        "perceptron",
        "halton",
        "doubling",
    )
    assert result["params"]["brightness_range"] == 0.2
    page = next(installed.glob("runs/extras/report/index.html")).read_text("utf-8")
    assert "The learning rate, which ended at" in page
    assert next(installed.glob("runs/extras/report/figures/search-learning-rate.svg")).exists()
    assert [trial["epochs"] for trial in result["trials"]] in ([1.0, 0.5], [0.5, 1.0])
    provenance = json.loads((installed / "runs/extras/provenance.json").read_text())
    assert provenance["data"]["source"] == "shapes"

    # The export finds the model, and needs no images.
    ended = run(installed, "export", "runs/extras", "--format", "weights")
    assert ended.returncode == 0, ended.stderr
    told = "extras.weights.npz: not certified, as nothing here runs this format\n"
    assert ended.stdout == told
    with np.load(installed / "extras.weights.npz") as arrays:
        shapes = sorted(array.shape for array in arrays.values() if array.ndim == 2)
    hidden = result["params"]["units"]
    assert shapes == sorted([(16 * 16, hidden), (hidden, 2)])
    names = (installed / "extras.weights.npz.labels.txt").read_text().splitlines()
    assert names == ["disc", "square"]
    assert not (installed / "extras.weights.npz.certificate.json").exists()
    ended = run(installed, "export", "runs/extras", "--format", "weights", "--quantize", "int8")
    assert ended.returncode == 2
    assert "int8 is for onnx, litert, not for weights" in ended.stderr


def test_the_pages_format_is_checked_as_any_other(installed: Path) -> None:
    write_pair(installed / "pair")
    ended = run(installed, "check", "pair", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["format"], found["num_images"]) == ("npy", 60)
    assert [entry["name"] for entry in found["classes"]] == ["bright", "dark"]


def test_help_lists_what_plug_ins_add(installed: Path) -> None:
    ended = run(installed, "export", "--help")
    assert "savedmodel, weights. The whole bundle: zip, folder" in ended.stdout
    ended = run(installed, "check", "--help")
    assert "parquet, npy" in ended.stdout
    ended = run(installed, "export", "runs", "--format", "wieghts")
    assert "unknown format 'wieghts'; did you mean 'weights'?" in ended.stderr


LOAD = """
from pathlib import Path
from burnish.data.load import load_images
print(load_images(Path("changing")).train.images.mean())
"""


def test_pixels_of_a_format_that_has_changed_are_read_anew(installed: Path) -> None:
    """The files are the same, and so is what reads the arrays; the plug-in is not."""
    write_pair(installed / "changing")
    module = installed / "site" / "burnish_extras" / "npy_pair.py"
    text = module.read_text("utf-8")
    first = run_python(installed, "-c", LOAD)
    try:
        module.write_text(text.replace('mmap_mode="r")', 'mmap_mode="r") // 2'), "utf-8")
        second = run_python(installed, "-c", LOAD)
    finally:
        module.write_text(text, "utf-8")
    assert float(second.stdout) < 0.6 * float(first.stdout), second.stderr


def test_without_the_package_a_study_that_names_it_is_refused(installed: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "burnish", "run", "extras.toml"],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "unknown" in ended.stderr
    assert "'shapes'" in ended.stderr
