from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.bundle import FORMAT, hash_file, read_contract, write_bundle
from burnish.data import load_source, prepare
from burnish.errors import BundleError, RunFolderError
from burnish.files import write_json
from burnish.image import Color, InputSpec, Resize, convert, decode
from burnish.runfolder.predictions import read_predictions
from burnish.runfolder.store import RunFolder
from burnish.study.parse import parse_study

from . import STUDY, make_facts, read_json

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_contract_says_what_goes_in_and_what_comes_out(run: RunFolder) -> None:
    contract = read_contract(run.model)
    result = read_json(run.path / "stages" / "01-cnn" / "result.json")
    final = read_json(run.path / "stages" / "02-final" / "result.json")
    provenance = read_json(run.path / "provenance.json")
    assert contract["format"] == FORMAT
    assert (contract["study"], contract["stage"], contract["family"]) == ("tiny", "cnn", "cnn")
    assert contract["params"] == result["params"]
    assert contract["study_fingerprint"] == final["fingerprint"]
    assert contract["num_parameters"] == result["num_parameters"]
    assert contract["input"] == {
        "shape": [8, 8, 1],
        "color": "grey",
        "resize": "pad",
        "recipe": "digit",
        "polarity": "light ink on dark; dark ink on light is inverted",
        "values": "0 to 255, as float32; scaling to 0-1 is inside the model",
    }
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
    assert set(files) == {
        "model.keras",
        "model.onnx",
        "model.onnx.certificate.json",
        "README.md",
    }
    assert hash_file(run.model / "model.keras") == contract["sha256"]["model.keras"]


@pytest.mark.parametrize(
    "name", ["model.keras", "model.onnx", "model.onnx.certificate.json", "README.md"]
)
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
    write_json(path, {**read_json(path), "format": given})
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


def write_some_bundle(folder: Path) -> Path:
    source = folder.with_name("source.keras")
    source.write_bytes(b"weights")
    network = folder.with_name("model.onnx")
    network.write_bytes(b"network")
    write_bundle(folder, source, make_facts(), [network])
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
        "scaled to 32x24, keeping its aspect, on black",
        'burnish.load(".")',
        "np.zeros((1, 32, 24, 3)",
        "| learning_rate | 0.001 |",
        "seed 42",
    ):
        assert part in card


@pytest.mark.parametrize("color", ["grey", "rgb"])
@pytest.mark.parametrize("resize", ["pad", "stretch"])
def test_the_card_prepares_photographs_as_the_model_does(
    color: Color, resize: Resize, tmp_path: Path
) -> None:
    spec = InputSpec(12, 20, color, resize)
    source = tmp_path / "source.keras"
    source.write_bytes(b"weights")
    network = tmp_path / "model.onnx"
    network.write_bytes(b"network")
    write_bundle(tmp_path / "model", source, replace(make_facts(), spec=spec), [network])
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    (block,) = [part.split("```")[0] for part in card.split("```python") if "def prepare" in part]
    told: dict[str, Any] = {}
    exec(block, told)
    rng = np.random.default_rng(5)
    for number, size in enumerate(((97, 61), (40, 333), (20, 12), (9, 5), (800, 601))):
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        path = tmp_path / f"{number}.png"
        exif = image.getexif()
        exif[274] = 6  # Turned by a quarter.
        image.save(path, exif=exif)
        expected = convert(decode(path.read_bytes()), spec)
        np.testing.assert_array_equal(told["prepare"](path)[0], expected)


def test_the_card_of_a_bundle_without_a_network_speaks_of_keras_alone(tmp_path: Path) -> None:
    folder = write_some_bundle(tmp_path / "model")
    write_bundle(folder, folder / "model.keras", make_facts())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "onnx" not in card
    assert "burnish.load" not in card
    assert 'keras.saving.load_model("model.keras")' in card


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


def test_a_network_of_the_bundle_before_is_not_left_in_the_next(bundle: Path) -> None:
    write_bundle(bundle, bundle / "model.keras", make_facts())
    assert set(read_contract(bundle)["sha256"]) == {"model.keras", "README.md"}
    assert not (bundle / "model.onnx").exists()


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
_, *blocks = [part.split("```")[0] for part in card.split("```python")]
assert len(blocks) == 3
for block in blocks[1:]:
    told = {}
    exec(block, told)
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
    expected = read_predictions(run.path / "stages/02-final/predictions.parquet").probabilities
    found = np.load(probabilities)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
