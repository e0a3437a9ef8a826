"""Splits and data sets of what the frozen part of a network made of images."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.data.split import ALIGNMENT
from burnish.errors import DataError


def test_a_split_of_what_a_network_gave_has_its_type_everywhere(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(6, 2, 1, 3)).astype(np.float16)
    labels = np.arange(6, dtype=np.int32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for split, expected in (
        (Split(rows, labels), rows),
        (Split(mapped, labels), rows),
        (Split(mapped[2:], labels[2:]), rows[2:]),
        (Split(mapped, labels).take([5, 1]), rows[[5, 1]]),
    ):
        again = pickle.loads(pickle.dumps(split))
        for found in (split.images, split.as_dlpack(), again.images, split.read(slice(None))):
            assert found.dtype == np.float16
            np.testing.assert_array_equal(found, expected)
        assert split.dtype == again.dtype == np.float16
        assert split.num_bytes == expected.nbytes
        assert split.as_dlpack().ctypes.data % ALIGNMENT == 0
    with pytest.raises(DataError, match="uint8"):
        Split(rows.astype(np.float32), labels)


def test_views_are_rows_one_after_another() -> None:
    rows = np.arange(24, dtype=np.float16).reshape(12, 1, 1, 2)
    labels = np.repeat(np.array([0, 1, 0, 1], np.int32), 3)
    train = Split(rows, labels)
    val = Split(rows[:2], np.array([0, 1], np.int32))
    data = Dataset("made", train, val, ("a", "b"), "made", views=3, frozen="made")
    assert (data.num_train, data.train_labels.tolist()) == (4, [0, 1, 0, 1])
    taken = data.take_views(np.array([2, 0]))
    np.testing.assert_array_equal(taken.images, rows[[6, 7, 8, 0, 1, 2]])
    assert taken.labels.tolist() == [0] * 6
    with pytest.raises(DataError, match="got 4 training images and 12 blocks"):
        dataclasses.replace(data, blocks=np.arange(12))
    assert len(dataclasses.replace(data, blocks=np.arange(4)).train) == 12
