"""Weights from a file that PyTorch wrote before 2020, read without PyTorch and without trusting it.

Such a file is five pickles (a magic number, the protocol, the machine, the state dictionary, the
names of the storages), then each storage: its length as eight bytes, little-endian, and its values.
A pickle can run code. This reader resolves two functions' names, to functions of its own, and the
names of storages; a pickle that asks for anything else is refused.
"""

from __future__ import annotations

import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import StudyError
from burnish.files import hash_file

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: its storage's key, its first element, and steps between elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_weights(path: Path, sha256: str) -> Mapping[str, NDArray[Any]]:
    """Read the state dictionary of a file whose content is known.

    Parameters
    ----------
    path
        Of the file.
    sha256
        Its digest (hex), compared before a byte is unpickled.

    Returns
    -------
    Arrays of float32 or int64, by name.

    Raises
    ------
    StudyError
        If the content is another, or is no such file.
    """
    found = hash_file(path)
    if found != sha256:
        raise StudyError(
            f"{path} is not the file of weights that burnish knows: its SHA-256 is {found}, "
            f"expected {sha256}. Reinstall the package that it belongs to"
        )
    with path.open("rb") as file:
        try:
            return _read(file)
        except Exception as error:  # A damaged pickle fails in many ways; all mean the same.
            raise StudyError(f"{path} cannot be read as weights of PyTorch: {error}") from error


class _Unpickler(pickle.Unpickler):
    """Resolves what a state dictionary needs, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _rebuild_tensor(
    storage: tuple[Any, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    _kind, _dtype, key, _device, _size, _view = storage
    return _Tensor(str(key), int(offset), tuple(shape), tuple(strides))


def _read(file: BufferedReader) -> dict[str, NDArray[Any]]:
    load: Callable[[], Any] = lambda: _Unpickler(file).load()  # noqa: E731
    if load() != _MAGIC:
        raise pickle.UnpicklingError("its magic number is another")
    load(), load()
    reader = _StorageNotingUnpickler(file)
    tensors = reader.load()
    arrays = {key: _read_storage(file, reader.dtypes[key]) for key in load()}
    return {name: _take(arrays[t.storage], t) for name, t in tensors.items()}


class _StorageNotingUnpickler(_Unpickler):
    """Notes the type of each storage that the state dictionary names."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def persistent_load(self, pid: Any) -> Any:
        _kind, dtype, key, *_ = pid
        self.dtypes[str(key)] = dtype
        return pid


def _read_storage(file: BufferedReader, dtype: np.dtype[Any]) -> NDArray[Any]:
    (length,) = np.frombuffer(file.read(8), "<i8")
    num_bytes = int(length) * dtype.itemsize
    if not 0 <= num_bytes <= os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("it is cut off")
    return np.frombuffer(file.read(num_bytes), dtype)


def _take(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    """Return a tensor's values, which need not lie in its own order."""
    if math.prod(tensor.shape) > len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    places = np.full(tensor.shape, tensor.offset, np.intp)
    for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        steps = np.arange(length, dtype=np.intp) * stride
        places += steps.reshape(-1, *[1] * (len(tensor.shape) - axis - 1))
    if places.size and not 0 <= places.min() <= places.max() < len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    return storage[places]
