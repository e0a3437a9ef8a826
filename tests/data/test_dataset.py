from __future__ import annotations

import copy
import dataclasses
import mmap
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from burnish.data import Dataset, LabelledImages, SealedTest, Split, SplitSizes, prepare
from burnish.data.split import ALIGNMENT
from burnish.errors import DataError


def make_split(class_counts: list[int], shuffle: bool = True) -> Split:
    """Make images of which each holds its own number, so that a cut can be followed."""
    labels = np.repeat(np.arange(len(class_counts), dtype=np.int32), class_counts)
    if shuffle:
        np.random.default_rng(0).shuffle(labels)
    numbers = np.arange(len(labels), dtype="<u4")
    images = numbers.view(np.uint8).reshape(-1, 2, 2, 1).copy()
    return Split(images, labels)


def make_raw(class_counts: list[int], test: Split | None = None) -> LabelledImages:
    names = tuple(f"c{i}" for i in range(len(class_counts)))
    return LabelledImages("made", make_split(class_counts), test, names)


def numbers_of(split: Split) -> NDArray[np.uint32]:
    return split.images.reshape(-1).view("<u4")


def test_split_keeps_the_memory_and_makes_it_read_only() -> None:
    images = np.zeros((3, 4, 5, 1), np.uint8)
    labels = np.array([0, 1, 0], np.int32)
    split = Split(images, labels)
    assert len(split) == 3
    assert np.shares_memory(split.images, images)
    assert np.shares_memory(split.labels, labels)
    with pytest.raises(ValueError, match="read-only"):
        split.images[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.images = images  # type: ignore[misc]
    assert images.flags.writeable
    assert repr(split) == "Split(3 images, 4x5x1)"


def test_split_copies_only_what_is_not_contiguous() -> None:
    images = np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1))
    split = Split(images, np.zeros(2, np.int32))
    assert split.images.flags.c_contiguous
    np.testing.assert_array_equal(split.images, images)


def test_split_stays_read_only_across_a_pickle() -> None:
    split = make_split([3, 3])
    again = pickle.loads(pickle.dumps(split))
    np.testing.assert_array_equal(again.images, split.images)
    np.testing.assert_array_equal(again.labels, split.labels)
    assert not again.images.flags.writeable
    assert not again.labels.flags.writeable


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3, 1)), np.zeros(2, np.int32), r"images has dtype float64.*uint8 array"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int32), r"shape \(2, 3, 3\).*channels"),
        ([[0]], np.zeros(1, np.int32), "images is a list"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(2, np.int64), r"int64.*astype\(np.int32\)"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros((2, 1), np.int32), r"labels has.*\(2, 1\)"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, np.int32), "2 images and 3 labels"),
        (np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, np.int32), "at least one image"),
        (np.zeros((2, 3, 0, 1), np.uint8), np.zeros(2, np.int32), "at least one pixel"),
    ],
)
def test_split_refuses(images: object, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels)  # type: ignore[arg-type]


def test_rows_of_a_mapped_file_are_a_split_that_copies_nothing(tmp_path: Path) -> None:
    whole = np.arange(10 * 2 * 2, dtype=np.uint8).reshape(10, 2, 2, 1)
    np.save(tmp_path / "images.npy", whole)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.array([7, 0, 7], np.int64)
    split = Split(mapped, np.array([1, 0, 1], np.int32), rows)
    assert split.is_mapped
    assert (len(split), split.num_bytes, split.image_shape) == (3, 12, (2, 2, 1))
    np.testing.assert_array_equal(split.images, whole[rows])
    np.testing.assert_array_equal(split.read(np.array([[1, 2]])), whole[[[0, 7]]])

    taken = split.take([1, 0])
    assert np.shares_memory(taken.stored, mapped)
    np.testing.assert_array_equal(taken.images, whole[[0, 7]])
    np.testing.assert_array_equal(taken.labels, [0, 1])

    # Also of a part of a mapped array, which does not begin where the file does.
    for sent in (taken, Split(mapped[3:8], np.zeros(5, np.int32))):
        content = pickle.dumps(sent)
        assert whole.tobytes()[:12] not in content
        again = pickle.loads(content)
        assert again.is_mapped
        np.testing.assert_array_equal(again.images, sent.images)


def test_images_are_lent_to_tensors_without_a_copy_of_a_whole_mapped_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 1), np.uint8)
    labels = np.zeros(40, np.int32)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(40)[::-1].copy()
    whole, picked = Split(mapped, labels), Split(mapped, labels, rows)
    part, in_memory = Split(mapped[1:], labels[1:]), Split(images, labels)
    for split in (whole, picked, part, in_memory):
        lent = split.as_dlpack()
        assert lent.ctypes.data % ALIGNMENT == 0
        assert lent.flags.c_contiguous
        assert lent.flags.writeable
        np.testing.assert_array_equal(lent, split.images)
        is_file = any(isinstance(base, mmap.mmap) for base in list_bases(lent))
        assert is_file is (split is whole)
        # What should not be written reaches nobody else.
        lent[0] += 1
        np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), images)
        assert not np.array_equal(lent, split.images)


def list_bases(array: Any) -> list[Any]:
    base = getattr(array, "base", None)
    return [] if base is None else [base, *list_bases(base)]


def test_rows_must_lie_in_the_file() -> None:
    images = np.zeros((3, 2, 2, 1), np.uint8)
    with pytest.raises(DataError, match="rows go from 0 to 3; expected 0 to 2"):
        Split(images, np.zeros(2, np.int32), np.array([0, 3], np.int64))


def test_take_gives_images_in_the_order_asked_for() -> None:
    split = make_split([4, 4])
    taken = split.take([5, 0, 5])
    assert numbers_of(taken).tolist() == [5, 0, 5]
    assert taken.labels.tolist() == [split.labels[5], split.labels[0], split.labels[5]]
    assert not taken.images.flags.writeable
    with pytest.raises(IndexError):
        split.take([8])
    with pytest.raises(IndexError, match="float64"):
        split.take([0.0])  # type: ignore[list-item]
    with pytest.raises(IndexError, match="bool"):
        split.take([True, False])
    with pytest.raises(DataError, match="no images"):
        split.take([])


@pytest.mark.parametrize(
    ("shift", "class_names", "message"),
    [
        (0, ("a",), r"has 1 classes \(a\); a classifier needs at least two"),
        (0, ("a", "b", "a"), "two classes 'a'"),
        (1, ("a", "b"), "labels of test go from 1 to 2; expected 0 to 1, for 2 classes"),
        (-1, ("a", "b"), "labels of test go from -1 to 0"),
    ],
)
def test_labelled_images_refuse(shift: int, class_names: tuple[str, ...], message: str) -> None:
    split = make_split([2, 2])
    test = Split(split.images, split.labels + np.int32(shift))
    with pytest.raises(DataError, match=message):
        LabelledImages("made", split, test, class_names)


def test_images_of_two_shapes_are_refused() -> None:
    other = Split(np.zeros((2, 3, 2, 1), np.uint8), np.zeros(2, np.int32))
    with pytest.raises(DataError, match="train 2x2x1, test 3x2x1"):
        make_raw([2, 2], test=other)
    split = make_split([2, 2])
    with pytest.raises(DataError, match="train 2x2x1, val 3x2x1"):
        Dataset("made", split, other, ("a", "b"), "0")


def test_prepare_gives_exact_sizes_that_are_disjoint_and_stratified() -> None:
    class_counts = [123, 77, 300, 41, 59]
    raw = make_raw(class_counts)
    dataset, sealed = prepare(raw, SplitSizes(train=401, val=97, test=61), seed=7)
    test = sealed.open()
    assert (len(dataset.train), len(dataset.val), len(test), sealed.num_images) == (401, 97, 61, 61)
    parts = [numbers_of(split) for split in (dataset.train, dataset.val, test)]
    everything = np.concatenate(parts)
    assert len(np.unique(everything)) == len(everything) == 559
    for split in (dataset.train, dataset.val, test):
        # Every image still has its own label.
        np.testing.assert_array_equal(split.labels, raw.train.labels[numbers_of(split)])
        exact = len(split) * np.array(class_counts) / sum(class_counts)
        assert np.all(np.abs(np.bincount(split.labels) - exact) < 1)
    assert dataset.image_shape == (2, 2, 1)
    assert dataset.num_classes == 5
    assert dataset.class_names == raw.class_names
    assert dataset.source == "made"


def test_prepare_uses_every_image_where_the_sizes_say_so() -> None:
    raw = make_raw([50, 31, 19])
    dataset, sealed = prepare(raw, SplitSizes(train=0.6, val=0.2, test=0.2), seed=0)
    parts = [numbers_of(split) for split in (dataset.train, dataset.val, sealed.open())]
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))


def test_the_source_s_own_test_split_is_sealed_whole() -> None:
    own = make_split([5, 5])
    dataset, sealed = prepare(make_raw([20, 20], test=own), SplitSizes(train=30, val=10), seed=1)
    assert sealed.open() is own
    assert len(dataset.train) + len(dataset.val) == 40
    with pytest.raises(DataError, match=r"test = 0\.2, but source 'made' brings its own 10 test"):
        prepare(make_raw([20, 20], test=own), SplitSizes(20, 10, 0.2), seed=1)
    with pytest.raises(DataError, match="has no test images of its own"):
        prepare(make_raw([20, 20]), SplitSizes(20, 10), seed=1)


def test_images_within_a_split_are_not_sorted_by_class() -> None:
    raw = LabelledImages("made", make_split([100, 100], shuffle=False), None, ("a", "b"))
    dataset, _ = prepare(raw, SplitSizes(100, 50, 50), seed=3)
    assert 30 < np.bincount(dataset.train.labels[:100], minlength=2)[0] < 70
    assert np.count_nonzero(np.diff(dataset.train.labels)) > 20


def test_the_seed_decides_the_split() -> None:
    raw, sizes = make_raw([60, 40]), SplitSizes(60, 20, 20)
    first, first_test = prepare(raw, sizes, seed=5)
    np.random.default_rng(1).random()
    same, same_test = prepare(make_raw([60, 40]), sizes, seed=5)
    other, _ = prepare(raw, sizes, seed=6)
    for one, two in (
        (first.train, same.train),
        (first.val, same.val),
        (first_test.open(), same_test.open()),
    ):
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
    assert first.fingerprint == same.fingerprint
    assert first.fingerprint != other.fingerprint
    assert set(numbers_of(first.val).tolist()) != set(numbers_of(other.val).tolist())


def test_the_split_is_the_same_in_every_version() -> None:
    # Written down once; if this fails, the studies of every user change their splits.
    dataset, sealed = prepare(make_raw([12, 8]), SplitSizes(12, 4, 4), seed=42)
    assert numbers_of(dataset.val).tolist() == [1, 16, 13, 3]
    assert numbers_of(sealed.open()).tolist() == [11, 19, 6, 0]
    assert dataset.fingerprint == "ee89f0bf0347090cab2a96dd5a90340fe9986e8583be2ad95158d9f969ea2d98"


def test_a_smaller_training_split_leaves_val_and_test_alone() -> None:
    raw = make_raw([50, 50])
    whole, whole_test = prepare(raw, SplitSizes(60, 20, 20), seed=0)
    part, part_test = prepare(raw, SplitSizes(30, 20, 20), seed=0)
    np.testing.assert_array_equal(whole.val.images, part.val.images)
    np.testing.assert_array_equal(whole_test.open().images, part_test.open().images)
    assert set(numbers_of(part.train).tolist()) < set(numbers_of(whole.train).tolist())


@pytest.mark.parametrize("place", ["train", "val", "test"])
def test_one_pixel_changes_the_fingerprint(place: str) -> None:
    raw, sizes = make_raw([30, 30]), SplitSizes(30, 15, 15)
    before, sealed = prepare(raw, sizes, seed=0)
    split = {"train": before.train, "val": before.val, "test": sealed.open()}[place]
    images = raw.train.images.copy()
    images[numbers_of(split)[3], 1, 1, 0] ^= 1
    changed = LabelledImages("made", Split(images, raw.train.labels), None, raw.class_names)
    after, _ = prepare(changed, sizes, seed=0)
    assert after.fingerprint != before.fingerprint


def test_class_names_and_shape_are_in_the_fingerprint() -> None:
    raw, sizes = make_raw([30, 30]), SplitSizes(30, 15, 15)
    renamed = LabelledImages("made", raw.train, None, ("c0", "other"))
    flat = Split(raw.train.images.reshape(-1, 1, 4, 1), raw.train.labels)
    reshaped = LabelledImages("made", flat, None, raw.class_names)
    prints = {prepare(one, sizes, seed=0)[0].fingerprint for one in (raw, renamed, reshaped)}
    assert len(prints) == 3
    assert all(len(one) == 64 for one in prints)


@pytest.mark.parametrize("size", [0, -1, 1.0, 0.0, 1.5, float("nan"), True, "10"])
def test_sizes_refuse(size: object) -> None:
    with pytest.raises(DataError, match=r"split: val = .*whole number.*or a fraction"):
        SplitSizes(train=10, val=size)  # type: ignore[arg-type]


def test_fractions_are_rounded_together() -> None:
    # Rounded one by one these are 1438 + 180 + 180 = 1798.
    assert SplitSizes(0.8, 0.1, 0.1).count(1797) == {"train": 1437, "val": 180, "test": 180}
    assert SplitSizes(0.7, 0.2, 0.1).count(10) == {"train": 7, "val": 2, "test": 1}
    assert SplitSizes(0.29, 0.5).count(100) == {"train": 29, "val": 50}
    assert SplitSizes(1000, 0.25).count(2000) == {"train": 1000, "val": 500}


def test_too_many_images_asked_for() -> None:
    with pytest.raises(DataError, match=r"train 90, val 20 is 110 images, and there are 100"):
        SplitSizes(90, 20).count(100)
    with pytest.raises(DataError, match=r"val 30 \(from 0\.3\) is 110 images"):
        SplitSizes(80, 0.3).count(100)
    with pytest.raises(DataError, match=r"val 0 \(from 0\.01\).*larger fraction"):
        SplitSizes(0.5, 0.01).count(10)


def test_a_class_too_small_for_every_split_is_named() -> None:
    with pytest.raises(DataError, match="class 'c1' has 2 images, and each of"):
        prepare(make_raw([50, 2, 50]), SplitSizes(50, 20, 20), seed=0)
    with pytest.raises(DataError, match="val is 2 images for 3 classes, so class 'c1'"):
        prepare(make_raw([50, 9, 50]), SplitSizes(50, 2, 20), seed=0)


def test_a_rare_class_is_in_every_split() -> None:
    raw = make_raw([500, 3, 497])
    dataset, sealed = prepare(raw, SplitSizes(800, 100, 100), seed=0)
    counts = [np.bincount(s.labels)[1] for s in (dataset.train, dataset.val, sealed.open())]
    assert counts == [1, 1, 1]
    assert len(dataset.train) == 800


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    class_counts=st.lists(st.integers(12, 90), min_size=2, max_size=12),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_every_cut_is_exact(class_counts: list[int], seed: int, data: st.DataObject) -> None:
    num_images, num_classes = sum(class_counts), len(class_counts)
    val = data.draw(st.integers(num_classes, num_images // 3), label="val")
    test = data.draw(st.integers(num_classes, num_images // 3), label="test")
    train = data.draw(st.integers(num_classes, num_images - val - test), label="train")
    dataset, sealed = prepare(make_raw(class_counts), SplitSizes(train, val, test), seed)
    splits = (dataset.train, dataset.val, sealed.open())
    assert [len(split) for split in splits] == [train, val, test]
    everything = np.concatenate([numbers_of(split) for split in splits])
    assert len(np.unique(everything)) == train + val + test
    found = np.array([np.bincount(split.labels, minlength=num_classes) for split in splits])
    exact = np.outer([train, val, test], class_counts) / num_images
    assert found.min() >= 1
    # Where a rare class has to be placed, others give way.
    assert exact.min() < 1 or np.all(np.abs(found - exact) < 1)


def test_many_classes_are_cut_in_good_time() -> None:
    class_counts = np.random.default_rng(0).integers(20, 60, size=1000).tolist()
    started = time.perf_counter()
    dataset, _ = prepare(make_raw(class_counts), SplitSizes(0.7, 0.15, 0.1), seed=0)
    assert time.perf_counter() - started < 3
    exact = len(dataset.val) * np.array(class_counts) / sum(class_counts)
    assert np.all(np.abs(np.bincount(dataset.val.labels) - exact) < 1)


def test_the_sealed_test_stays_sealed() -> None:
    sealed = SealedTest(make_split([3, 4]))
    assert repr(sealed) == "SealedTest(num_images=7)"
    for move in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays in the process"):
            move(sealed)


def test_a_dataset_crosses_a_process_boundary_and_holds_no_test() -> None:
    dataset, _ = prepare(make_raw([20, 20]), SplitSizes(20, 10, 10), seed=0)
    assert {field.name for field in dataclasses.fields(dataset)} == {
        "source",
        "train",
        "val",
        "class_names",
        "fingerprint",
        "input",
        "blocks",
        "facts",
        "views",
        "frozen",
    }
    again = pickle.loads(pickle.dumps(dataset))
    assert again.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.val.images, dataset.val.images)
    assert not again.train.images.flags.writeable
