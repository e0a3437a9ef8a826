"""Identical images of a run's data, by file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from burnish.data import Split
from burnish.data.dataset import IdenticalImages
from burnish.data.names import ImageNames, PackedNames
from burnish.errors import RunFolderError
from burnish.runfolder.identical_images import (
    MOST_IMAGES,
    MOST_SETS,
    read_identical_images,
    write_identical_images,
)
from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run

CLASSES = ("cat", "dog")


def make_identical(sizes: list[int], differing: set[int], splits: bool = False) -> IdenticalImages:
    """Make sets of images of one grey each; in a differing one the last is a dog."""
    sets = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.zeros(len(sets), np.int32)
    ends = np.cumsum(sizes) - 1
    labels[[ends[number] for number in differing]] = 1
    names = ImageNames(PackedNames([f"{CLASSES[y]}/{n}.png" for n, y in enumerate(labels)]))
    pixels = np.broadcast_to(sets.astype(np.uint8)[:, None, None, None], (len(sets), 4, 4, 1))
    is_kept = np.ones(len(sets), np.bool_)
    given = None
    if splits:
        given = np.where(np.isin(np.arange(len(sets)), ends), "test", "train")
        is_kept = given == "test"
    return IdenticalImages(
        Split(pixels.copy(), labels, names=names), sets.astype(np.int64), given, is_kept
    )


def read_rows(run: RunFolder) -> list[dict[str, str]]:
    with (run.data / "duplicates.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_every_identical_image_is_in_the_table(run: RunFolder) -> None:
    write_identical_images(run, make_identical([2, 3], {1}), CLASSES)
    rows = read_rows(run)
    assert [(row["set"], row["file"], row["label"]) for row in rows] == [
        ("1", "cat/0.png", "cat"),
        ("1", "cat/1.png", "cat"),
        ("2", "cat/2.png", "cat"),
        ("2", "cat/3.png", "cat"),
        ("2", "dog/4.png", "dog"),
    ]
    assert [row["labels_differ"] for row in rows] == ["no", "no", "yes", "yes", "yes"]
    assert {row["split"] for row in rows} == {""}
    assert {row["used"] for row in rows} == {"yes"}


def test_sets_whose_labels_differ_come_first_each_with_its_picture(run: RunFolder) -> None:
    num = MOST_SETS + 6
    sizes = [2] * (num - 1) + [MOST_IMAGES + 5]
    write_identical_images(run, make_identical(sizes, {num - 1}), CLASSES)
    found = read_identical_images(run)
    assert found is not None
    assert (found.num_sets, found.num_images, found.num_differing) == (num, sum(sizes), 1)
    assert len(found.sets) == MOST_SETS
    first, second = found.sets[:2]
    assert first.labels_differ
    assert not second.labels_differ
    assert (first.num_images, len(first.images)) == (MOST_IMAGES + 5, MOST_IMAGES)
    assert (first.picture == num - 1).all()
    assert (second.picture == 0).all()
    assert second.images[1] == {"file": "cat/1.png", "label": "cat", "split": "", "used": True}


def test_images_taken_out_of_a_given_split_are_marked(run: RunFolder) -> None:
    write_identical_images(run, make_identical([2], set(), splits=True), CLASSES)
    assert [(row["split"], row["used"]) for row in read_rows(run)] == [
        ("train", "no"),
        ("test", "yes"),
    ]


def test_what_is_no_longer_identical_is_forgotten(run: RunFolder) -> None:
    write_identical_images(run, make_identical([2], set()), CLASSES)
    write_identical_images(run, None, CLASSES)
    assert read_identical_images(run) is None
    assert not run.data.exists()


def test_damage_is_found(run: RunFolder) -> None:
    run.write_study("[study]\nname = 'x'\n")
    write_identical_images(run, make_identical([2], set()), CLASSES)
    assert [f.path.name for f in verify_run(run)] == []
    table = run.data / "duplicates.csv"
    table.write_text(table.read_text("utf-8").replace("cat/1", "cat/7"), "utf-8")
    (run.data / "duplicates.json").write_text("{}", "utf-8")
    assert {(f.path.name, f.problem) for f in verify_run(run)} == {
        ("duplicates.csv", "damaged"),
        ("duplicates.json", "damaged"),
    }
    with pytest.raises(RunFolderError, match=r"duplicates\.json"):
        read_identical_images(run)
