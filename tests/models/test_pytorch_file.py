from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from burnish.errors import StudyError
from burnish.models.pytorch_file import read_weights

MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    """Numbers that tensors are views of."""

    def __init__(self, key: str, values: NDArray[Any]) -> None:
        self.key, self.values = key, values


class Tensor:
    """A view of a storage, pickled as PyTorch did."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.rebuilt_from: tuple[Any, ...] = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.rebuilt_from


class Pickler(pickle.Pickler):
    def persistent_id(self, given: Any) -> Any:
        if not isinstance(given, Storage):
            return None
        name = {"f4": "FloatStorage", "i8": "LongStorage", "f8": "DoubleStorage"}
        kind = getattr(sys.modules["torch"], name[given.values.dtype.str[1:]])
        return "storage", kind, given.key, "cpu", len(given.values), None


Write = Callable[[Any, tuple[Storage, ...]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files as PyTorch did, with modules of its names that hold just those names."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "DoubleStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild() -> None:
        """Never called: its name alone is written."""

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]

    def write(tensors: Any, storages: tuple[Storage, ...]) -> Path:
        buffer = io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "torch", torch)
            patched.setitem(sys.modules, "torch._utils", utils)
            keys = [storage.key for storage in storages]
            for part in (MAGIC, 1001, {"little_endian": True}, tensors, keys):
                Pickler(buffer, 2).dump(part)
        for storage in storages:
            buffer.write(len(storage.values).to_bytes(8, "little"))
            buffer.write(storage.values.tobytes())
        path = tmp_path / "weights.pth"
        path.write_bytes(buffer.getvalue())
        return path

    return write


def read(path: Path) -> Mapping[str, NDArray[Any]]:
    """Read a file as if its content were known."""
    return read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest())


def make_floats(count: int = 24) -> Storage:
    return Storage("a", np.arange(count, dtype="<f4") / 7)


def test_tensors_come_back_whatever_view_of_a_storage_they_are(write: Write) -> None:
    floats = make_floats()
    steps = Storage("b", np.array([2**40], "<i8"))
    path = write(
        OrderedDict(
            whole=Tensor(floats, 0, (2, 3, 4), (12, 4, 1)),
            turned=Tensor(floats, 0, (4, 6), (1, 4)),
            row=Tensor(floats, 20, (4,), (1,)),
            number=Tensor(steps, 0, (), ()),
            nothing=Tensor(floats, 24, (0, 3), (3, 1)),
        ),
        (floats, steps),
    )
    found = read(path)
    assert list(found) == ["whole", "turned", "row", "number", "nothing"]
    np.testing.assert_array_equal(found["whole"], floats.values.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["turned"], floats.values.reshape(6, 4).T)
    np.testing.assert_array_equal(found["row"], floats.values[20:])
    assert found["number"] == 2**40
    assert found["nothing"].shape == (0, 3)
    assert found["whole"].dtype == np.float32
    assert found["number"].dtype == np.int64


def test_content_that_is_not_known_is_refused_before_anything_is_unpickled(
    write: Write, tmp_path: Path
) -> None:
    path = write(Evil(tmp_path / "ran"), ())
    with pytest.raises(StudyError, match=r"SHA-256 is [0-9a-f]{64}, expected 0{64}\. Reinstall"):
        read_weights(path, "0" * 64)
    assert not (tmp_path / "ran").exists()


class Evil:
    """Runs a command where it is unpickled by whoever trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def test_a_pickle_that_names_a_command_is_refused_even_where_its_content_is_known(
    write: Write, tmp_path: Path
) -> None:
    target = tmp_path / "ran"
    path = write(Evil(target), ())
    with pytest.raises(StudyError, match=rf"asks for {os.name}\.system"):
        read(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Evil(target)))
    assert target.exists(), "the pickle is harmless: this shows nothing"


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(21, (4,), (1,)), (0, (25,), (1,)), (0, (5, 5), (5, 1)), (-1, (2,), (1,)), (3, (2,), (-4,))],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(
    write: Write, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    floats = make_floats()
    path = write({"weight": Tensor(floats, offset, shape, strides)}, (floats,))
    with pytest.raises(StudyError, match="a tensor reaches beyond its storage"):
        read(path)


def test_other_types_of_numbers_are_refused(write: Write) -> None:
    doubles = Storage("a", np.zeros(3))
    path = write({"weight": Tensor(doubles, 0, (3,), (1,))}, (doubles,))
    with pytest.raises(StudyError, match=r"asks for torch\.DoubleStorage"):
        read(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (b"", b"PK\x03\x04 as PyTorch writes since 2020", pickle.dumps(7), b"\x80"):
        path.write_bytes(content)
        with pytest.raises(StudyError, match="cannot be read as weights of PyTorch"):
            read(path)


def test_a_file_that_is_cut_off_anywhere_is_refused(write: Write) -> None:
    floats = make_floats()
    path = write({"weight": Tensor(floats, 0, (24,), (1,))}, (floats,))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(StudyError, match="cannot be read as weights of PyTorch"):
            read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(place=st.integers(0), value=st.integers(0, 255))
def test_a_file_with_any_other_byte_is_read_or_refused(
    write: Write, place: int, value: int
) -> None:
    floats = make_floats()
    path = write({"weight": Tensor(floats, 0, (24,), (1,))}, (floats,))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    try:
        found = read(path)
    except StudyError:
        return
    assert all(array.dtype in (np.float32, np.int64) for array in found.values())
