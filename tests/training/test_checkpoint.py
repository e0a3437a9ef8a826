from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.errors import RunFolderError
from burnish.files import write_sealed
from burnish.space import Params
from burnish.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from burnish.training.request import Epoch, FitRequest, TrainingSettings

IDENTITY: dict[str, Any] = {"model": "fnn", "params": {"learning_rate": 0.1}, "seed": 3}


def make_checkpoint() -> Checkpoint:
    generator = np.random.default_rng(0)
    # More than ten, of the kinds that models and optimizers have.
    variables: list[NDArray[Any]] = [
        generator.normal(0, 1, (number + 1, 3)).astype(np.float32) for number in range(12)
    ]
    variables += [
        np.asarray(7, np.int64),
        np.array([1, 2**32 - 1], np.uint32),
        np.asarray(np.float32(0.1)),
        np.array([np.nan, -0.0, np.float32(1e-45)], np.float32),
    ]
    history = (
        Epoch(1.0, 0.1 + 0.2, 0.9, 1 / 3, 0.91, 0.001, 1.25),
        Epoch(1.5, 5e-324, 1.0, 2 / 3, 0.92, 1e-7, 0.1),
    )
    return Checkpoint(
        cycle_start=10,
        step=15,
        variables=tuple(variables),
        best_weights=tuple(variables[:3]),
        history=history,
        seconds=1.35,
    )


def make_empty(step: int) -> Checkpoint:
    return Checkpoint(
        cycle_start=0, step=step, variables=(), best_weights=(), history=(), seconds=0.0
    )


def assert_same_bits(arrays: tuple[NDArray[Any], ...], expected: tuple[NDArray[Any], ...]) -> None:
    assert len(arrays) == len(expected)
    for array, wanted in zip(arrays, expected, strict=True):
        assert array.dtype == wanted.dtype
        assert array.shape == wanted.shape
        assert array.tobytes() == wanted.tobytes()


def test_a_checkpoint_comes_back_to_the_bit_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "checkpoint.npz"
    saved = make_checkpoint()
    save_checkpoint(path, saved, IDENTITY)
    found = load_checkpoint(path, IDENTITY)
    assert found is not None
    assert (found.cycle_start, found.step, found.seconds) == (10, 15, 1.35)
    assert found.history == saved.history
    assert_same_bits(found.variables, saved.variables)
    assert_same_bits(found.best_weights, saved.best_weights)
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.npz"]


def test_a_checkpoint_without_an_epoch_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make_empty(0), IDENTITY)
    found = load_checkpoint(path, IDENTITY)
    assert found is not None
    assert (found.best_weights, found.history) == ((), ())


def test_the_last_checkpoint_stands(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make_checkpoint(), IDENTITY)
    save_checkpoint(path, make_empty(20), IDENTITY)
    found = load_checkpoint(path, IDENTITY)
    assert found is not None
    assert (found.step, found.variables) == (20, ())


def test_where_there_is_no_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.npz", IDENTITY) is None


@pytest.mark.parametrize(
    "other",
    [
        {**IDENTITY, "seed": 4},
        {**IDENTITY, "model": "cnn"},
        {**IDENTITY, "params": {"learning_rate": 0.2}},
        {**IDENTITY, "more": 1},
        {"seed": 3},
        {},
    ],
)
def test_a_checkpoint_of_another_fit_is_none(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make_checkpoint(), IDENTITY)
    assert load_checkpoint(path, other) is None
    assert load_checkpoint(path, IDENTITY) is not None


def test_the_identity_of_a_request_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    settings = TrainingSettings(max_epochs=0.1 + 0.2, learning_rate_schedule="one-cycle")
    params: Params = {"learning_rate": 1 / 3, "units": 3, "on": True, "kind": "a"}
    request = FitRequest("fnn", params, settings, seed=2**31, checkpoint=path)
    save_checkpoint(path, make_checkpoint(), request.identity())
    moved = FitRequest("fnn", params, settings, seed=2**31, checkpoint=tmp_path / "elsewhere")
    assert load_checkpoint(path, moved.identity()) is not None
    for other in (
        FitRequest("fnn", {**params, "units": 4}, settings, seed=2**31),
        FitRequest("fnn", params, TrainingSettings(), seed=2**31),
        FitRequest("fnn", params, settings, seed=1),
        FitRequest("cnn", params, settings, seed=2**31),
    ):
        assert load_checkpoint(path, other.identity()) is None


def test_with_any_budget_the_epochs_alone_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    params: Params = {"learning_rate": 0.1}
    small = FitRequest("fnn", params, TrainingSettings(max_epochs=1), seed=3)
    save_checkpoint(path, make_checkpoint(), small.identity())
    large = FitRequest("fnn", params, TrainingSettings(max_epochs=9), seed=3)
    assert load_checkpoint(path, large.identity()) is None
    assert load_checkpoint(path, large.identity(), any_budget=True) is not None
    for other in (
        FitRequest("fnn", params, TrainingSettings(max_epochs=9), seed=4),
        FitRequest("fnn", params, TrainingSettings(max_epochs=9, batch_size=1), seed=3),
    ):
        assert load_checkpoint(path, other.identity(), any_budget=True) is None


@pytest.mark.parametrize("kept", [0, 1, 50, 400, 0.25, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused_by_name(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make_checkpoint(), IDENTITY)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(RunFolderError) as caught:
        load_checkpoint(path, IDENTITY)
    assert f"the checkpoint {path} is damaged" in str(caught.value)


def test_a_flipped_bit_in_any_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, make_checkpoint(), IDENTITY)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    assert len(entries) == 1 + 16 + 3
    for entry in entries:
        # The last byte of the entry's data: 30 bytes of header, the name, an extra field.
        names = int.from_bytes(content[entry.header_offset + 26 :][:2], "little")
        extra = int.from_bytes(content[entry.header_offset + 28 :][:2], "little")
        place = entry.header_offset + 30 + names + extra + entry.compress_size - 1
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(RunFolderError, match="is damaged"):
            load_checkpoint(path, IDENTITY)


def test_a_checkpoint_with_pickled_objects_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    counts = {"cycle_start": 0, "step": 1, "seconds": 0.0}
    meta = {"identity": IDENTITY, "history": [], **counts}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        variable_0=np.array([{"a": 1}], dtype=object),
    )
    write_sealed(path, buffer.getvalue())
    with pytest.raises(RunFolderError, match=r"is damaged .*allow_pickle"):
        load_checkpoint(path, IDENTITY)


@pytest.mark.parametrize("meta", ["{}", "[]", "no json", '{"identity": {}}'])
def test_a_checkpoint_that_says_too_little_is_refused(tmp_path: Path, meta: str) -> None:
    path = tmp_path / "checkpoint.npz"
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.frombuffer(meta.encode(), np.uint8))
    write_sealed(path, buffer.getvalue())
    with pytest.raises(RunFolderError, match="is damaged"):
        load_checkpoint(path, {})
