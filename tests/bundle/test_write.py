from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.bundle import FORMAT, BundleFacts, hash_file, read_contract, write_bundle
from burnish.data import load_source, prepare
from burnish.errors import BundleError, RunFolderError
from burnish.study.config import parse_study
from burnish.study.run import run_study
from burnish.study.store import RunFolder, read_arrays

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "tiny"
[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }
[training]
batch_size = 32
max_epochs = 3
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = { batch_normalization = true, dropout_rate = 0.1, learning_rate = 0.005 }
[[stage]]
name = "final"
kind = "final"
"""


@pytest.fixture(scope="module")
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


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_the_contract_says_what_goes_in_and_what_comes_out(run: RunFolder) -> None:
    contract = read_contract(run.model)
    result = read_json(run.path / "stages" / "01-cnn" / "result.json")
    provenance = read_json(run.path / "provenance.json")
    assert contract["format"] == FORMAT
    assert (contract["study"], contract["stage"], contract["family"]) == ("tiny", "cnn", "cnn")
    assert contract["params"] == result["params"]
    assert contract["input"]["shape"] == [8, 8, 1]
    assert contract["input"]["color"] == "grey"
    assert contract["output"] == {
        "values": "probabilities",
        "class_names": [str(digit) for digit in range(10)],
    }
    assert contract["data"] == {
        "source": "digits",
        "fingerprint": provenance["data"]["fingerprint"],
    }
    assert contract["metrics"]["validation"] == {
        "accuracy": result["val_accuracy"],
        "loss": result["val_loss"],
        "num_images": 200,
    }
    final = read_json(run.path / "stages" / "02-final" / "result.json")
    assert contract["metrics"]["test"] == final["test"]
    assert contract["versions"] == {
        name: provenance[name] for name in ("burnish", "keras", "tensorflow")
    }


def test_the_contract_has_the_hash_of_every_other_file(run: RunFolder) -> None:
    contract = read_contract(run.model)
    files = {path.name: path.read_bytes() for path in run.model.iterdir()}
    del files["contract.json"]
    assert contract["sha256"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert set(files) == {"model.keras", "README.md"}
    assert hash_file(run.model / "model.keras") == contract["sha256"]["model.keras"]


@pytest.mark.parametrize("name", ["model.keras", "README.md"])
def test_a_missing_or_changed_file_is_refused_by_name(bundle: Path, name: str) -> None:
    file = bundle / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{name} has changed since") as caught:
        read_contract(bundle)
    assert str(bundle) in str(caught.value)
    file.unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_contract(bundle)
    file.write_bytes(content)
    read_contract(bundle)


@pytest.mark.parametrize("given", [FORMAT + 1, 0, "1", None])
def test_an_unknown_format_is_refused_with_the_known_one(bundle: Path, given: object) -> None:
    path = bundle / "contract.json"
    path.write_text(json.dumps({**read_json(path), "format": given}), encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        read_contract(bundle)
    assert f"format {given!r}" in str(caught.value)
    assert f"reads format {FORMAT}" in str(caught.value)


def test_a_folder_without_a_contract_is_no_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no contract\.json"):
            read_contract(folder)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_contract_is_an_error_of_the_bundle(bundle: Path, content: str) -> None:
    (bundle / "contract.json").write_text(content, encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        read_contract(bundle)
    assert str(bundle / "contract.json") in str(caught.value)


def make_facts(**changed: Any) -> BundleFacts:
    facts: dict[str, Any] = {
        "study": "shapes",
        "stage": "cnn-tuned",
        "family": "cnn",
        "params": {"learning_rate": 0.001},
        "image_shape": (32, 24, 3),
        "class_names": ("cat", 'dog: "big"', "Käfer"),
        "source": "folder",
        "data_fingerprint": "a" * 64,
        "validation": {"accuracy": 0.9, "loss": 0.3, "num_images": 50},
        "test": {
            "accuracy": 0.875,
            "loss": 0.40004,
            "num_images": 40,
            "accuracy_interval": [0.74, 0.945],
        },
        "num_parameters": 12345,
        "provenance": {
            "burnish": "0.1.0",
            "keras": "3.15.1",
            "tensorflow": "2.20.0",
            "study_seed": 42,
        },
    }
    return BundleFacts(**{**facts, **changed})


def write_some_bundle(folder: Path) -> Path:
    source = folder.with_name("source.keras")
    source.write_bytes(b"weights")
    write_bundle(folder, source, make_facts())
    return folder


def test_the_cards_front_matter_is_yaml_that_a_hub_can_read(tmp_path: Path) -> None:
    card = (write_some_bundle(tmp_path / "model") / "README.md").read_text(encoding="utf-8")
    opening, front, text = card.split("---\n", 2)
    assert opening == ""
    # Each line is a key and a JSON value, which is YAML.
    values = {}
    for line in front.splitlines():
        key, _, value = line.partition(": ")
        values[key] = json.loads(value)
    assert set(values) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert values["library_name"] == "keras"
    assert values["pipeline_tag"] == "image-classification"
    assert values["tags"] == ["burnish", "cnn"]
    (entry,) = values["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "shapes"
    assert result["dataset"]["split"] == "test"
    assert result["metrics"] == [
        {"type": "accuracy", "value": 0.875},
        {"type": "loss", "value": 0.4},
    ]
    assert text.startswith("# shapes")


def test_the_card_tells_people_what_the_model_is_and_what_it_is_worth(tmp_path: Path) -> None:
    card = (write_some_bundle(tmp_path / "model") / "README.md").read_text(encoding="utf-8")
    for part in (
        "12,345 weights",
        "stage `cnn-tuned`",
        "32x24x3",
        '3 classes: "cat", "dog: \\"big\\"", "Käfer"',
        "| validation | 50 | 90.00% | 0.3000 |",
        "| test | 40 | 87.50% | 0.4000 |",
        "74.00% to 94.50%",
        "np.zeros((1, 32, 24, 3)",
        "| learning_rate | 0.001 |",
        "seed 42",
    ):
        assert part in card


def test_color_images_are_said_to_be_in_color(tmp_path: Path) -> None:
    assert read_contract(write_some_bundle(tmp_path / "model"))["input"]["color"] == "rgb"


def test_a_bundle_that_could_not_be_written_whole_is_no_bundle(tmp_path: Path) -> None:
    folder = write_some_bundle(tmp_path / "model")
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    with pytest.raises(RunFolderError, match=r"cannot write .*README\.md"):
        write_some_bundle(folder)
    with pytest.raises(BundleError, match="is not a bundle"):
        read_contract(folder)


def test_a_bundle_is_written_over_one_that_was_there(tmp_path: Path) -> None:
    folder = write_some_bundle(tmp_path / "model")
    (tmp_path / "source.keras").write_bytes(b"others")
    write_bundle(folder, tmp_path / "source.keras", make_facts(study="other"))
    assert read_contract(folder)["study"] == "other"
    assert (folder / "model.keras").read_bytes() == b"others"


USE = """
import sys
sys.modules["burnish"] = None  # An import of it fails.
import numpy as np
import keras

model = keras.saving.load_model(sys.argv[1])
images = np.load(sys.argv[2])
assert images.dtype == np.uint8
probabilities = model.predict(images.astype("float32"), verbose=0)
np.save(sys.argv[3], probabilities)

# What the card says: run as it stands there, in the bundle's folder.
card = open("README.md", encoding="utf-8").read()
told = {}
exec(card.split("```python")[1].split("```")[0], told)
assert told["probabilities"].shape == (1, 10)
"""


def test_the_model_gives_the_same_probabilities_with_keras_alone(
    run: RunFolder, tmp_path: Path
) -> None:
    study, _ = parse_study(STUDY, "tiny")
    _, sealed = prepare(load_source("digits", None), study.data.split.sizes(), study.seed)
    images, probabilities = tmp_path / "images.npy", tmp_path / "probabilities.npy"
    np.save(images, sealed.open().images)
    paths = [str(path) for path in (run.model / "model.keras", images, probabilities)]
    command = [sys.executable, "-c", USE, *paths]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=run.model)
    expected = read_arrays(run.path / "stages" / "02-final" / "predictions.npz")["probabilities"]
    found = np.load(probabilities)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
