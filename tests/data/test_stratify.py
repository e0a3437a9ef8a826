from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from burnish.data import LabelledImages, Split, SplitSizes, prepare
from burnish.data.duplicates import (
    join_blocks,
    number_contents,
    order_canonically,
    settle_duplicates,
)
from burnish.data.facts import DataFacts
from burnish.data.folds import take_fold
from burnish.data.stratify import cut_in_blocks, cut_singly, draw_keys, round_table
from burnish.errors import DataError


def make_raw(labels: list[int], blocks: list[int] | None, **given: Split) -> LabelledImages:
    """Images of which each holds its own number."""
    num_classes = max(labels) + 1
    numbers = np.arange(len(labels), dtype="<u4")
    return LabelledImages(
        "made",
        Split(numbers.view(np.uint8).reshape(-1, 2, 2, 1).copy(), np.array(labels, np.int32)),
        given.get("test"),
        tuple(f"c{i}" for i in range(num_classes)),
        val=given.get("val"),
        blocks=None if blocks is None else np.array(blocks, np.int64),
    )


def numbers_of(split: Split) -> NDArray[np.int64]:
    return split.images.reshape(-1).view("<u4").astype(np.int64)


def are_apart(parts: list[set[int]]) -> bool:
    return sum(map(len, parts)) == len(set().union(*parts))


def blocks_of_splits(raw: LabelledImages, sizes: SplitSizes, seed: int = 0) -> list[set[int]]:
    assert raw.blocks is not None
    dataset, sealed = prepare(raw, sizes, seed)
    splits = (dataset.train, dataset.val, sealed.open())
    return [set(raw.blocks[numbers_of(split)].tolist()) for split in splits]


def test_pairs_stay_together_and_sizes_are_exact() -> None:
    labels = [0, 1] * 500
    blocks = list(range(1000))
    for first in range(0, 400, 4):  # A tenth of the images are one of an identical pair.
        blocks[first + 2] = first
    raw = make_raw(labels, blocks)
    dataset, sealed = prepare(raw, SplitSizes(700, 150, 150), seed=1)
    splits = (dataset.train, dataset.val, sealed.open())
    assert [len(split) for split in splits] == [700, 150, 150]
    for split in splits:
        assert np.bincount(split.labels).tolist() == [len(split) // 2] * 2
    one, two, three = blocks_of_splits(raw, SplitSizes(700, 150, 150), seed=1)
    assert are_apart([one, two, three])
    # The pairs are spread over the splits, not all put where there is most room.
    assert 5 <= 150 - len(two) <= 30
    assert 5 <= 150 - len(three) <= 30
    assert dataset.facts.notes == ()
    assert dataset.blocks is not None
    np.testing.assert_array_equal(dataset.blocks, np.array(blocks)[numbers_of(dataset.train)])


def test_writers_stay_together_and_shares_are_near() -> None:
    rng = np.random.default_rng(0)
    writers = rng.integers(0, 120, 3000)
    labels = rng.integers(0, 10, 3000)
    raw = make_raw(labels.tolist(), writers.tolist())
    dataset, sealed = prepare(raw, SplitSizes(0.7, 0.15, 0.15), seed=3)
    for split, share in ((dataset.train, 0.7), (dataset.val, 0.15), (sealed.open(), 0.15)):
        assert abs(len(split) / 3000 - share) < 0.02
        spread = np.bincount(split.labels) / len(split) - np.bincount(labels) / 3000
        assert np.abs(spread).max() < 0.03
    one, two, three = blocks_of_splits(raw, SplitSizes(0.7, 0.15, 0.15), seed=3)
    assert are_apart([one, two, three])
    assert len(one | two | three) == len(set(writers.tolist()))
    (note,) = dataset.facts.notes
    assert note.startswith("split: train ")
    assert note.endswith("as images that belong together stay together")


def test_large_and_small_writers() -> None:
    writers = [
        w for w, num in enumerate([400, 200, 100, 50, 40, 30, 30, 20, 20, 10]) for _ in range(num)
    ]
    raw = make_raw([i % 2 for i in range(900)], writers)
    dataset, sealed = prepare(raw, SplitSizes(0.7, 0.15, 0.15), seed=0)
    assert abs(len(dataset.train) - 630) <= 60
    assert min(len(dataset.val), sealed.num_images) > 90


def test_what_stands_alone_is_cut_as_without_blocks() -> None:
    labels = [0, 1, 2] * 40
    plain, plain_test = prepare(make_raw(labels, None), SplitSizes(60, 30, 20), seed=5)
    alone, alone_test = prepare(make_raw(labels, list(range(120))), SplitSizes(60, 30, 20), seed=5)
    for one, two in (
        (plain.train, alone.train),
        (plain.val, alone.val),
        (plain_test.open(), alone_test.open()),
    ):
        np.testing.assert_array_equal(one.images, two.images)
    assert plain.fingerprint == alone.fingerprint


def test_a_class_of_too_few_writers_is_named() -> None:
    labels = [0] * 30 + [1] * 30
    writers = list(range(30)) + [100] * 15 + [101] * 15
    with pytest.raises(DataError, match="class 'c1' has 30 images, of which 2 are independent"):
        prepare(make_raw(labels, writers), SplitSizes(0.6, 0.2, 0.2), seed=0)
    writers[-1] = 102
    splits = blocks_of_splits(make_raw(labels, writers), SplitSizes(0.6, 0.2, 0.2))
    assert all({100, 101, 102} & split for split in splits)


def test_no_writers_are_lost_and_none_is_twice_where_images_are_left_over() -> None:
    writers = [i // 5 for i in range(200)]
    raw = make_raw([i % 2 for i in range(200)], writers)
    one, two, three = blocks_of_splits(raw, SplitSizes(60, 20, 20))
    assert are_apart([one, two, three])
    assert len(one) < 20


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data(), num_classes=st.integers(2, 5), seed=st.integers(0, 2**32))
def test_no_cut_goes_through_a_block(data: st.DataObject, num_classes: int, seed: int) -> None:
    num = data.draw(st.integers(60, 200), label="num")
    num_blocks = data.draw(st.integers(10, num), label="blocks")
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num)])
    blocks = rng.integers(0, num_blocks, len(labels))
    raw = make_raw(labels.tolist(), blocks.tolist())
    try:
        dataset, sealed = prepare(raw, SplitSizes(0.6, 0.2, 0.2), seed)
    except DataError:
        reject()  # A class in too few blocks.
    splits = (dataset.train, dataset.val, sealed.open())
    parts = [set(blocks[numbers_of(split)].tolist()) for split in splits]
    assert are_apart(parts)
    everything = np.concatenate([numbers_of(split) for split in splits])
    assert sorted(everything.tolist()) == list(range(len(labels)))
    for split in splits:
        assert set(split.labels.tolist()) == set(range(num_classes))
        np.testing.assert_array_equal(split.labels, labels[numbers_of(split)])


def test_folds_keep_blocks_together() -> None:
    blocks = [i // 4 for i in range(240)]
    dataset, _ = prepare(
        make_raw([i % 3 for i in range(240)], blocks), SplitSizes(0.7, 0.15, 0.15), seed=0
    )
    assert dataset.blocks is not None
    seen: list[int] = []
    for index in range(3):
        fold = take_fold(dataset, 3, index, seed=9)
        train, val = (np.array(blocks)[numbers_of(s)] for s in (fold.train, fold.val))
        assert not set(train.tolist()) & set(val.tolist())
        assert len(train) + len(val) == len(dataset.train)
        assert abs(len(val) - len(dataset.train) / 3) <= 4
        np.testing.assert_array_equal(fold.blocks, train)
        seen += numbers_of(fold.val).tolist()
    assert sorted(seen) == sorted(numbers_of(dataset.train).tolist())


def test_given_splits_are_kept_and_what_is_missing_is_cut() -> None:
    own = Split(np.full((6, 2, 2, 1), 255, np.uint8), np.array([0, 1] * 3, np.int32))
    labels = [0, 1] * 50
    dataset, sealed = prepare(make_raw(labels, None, val=own, test=own), None, seed=0)
    assert dataset.val is own
    assert sealed.open() is own
    assert sorted(numbers_of(dataset.train).tolist()) == list(range(100))
    assert np.count_nonzero(np.diff(dataset.train.labels)) < 99  # In random order.

    dataset, sealed = prepare(make_raw(labels, None, val=own), SplitSizes(test=0.2), seed=0)
    assert (len(dataset.train), sealed.num_images) == (80, 20)
    assert dataset.val is own
    dataset, sealed = prepare(make_raw(labels, None, test=own), None, seed=0)
    assert (len(dataset.train), len(dataset.val)) == (85, 15)
    dataset, sealed = prepare(make_raw(labels, None), None, seed=0)
    assert (len(dataset.train), len(dataset.val), sealed.num_images) == (70, 15, 15)

    with pytest.raises(DataError, match=r"val = 0\.1, but source 'made' brings its own 6 val im"):
        prepare(make_raw(labels, None, val=own), SplitSizes(val=0.1, test=0.1), seed=0)
    with pytest.raises(DataError, match="val is missing, and source 'made' has no val images"):
        prepare(make_raw(labels, None, test=own), SplitSizes(train=50), seed=0)
    with pytest.raises(DataError, match=r"train 0 \(from the rest\)|train 0, val"):
        prepare(make_raw(labels, None, test=own), SplitSizes(val=100), seed=0)


def test_facts_and_input_travel() -> None:
    raw = make_raw([0, 1] * 20, None)
    assert raw.input.shape == (2, 2, 1)
    assert (raw.input.resize, raw.input.recipe) == ("pad", "plain")
    stretched = replace(raw.input, resize="stretch")
    facts = DataFacts(format="folder", warnings=("w",))
    dataset, _ = prepare(replace(raw, input=stretched, facts=facts), None, seed=0)
    assert dataset.input == stretched
    assert dataset.facts == facts
    assert facts.describe()["warnings"] == ["w"]
    with pytest.raises(DataError, match="images are 2x2x1, but their input is 3x2x1"):
        replace(raw, input=replace(stretched, height=3))
    with pytest.raises(DataError, match="got 40 training images and 3 blocks"):
        replace(raw, blocks=np.zeros(3, np.int64))


# Identical images.


def digests_of(contents: list[int]) -> NDArray[np.uint8]:
    """Any distinct 32 bytes for each content; some differ in the last or the first alone."""
    digests = np.zeros((len(contents), 32), np.uint8)
    digests[:, 0] = np.array(contents) // 256
    digests[:, 31] = np.array(contents) % 256
    return digests


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 600), max_size=30), st.integers(0, 2**32))
def test_identical_images_are_found(contents: list[int], seed: int) -> None:
    numbers = number_contents(digests_of(contents)).tolist()
    assert numbers == [contents.index(content) for content in contents]
    labels = np.array([content % 3 for content in contents], np.int32)
    shuffle = np.random.default_rng(seed).permutation(len(contents))
    shuffled = [contents[i] for i in shuffle]
    order = order_canonically(labels, digests_of(contents))
    other = order_canonically(labels[shuffle], digests_of(shuffled))
    assert [contents[i] for i in order] == [shuffled[i] for i in other]
    assert np.all(np.diff(labels[order]) >= 0)


def test_of_identical_images_in_given_splits_the_last_stays() -> None:
    contents = number_contents(digests_of([1, 1, 2, 2, 3, 3, 3, 4]))
    splits = np.array(["train", "train", "train", "val", "train", "val", "test", "train"])
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int32)
    names = list("abcdefgh")
    found = settle_duplicates(contents, labels, splits, names, ("cat", "dog"))
    assert found.is_kept.tolist() == [True, True, False, True, False, False, True, True]
    assert (found.num, found.num_conflicts) == (4, 0)
    assert settle_duplicates(contents, labels, None, names, ("cat", "dog")).is_kept.all()


def test_conflicting_labels_are_named_by_pair() -> None:
    contents = number_contents(digests_of([1, 1, 1, 2, 2, 3]))
    labels = np.array([0, 1, 1, 1, 1, 0], np.int32)
    found = settle_duplicates(contents, labels, None, list("abcdef"), ("cat", "dog"))
    assert found.conflicts == ("a (cat) and b (dog)",)
    assert (found.num, found.num_conflicts) == (3, 1)


def test_groups_and_identical_images_join_into_blocks() -> None:
    contents = np.array([0, 1, 2, 0, 4, 5])  # Images 0 and 3 are identical.
    assert join_blocks(np.arange(6), None) is None
    assert join_blocks(np.arange(6), list("abcdef")) is None
    assert join_blocks(contents, None) is contents
    joined = join_blocks(contents, ["x", "x", "y", "y", "z", "w"])
    assert joined is not None
    # x and y share an image, and so are one block.
    assert joined.tolist() == [0, 0, 0, 0, 4, 5]


def test_the_plain_cut_and_the_table_agree() -> None:
    labels = np.array([0] * 30 + [1] * 20, np.int32)
    table = round_table(np.outer([25, 15, 10], [30, 20]), 50)
    keys = draw_keys(50, (1, 2))
    cut = cut_singly(labels, table, keys)
    blocks = np.arange(50, dtype=np.int64)
    again = cut_in_blocks(labels, blocks, table, keys, 2, ("a", "b"))
    for one, two, row in zip(cut, again, table, strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.bincount(labels[one], minlength=2).tolist() == row.tolist()


def test_writers_of_several_classes_are_cut_wherever_there_is_a_way() -> None:
    """Moving one block at a time, as most cuts need it, leads nowhere here for most seeds."""
    writers_of_classes = ((0, 1), (0, 2), (1, 3), (0, 1, 2), (2, 3), (0, 3), (1, 2, 3))
    labels = [label for classes in writers_of_classes for label in classes]
    writers = [writer for writer, classes in enumerate(writers_of_classes) for _ in classes]
    raw = make_raw(labels, writers)
    for seed in range(20):
        data, test = prepare(raw, SplitSizes(8, 4, 4), seed)
        for split in (data.train, data.val, test.open()):
            assert set(split.labels.tolist()) == {0, 1, 2, 3}


def test_writers_that_leave_no_way_are_refused_whatever_the_seed() -> None:
    # Each class has three writers; but each writer of one class has two of another.
    writers_of_classes = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    labels = [label for classes in writers_of_classes for label in classes] * 2
    writers = [writer for writer, classes in enumerate(writers_of_classes) for _ in classes] * 2
    labels += [4] * 6
    writers += [0, 0, 1, 1, 5, 5]  # Two splits would have to have class 4 of writers 0 and 1.
    raw = make_raw(labels, writers)
    for seed in range(5):
        with pytest.raises(DataError, match="no way to cut the images"):
            prepare(raw, SplitSizes(10, 8, 8), seed)
