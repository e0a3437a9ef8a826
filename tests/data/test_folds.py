from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.data.folds import take_fold
from burnish.errors import DataError


def numbered(labels: list[int], num_classes: int = 3) -> Dataset:
    """Images whose pixels tell their place in the train split."""
    places = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    train = Split(places, np.array(labels, np.int32))
    val = Split(np.full((num_classes, 1, 1, 1), 255, np.uint8), np.arange(num_classes, dtype="i4"))
    return Dataset("numbered", train, val, tuple("abcdefghij"[:num_classes]), "print")


def places(split: Split) -> list[int]:
    return [int(place) for place in split.images[:, 0, 0, 0]]


LABELS = [0] * 12 + [1] * 7 + [2] * 5


@pytest.mark.parametrize("num_folds", [2, 3, 5])
def test_every_training_image_is_held_out_in_exactly_one_fold(num_folds: int) -> None:
    data = numbered(LABELS)
    folds = [take_fold(data, num_folds, index, seed=1) for index in range(num_folds)]
    assert sorted(place for fold in folds for place in places(fold.val)) == list(range(24))
    for fold in folds:
        assert sorted(places(fold.train) + places(fold.val)) == list(range(24))


def test_labels_stay_with_their_images() -> None:
    fold = take_fold(numbered(LABELS), 3, 1, seed=1)
    for split in (fold.train, fold.val):
        assert split.labels.tolist() == [LABELS[place] for place in places(split)]


def test_every_fold_has_its_share_of_every_class() -> None:
    data = numbered(LABELS)
    for index in range(3):
        held_out = np.bincount(take_fold(data, 3, index, seed=1).val.labels)
        for count, whole in zip(held_out, (12, 7, 5), strict=True):
            assert abs(count - whole / 3) < 1


def test_the_digits_folds_are_stratified(digits: Dataset) -> None:
    fold = take_fold(digits, 3, 0, seed=5)
    assert len(fold.train) + len(fold.val) == len(digits.train)
    shares = np.bincount(fold.val.labels) / np.bincount(digits.train.labels)
    assert shares == pytest.approx(1 / 3, abs=0.02)


def test_the_validation_split_takes_no_part() -> None:
    data = numbered(LABELS)
    for index in range(3):
        fold = take_fold(data, 3, index, seed=1)
        assert 255 not in places(fold.train) + places(fold.val)


def test_a_cut_follows_from_its_seed_alone() -> None:
    data = numbered(LABELS)
    cuts = [places(take_fold(data, 3, 0, seed).val) for seed in (1, 1, 2)]
    assert cuts[0] == cuts[1] != cuts[2]


def test_a_fold_keeps_the_classes_and_has_a_fingerprint_of_its_own() -> None:
    data = numbered(LABELS)
    prints = {
        take_fold(data, num_folds, index, seed).fingerprint
        for num_folds, index, seed in ((3, 0, 1), (3, 1, 1), (2, 0, 1), (3, 0, 2))
    }
    assert len(prints) == 4
    assert data.fingerprint not in prints
    assert take_fold(data, 3, 0, 1).class_names == data.class_names
    other = replace(data, fingerprint="other")
    assert take_fold(other, 3, 0, 1).fingerprint not in prints


def test_a_class_with_fewer_images_than_folds_is_named() -> None:
    take_fold(numbered(LABELS), 5, 0, seed=1)
    with pytest.raises(DataError, match=r"class 'c' has 5 training images, too few for 6 folds"):
        take_fold(numbered(LABELS), 6, 0, seed=1)
    with pytest.raises(DataError, match=r"class 'd' has 0 training images"):
        take_fold(numbered(LABELS, num_classes=4), 2, 0, seed=1)
