from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from burnish.data.cache.entries import is_in_use, remove_entry
from burnish.data.cache.upkeep import SIZE_VARIABLE, clean, find_limit, list_kept
from burnish.data.load import load_images
from burnish.errors import DataError

from ..made import Made, make, png, write_folder

DAY = 24 * 3600


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own."""
    return tmp_path_factory.mktemp("cache")


def other(seed: int) -> Made:
    made = make()
    images = np.random.default_rng(seed).integers(0, 256, made.images.shape, dtype=np.uint8)
    return Made(images, made.labels, made.class_names)


def names(kept: Path) -> list[str]:
    return sorted(one.folder.name for one in list_kept(kept))


def unused_for(entry: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(entry / "used", (then, then))


def change(root: Path, seed: int = 0) -> None:
    image = np.random.default_rng(seed + 100).integers(0, 256, (9, 9), dtype=np.uint8)
    (root / "0" / "0.png").write_bytes(png(image))


def test_a_touched_or_moved_folder_adds_nothing(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "photos", make())
    first = load_images(root, cache_folder=kept).train.images
    before = names(kept)
    (root / "0" / "0.png").touch()
    load_images(root, cache_folder=kept)
    moved = root.rename(tmp_path / "other")
    np.testing.assert_array_equal(load_images(moved, cache_folder=kept).train.images, first)
    copied = Path(shutil.copytree(moved, tmp_path / "copy"))
    load_images(copied, cache_folder=kept)
    assert names(kept) == before
    (entry,) = list_kept(kept)
    assert entry.paths == (str(copied), str(moved))  # Not the one that is not there any more.
    assert (entry.num_images, entry.height, entry.width, entry.color) == (24, 9, 9, "grey")
    assert entry.num_bytes == sum(file.stat().st_size for file in entry.folder.iterdir())


def test_what_was_chosen_and_what_is_asked_for_are_one_entry(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "photos", make())
    load_images(root, cache_folder=kept)
    load_images(root, size=(9, 9), color="grey", cache_folder=kept)
    assert len(names(kept)) == 1
    raw = load_images(root, size=(9, 9), cache_folder=kept)
    assert raw.facts.notes == ("color grey: no image has colour",)


def test_what_is_superseded_goes(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "photos", make())
    for size in ("auto", (12, 12)):
        load_images(root, size=size, cache_folder=kept)
    before = names(kept)
    assert len(before) == 2
    change(root)
    load_images(root, cache_folder=kept)
    assert len(names(kept)) == 1
    assert not set(before) & set(names(kept))


def test_what_another_data_set_still_has_stays(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "photos", make())
    load_images(root, cache_folder=kept)
    copied = Path(shutil.copytree(root, tmp_path / "copy"))
    load_images(copied, cache_folder=kept)
    before = names(kept)
    change(root)
    load_images(root, cache_folder=kept)
    assert set(before) < set(names(kept))
    change(copied, 1)
    load_images(copied, cache_folder=kept)
    assert not set(before) & set(names(kept))


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps open files itself")
def test_what_is_used_stays_and_goes_later(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "photos", make())
    raw = load_images(root, cache_folder=kept)
    pixels = raw.train.images
    (entry,) = list_kept(kept)
    assert entry.in_use
    change(root)
    load_images(root, cache_folder=kept)
    assert not remove_entry(entry.folder)
    assert clean(kept, 0) != []
    assert entry.folder.name in names(kept)
    np.testing.assert_array_equal(raw.train.images, pixels)
    del raw
    assert not is_in_use(entry.folder)
    assert [one.folder for one in clean(kept)] == [entry.folder]
    assert names(kept) == []


def test_what_was_not_used_lately_is_cleaned_away(tmp_path: Path, kept: Path) -> None:
    for number in range(3):
        load_images(write_folder(tmp_path / str(number), other(number)), cache_folder=kept)
    old, used, new = sorted(list_kept(kept), key=lambda one: one.paths)
    unused_for(old.folder, 31)
    unused_for(used.folder, 31)
    load_images(tmp_path / "1", cache_folder=kept)
    (kept / "0123.tmp").mkdir()
    removed = clean(kept)
    assert {one.folder.name for one in removed} == {old.folder.name, "0123.tmp"}
    assert names(kept) == sorted([used.folder.name, new.folder.name])
    assert len(clean(kept, 0)) == 2
    assert names(kept) == []
    assert list(kept.rglob("*")) == [kept / "paths", kept / "upkeep.lock"] or not list(
        kept.glob("paths/*")
    )
    load_images(tmp_path / "0", cache_folder=kept)


def test_of_a_full_cache_the_longest_unused_goes(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(number: int) -> Path:
        root = tmp_path / str(number)
        load_images(root if root.is_dir() else write_folder(root, other(number)), cache_folder=kept)
        return next(one.folder for one in list_kept(kept) if one.paths == (str(root),))

    first, second = load(0), load(1)
    unused_for(first, 1)
    unused_for(second, 2)
    size = sum(one.num_bytes for one in list_kept(kept)) / 2
    monkeypatch.setenv(SIZE_VARIABLE, f"{2.5 * size / 1e6:.6f}MB")
    third = load(2)
    assert set(names(kept)) == {first.name, third.name}
    load(0)  # It is used again.
    unused_for(third, 1)
    fourth = load(3)
    assert set(names(kept)) == {first.name, fourth.name}
    # A cache that is too small for what is used has it all the same.
    monkeypatch.setenv(SIZE_VARIABLE, "0MB")
    raw = load_images(write_folder(tmp_path / "4", other(4)), cache_folder=kept)
    if os.name != "nt":
        assert len(names(kept)) == 1
    assert len(raw.train) == 24


def test_how_large_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SIZE_VARIABLE, raising=False)
    share = shutil.disk_usage(tmp_path).total // 10
    assert abs(find_limit(tmp_path / "not" / "there") - min(20 * 10**9, share)) <= 1
    monkeypatch.setenv(SIZE_VARIABLE, " 1.5gb ")
    assert find_limit(tmp_path) == 1_500_000_000
    monkeypatch.setenv(SIZE_VARIABLE, "much")
    with pytest.raises(DataError, match="BURNISH_CACHE_SIZE = 'much': expected MB or GB"):
        find_limit(tmp_path)


def test_entries_of_another_version_are_known_by_their_age_alone(
    tmp_path: Path, kept: Path
) -> None:
    old = kept / ("a" * 32)
    old.mkdir()
    (old / "images.npy").write_bytes(b"1234")
    (old / "about.json").write_text('{"format": 1}', encoding="utf-8")
    load_images(write_folder(tmp_path / "photos", make()), cache_folder=kept)
    entry = next(one for one in list_kept(kept) if one.folder == old)
    assert (entry.kind, entry.paths, entry.num_images) == ("entry", (), 0)
    os.utime(old, (time.time() - 31 * DAY,) * 2)
    assert [one.folder for one in clean(kept)] == [old]
