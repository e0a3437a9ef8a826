"""Models and weights from files: looked through before Keras sees them, loaded in safe mode only.

    model = load_saved(Path("model.keras"))

A `.keras` file is a zip file of a description in JSON and of weights in HDF5. The description
names classes, which Keras looks up and calls; so it may name those of Keras alone, and what this
process has registered itself. HDF5 can point to other files and announce arrays of any size.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from burnish.backend import keras
from burnish.errors import BundleError, shorten

MAX_DESCRIPTION_BYTES = 2**25
"""Largest description of a network that is read; a hundred layers have a tenth of a megabyte."""

MAX_WEIGHTS_BYTES = 2**29
"""Largest file of weights that is read."""

MAX_OBJECTS = 100_000
"""Most groups and arrays in a file of weights."""

_MEMBERS = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_RUNS_CODE = frozenset(
    {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)
_INNER_SIGNS = frozenset({"class_name", "module", "registered_name"})


def load_saved(path: Path) -> Any:
    """Load a model that `burnish` or Keras has saved; it cannot run code of its own.

    Parameters
    ----------
    path
        Of a `.keras` file.

    Raises
    ------
    BundleError
        If it is of another format, damaged, too large, or has layers that run code or are
        neither Keras's nor registered here.
    """
    if path.suffix != ".keras":
        raise BundleError(
            f"{path}: models are read from .keras files alone; HDF5 and pickles can hold code. "
            "Save it with model.save('model.keras') where you trust it"
        )
    try:
        _look_through(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # Keras, zipfile and h5py fail in many ways.
        said = shorten(" ".join(str(error).split()))
        raise BundleError(f"{path}: Keras cannot load it ({said})") from error


def refuse_unsafe_weights(path: Path) -> None:
    """Refuse a file of weights that is more than arrays of its own.

    Raises
    ------
    BundleError
        If it is no HDF5 file, holds a whole model, points to other files, or announces more than
        it has; the message does not name the file.
    """
    if path.suffix != ".h5":
        raise BundleError("is no .h5 file; weights are read from HDF5 alone, never from pickles")
    size = path.stat().st_size
    if size > MAX_WEIGHTS_BYTES:
        raise BundleError(f"has {size:,} bytes; at most {MAX_WEIGHTS_BYTES:,} are read")
    try:
        with h5py.File(path, "r") as file:
            if "model_config" in file.attrs:
                raise BundleError(
                    "holds a whole model, which can run code; expected its weights alone"
                )
            _look_through_arrays(file, size)
    except BundleError:
        raise
    except Exception as error:  # h5py's errors have no common base.
        raise BundleError(f"is no HDF5 file, or damaged ({shorten(str(error))})") from error


def _look_through(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if members.keys() != _MEMBERS or len(archive.infolist()) != len(_MEMBERS):
            found = shorten(", ".join(sorted(members)))
            raise BundleError(
                f"holds {found}; a .keras file of burnish holds {', '.join(sorted(_MEMBERS))}"
            )
        for name, member in members.items():
            most = MAX_WEIGHTS_BYTES if name.endswith(".h5") else MAX_DESCRIPTION_BYTES
            if member.file_size > most:
                raise BundleError(f"{name} in it has {member.file_size:,} bytes, at most {most:,}")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BundleError(f"{name} in it is packed in an unusual way")
        _refuse_foreign(json.loads(archive.read("config.json")))
        weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights), "r") as file:
        _look_through_arrays(file, len(weights))


def _refuse_foreign(description: Any) -> None:
    """Refuse a description that names classes from elsewhere than Keras."""
    waiting = [description]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        if not isinstance(value, dict):
            continue
        waiting += value.values()
        if not _INNER_SIGNS & value.keys():
            continue
        name = value.get("class_name")
        if name in _RUNS_CODE:
            raise BundleError(
                f"has a layer {shorten(repr(name))}, which runs code that the file brings along; "
                "it is not loaded"
            )
        module, registered = value.get("module"), value.get("registered_name")
        if module is None or (isinstance(module, str) and f"{module}.".startswith("keras.")):
            continue
        if isinstance(registered, str) and keras.saving.get_registered_object(registered):
            continue
        raise BundleError(
            f"names {shorten(f'{module}.{name}')}, which is not Keras's, and registered nowhere "
            "here. Import the plug-in that registers it, if you trust it"
        )


def _look_through_arrays(file: Any, size: int) -> None:
    """Refuse links to other files, arrays that lie in them, and those that a file cannot hold."""
    announced = 0
    for name, item in _walk(file):
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external is not None or item.is_virtual:
            raise BundleError(f"keeps the array {shorten(name)} in another file")
        if item.dtype.hasobject and h5py.check_string_dtype(item.dtype) is None:
            raise BundleError(f"holds objects instead of numbers in {shorten(name)}")
        announced += item.size * item.dtype.itemsize if item.size else 0
        # Keras packs no weights; an array that nothing was written to has no bytes at all.
        if announced > max(2**24, 20 * size):
            raise BundleError(f"announces {announced:,} bytes of weights in {size:,}")


def _walk(file: Any) -> Iterator[tuple[str, Any]]:
    waiting, left = [("", file)], MAX_OBJECTS
    while waiting:
        path, group = waiting.pop()
        for name in group:
            left -= 1
            if left < 0:
                raise BundleError(f"has more than {MAX_OBJECTS:,} arrays and groups")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BundleError(f"has a link {shorten(f'{path}/{name}')} to elsewhere")
            item = group[name]
            yield f"{path}/{name}", item
            if isinstance(item, h5py.Group):
                waiting.append((f"{path}/{name}", item))
