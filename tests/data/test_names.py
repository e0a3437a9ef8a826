from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import Split, SplitSizes, load_source, prepare
from burnish.data.names import ImageNames, NumberedNames, PackedNames
from burnish.errors import DataError


@given(st.lists(st.text(st.characters()), min_size=1))
def test_any_names_come_back_as_they_were(given: list[str]) -> None:
    names = ImageNames(PackedNames(given))
    assert list(names) == given
    assert names[-1] == given[-1]
    assert names[1:] == given[1:]
    backwards = np.arange(len(given))[::-1]
    assert list(names.take(backwards).take(backwards)) == given


def test_a_name_that_is_not_utf_8_is_kept() -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    assert ImageNames(PackedNames([odd]))[0] == odd


def test_names_are_small() -> None:
    given = [f"class/image-{number:06d}.png" for number in range(1000)]
    packed = PackedNames(given)
    # The text, and where each ends: a list of Python's strings takes nearly four times as much.
    assert packed.num_bytes == sum(map(len, given))
    assert packed._ends.nbytes == 8 * len(given)
    assert ImageNames(packed).take([3]).mean_length == len(given[0])


def test_there_is_no_name_beyond_the_last() -> None:
    names = ImageNames(NumberedNames("made", 3))
    assert list(names) == ["made 0", "made 1", "made 2"]
    with pytest.raises(IndexError):
        names[3]


def make_split(num: int = 12) -> Split:
    images = np.arange(num, dtype=np.uint8).reshape(num, 1, 1, 1)
    names = ImageNames(PackedNames([f"{number}.png" for number in range(num)]))
    return Split(images, np.zeros(num, np.int32), names=names)


def test_images_take_their_names_along() -> None:
    taken = make_split().take([7, 2])
    assert taken.names is not None
    assert list(taken.names) == ["7.png", "2.png"]
    again = taken.take([1])
    assert again.names is not None
    assert again.names[0] == f"{again.images.item()}.png"


def test_names_stay_behind_when_images_go_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(make_split())).names is None


def test_every_image_needs_a_name() -> None:
    split = make_split()
    with pytest.raises(DataError, match="got 12 images and 3 names"):
        Split(split.images, split.labels, names=ImageNames(NumberedNames("made", 3)))


def test_sources_that_ship_name_their_images_by_number() -> None:
    raw = load_source("digits", None)
    dataset, _ = prepare(raw, SplitSizes(train=1000, val=300, test=300), seed=3)
    names = dataset.val.names
    assert names is not None
    for place in (0, 150, 299):
        number = int(names[place].removeprefix("digits "))
        assert np.array_equal(raw.train.images[number], dataset.val.images[place])
