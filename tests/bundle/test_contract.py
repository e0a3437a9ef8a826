"""What a contract may not say, and files that a bundle may not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.bundle import contract as module
from burnish.bundle import read_contract
from burnish.bundle.contract import find_bundle, read_file, read_input
from burnish.errors import BundleError
from burnish.files import write_json
from burnish.image import InputSpec
from burnish.runfolder.store import RunFolder

from . import read_json


def put(bundle: Path, path: str, value: Any) -> None:
    """Change one entry of a bundle's contract; ``None`` removes it."""
    content = read_json(bundle / "contract.json")
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    write_json(bundle / "contract.json", content)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("input", None, "has no entry input.color"),
        ("input.shape", None, "has no entry input.shape (height, width and 1 channel"),
        ("input.shape", [8, 8], "input.shape in contract.json is [8, 8]; expected height, width"),
        ("input.shape", [8, 8, 3], "is [8, 8, 3]; expected height, width and 1 channel"),
        ("input.shape", [8, 0, 1], "is [8, 0, 1]"),
        ("input.shape", [8, True, 1], "is [8, True, 1]"),
        ("input.shape", [8.0, 8, 1], "is [8.0, 8, 1]"),
        ("input.shape", [100_000, 100_000, 1], "at most 50,331,648 values"),
        ("input.color", "blue", "is 'blue'; expected one of ('grey', 'rgb')"),
        ("input.color", ["grey"], "is ['grey']; expected one of"),
        ("input.color", "rgb", "3 channels"),
        ("input.recipe", "magic", "is 'magic'; expected one of ('plain', 'digit')"),
        ("input.resize", 3, "is 3; expected one of ('pad', 'stretch')"),
        ("output.class_names", ["one"], "from 2 to 10,000 different names"),
        ("output.class_names", ["a", "a"], "different names"),
        ("output.class_names", ["a", 3], "different names"),
        ("output.class_names", ["a"] * 20_000, "different names"),
        ("output.class_names", ["cat\x1b[2J", "dog"], "that can be read"),
        ("output.class_names", ["\ud800", "dog"], "that can be read"),
        ("output.class_names", ["", "dog"], "that can be read"),
        ("output", "x", "has no entry output.class_names"),
        ("study", "", "study in contract.json is ''"),
        ("study", "../escaped", "a name of letters, digits"),
        ("sha256", {}, "the hash of each file"),
        ("sha256", {"../model.onnx": "0" * 64}, "plain file names"),
        ("sha256", {"/etc/passwd": "0" * 64}, "plain file names"),
        ("sha256", {"a\\b": "0" * 64}, "plain file names"),
        ("sha256", {"model.onnx": "0"}, "the hash of each file"),
        ("sha256", {"contract.json": "0" * 64}, "the hash of each file"),
        ("sha256", {"Contract.json": "0" * 64}, "the hash of each file"),
        ("sha256", {"nul.onnx": "0" * 64}, "plain file names"),
        ("sha256", {"model.onnx.": "0" * 64}, "plain file names"),
        ("sha256", {"a": "0" * 64, "A": "0" * 64}, "plain file names"),
        ("data", None, "has no entry data.source"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(
    bundle: Path, path: str, value: Any, told: str
) -> None:
    put(bundle, path, value)
    with pytest.raises(BundleError) as caught:
        read_contract(bundle)
    assert str(caught.value).startswith(f"{bundle}: ")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_recipe_for_digits_is_not_for_colour(bundle: Path) -> None:
    put(bundle, "input.color", "rgb")
    put(bundle, "input.shape", [8, 8, 3])
    with pytest.raises(BundleError, match="for grey images"):
        read_contract(bundle)


@pytest.mark.parametrize("name", ["contract.json", "model.onnx"])
def test_an_over_large_file_is_refused_before_it_is_read(bundle: Path, name: str) -> None:
    most = module.MAX_CONTRACT_BYTES if name == "contract.json" else module.MAX_FILE_BYTES
    with (bundle / name).open("r+b") as file:
        file.truncate(most + 1)  # Sparse: it takes no disk.
    with pytest.raises(BundleError, match=rf"{name} has {most + 1:,} bytes; at most {most:,}"):
        read_contract(bundle)


def test_what_a_model_takes_comes_back_as_it_was_written(run: RunFolder) -> None:
    contract = read_contract(run.model)
    assert read_input(contract) == InputSpec(8, 8, "grey", recipe="digit")


def test_a_file_that_changes_between_check_and_use_is_refused(bundle: Path) -> None:
    contract = read_contract(bundle)
    content = read_file(bundle, contract, "model.onnx")
    (bundle / "model.onnx").write_bytes(content + b" ")
    with pytest.raises(BundleError, match=r"model\.onnx has changed"):
        read_file(bundle, contract, "model.onnx")
    with pytest.raises(BundleError, match=r"has no model\.tflite, only README\.md, model"):
        read_file(bundle, contract, "model.tflite")


def test_a_bundle_is_found_in_its_run_and_as_itself(run: RunFolder, tmp_path: Path) -> None:
    assert find_bundle(run.path) == run.model
    assert find_bundle(run.model) == run.model
    with pytest.raises(BundleError, match=r"there is no .*absent: give a run folder"):
        find_bundle(tmp_path / "absent")
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(BundleError, match="has no finished model yet: the same 'burnish run'"):
        find_bundle(tmp_path)
