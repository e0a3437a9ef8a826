"""The contract of a bundle: what goes into a model, what comes out, the hash of every file.

Reading it checks all of it, so that whoever has one need not check again. Nothing heavy is
imported: what serves a model reads its contract first.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from burnish.errors import BundleError, RunFolderError
from burnish.files import hash_file, read_json
from burnish.image import Color, InputSpec, Recipe, Resize

FORMAT = 3
"""Version of the bundle's layout and contract."""

CONTRACT = "contract.json"
KERAS_MODEL = "model.keras"
ONNX_MODEL = "model.onnx"
CARD = "README.md"

MAX_FILE_BYTES = 512 * 2**20
"""Largest file of a bundle; networks of this kind have a few megabytes."""

MAX_CONTRACT_BYTES = 2**20
"""Largest contract: ten thousand class names fit."""

MAX_INPUT_VALUES = 4096 * 4096 * 3
"""Most values that one image may have at the model's input."""

MAX_CLASSES = 10_000
"""Most classes; the name of each stands in the contract."""

POLARITY = {"plain": "as given", "digit": "light ink on dark; dark ink on light is inverted"}
"""What each recipe does about light and dark, for people who read the contract."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
# Windows opens a device by such a name, whatever comes after a point.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def describe_input(spec: InputSpec) -> dict[str, Any]:
    """Lay out what a model takes, as the contract keeps it."""
    described = {
        "shape": list(spec.shape),
        "color": spec.color,
        "resize": spec.resize,
        "recipe": spec.recipe,
        "polarity": POLARITY[spec.recipe],
        "values": "0 to 255, as float32; scaling to 0-1 is inside the model",
    }
    return described if spec.range is None else described | {"range": list(spec.range)}


def read_input(contract: Mapping[str, Any]) -> InputSpec:
    """Return what a model takes, from a contract that was read."""
    given = contract["input"]
    height, width, _ = given["shape"]
    limits = given.get("range")  # Of images of more than 8 bits; data of 8 bits have none.
    range = None if limits is None else (float(limits[0]), float(limits[1]))
    return InputSpec(height, width, given["color"], given["resize"], given["recipe"], range)


def find_bundle(path: Path) -> Path:
    """Return the folder of a bundle: the path itself, or that of the run folder.

    Raises
    ------
    BundleError
        If neither is there.
    """
    if not path.is_dir():
        raise BundleError(
            f"there is no {path}: give a run folder, its folder model/, or a zip file of it"
        )
    if not (path / CONTRACT).exists() and (path / "model").is_dir():
        return path / "model"
    if not (path / CONTRACT).exists() and (path / "study.toml").exists():
        raise BundleError(
            f"the run {path} has no finished model yet: the same 'burnish run' again goes on, "
            "and a study needs a stage of kind 'final'"
        )
    return path


def read_contract(folder: Path) -> dict[str, Any]:
    """Read a bundle's contract, and check it and every file that it names.

    Raises
    ------
    BundleError
        If there is no contract, its format is unknown, an entry of it is missing or
        cannot be used, or a file is missing, too large or has changed since.
    """
    path = folder / CONTRACT
    if not path.is_file():
        raise BundleError(
            f"{folder} is not a bundle: it has no {CONTRACT}. Give a run folder, "
            "its folder model/, or a zip file of it"
        )
    _refuse_large(path, MAX_CONTRACT_BYTES)
    try:
        contract = read_json(path)
    except RunFolderError as error:
        raise BundleError(str(error)) from error
    check_contract(contract, folder)
    for name, expected in contract["sha256"].items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"{folder}: {name} is missing")
        _refuse_large(file, MAX_FILE_BYTES)
        _refuse_changed(folder, name, hash_file(file), expected)
    return contract


def read_file(folder: Path, contract: Mapping[str, Any], name: str) -> bytes:
    """Read one file of a bundle: what was checked is what is given.

    Raises
    ------
    BundleError
        If the bundle has no such file, or it has changed.
    """
    if name not in contract["sha256"]:
        raise BundleError(
            f"{folder} has no {name}, only {', '.join(sorted(contract['sha256']))}: "
            "the run that wrote it said why"
        )
    content = (folder / name).read_bytes()
    _refuse_changed(folder, name, hashlib.sha256(content).hexdigest(), contract["sha256"][name])
    return content


def find_keras_model(folder: Path, contract: Mapping[str, Any]) -> Path:
    """Return the file of the Keras model, which `read_contract` has checked.

    Raises
    ------
    BundleError
        If the contract does not have it: then nobody vouches for a file of that name.
    """
    if KERAS_MODEL not in contract["sha256"]:
        raise BundleError(
            f"{folder} has no {KERAS_MODEL}, only {', '.join(sorted(contract['sha256']))}"
        )
    return folder / KERAS_MODEL


def check_contract(contract: Mapping[str, Any], folder: Path) -> None:
    """Refuse a contract of another format, or with an entry that cannot be used.

    Raises
    ------
    BundleError
        Names the bundle, the entry, and what was expected.
    """
    if contract.get("format") != FORMAT:
        raise BundleError(
            f"{folder} is a bundle of format {contract.get('format')!r}; this burnish reads "
            f"format {FORMAT}. The same 'burnish run' again writes it anew"
        )
    entry = _Entries(contract, folder)
    entry.expect("study", _is_name, "a name of letters, digits, '.', '_' and '-'")
    entry.expect("study_fingerprint", _is_text, "a hash")
    entry.expect("input.color", get_args(Color).__contains__, f"one of {get_args(Color)}")
    entry.expect("input.resize", get_args(Resize).__contains__, f"one of {get_args(Resize)}")
    entry.expect("input.recipe", get_args(Recipe).__contains__, f"one of {get_args(Recipe)}")
    channels = 1 if contract["input"]["color"] == "grey" else 3
    entry.expect(
        "input.shape",
        lambda shape: _is_shape(shape, channels),
        f"height, width and {channels} channel{'s' if channels > 1 else ''}, "
        f"at most {MAX_INPUT_VALUES:,} values",
    )
    if "range" in contract["input"]:
        entry.expect("input.range", _is_range, "two numbers, the lower first")
    if contract["input"]["recipe"] == "digit" and channels != 1:
        raise BundleError(f"{folder}: the recipe 'digit' is for grey images, not for colour")
    entry.expect(
        "output.class_names",
        _are_class_names,
        f"from 2 to {MAX_CLASSES:,} different names that can be read",
    )
    entry.expect("data.source", _is_text, "a name")
    entry.expect("data.fingerprint", _is_text, "a hash")
    entry.expect("sha256", _are_hashes, "the hash of each file, by plain file names")


class _Entries:
    """Looks entries of a contract up by their dotted path, and says what is wrong with them."""

    def __init__(self, contract: Mapping[str, Any], folder: Path) -> None:
        self._contract = contract
        self._folder = folder

    def expect(self, path: str, fits: Any, expected: str) -> None:
        value: Any = self._contract
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise BundleError(f"{self._folder}: {CONTRACT} has no entry {path} ({expected})")
            value = value[key]
        try:
            good = fits(value)
        except TypeError:  # A list where a name is looked up, for example.
            good = False
        if not good:
            given = repr(value)
            given = given if len(given) <= 80 else given[:77] + "..."
            raise BundleError(
                f"{self._folder}: {path} in {CONTRACT} is {given}; expected {expected}"
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and is_safe_name(value)


def _is_shape(value: Any, channels: int) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in value):
        return False
    height, width, depth = value
    return bool(depth == channels and height * width * depth <= MAX_INPUT_VALUES)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        and -math.inf < value[0] < value[1] < math.inf
    )


def _are_class_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= MAX_CLASSES
        and all(isinstance(name, str) and name and name.isprintable() for name in value)
        and len(set(value)) == len(value)
    )


def _are_hashes(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(is_safe_name(name) and name.lower() != CONTRACT for name in value)
        and len({name.lower() for name in value}) == len(value)
        and all(isinstance(hash_, str) and _SHA256.fullmatch(hash_) for hash_ in value.values())
    )


def is_safe_name(name: str) -> bool:
    """Whether a name is that of a file right in the bundle's folder, on every system."""
    return _SAFE_NAME.fullmatch(name) is not None and _DEVICE.fullmatch(name) is None


def _refuse_large(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise BundleError(
            f"{path.parent}: {path.name} has {size:,} bytes; at most {most:,} are read"
        )


def _refuse_changed(folder: Path, name: str, found: str, expected: str) -> None:
    if found != expected:
        raise BundleError(f"{folder}: {name} has changed since the bundle was written")
