"""Which folders are splits and which are classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from burnish.data.formats import Listing, read_listing
from burnish.data.formats.layout import split_of_folder
from burnish.errors import DataError
from burnish.image_files import OUTPUT_MARK

from .made import png


def write(root: Path, folders: Iterable[str], num: int = 3) -> Path:
    """Write so many different images into each folder; the root is called ``data``."""
    root = root / "data"
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(num):
            seed = [*folder.encode(), number]
            pixels = np.random.default_rng(seed).integers(0, 256, (6, 6))
            (root / folder / f"{number}.png").write_bytes(png(pixels.astype(np.uint8)))
    return root


def labels_of(listing: Listing) -> dict[str, str]:
    """The class of each image."""
    return {
        name: listing.class_names[label]
        for name, label in zip(listing.names, listing.labels.tolist(), strict=True)
    }


def splits_of(listing: Listing) -> dict[str, str]:
    assert listing.splits is not None
    return dict(zip(listing.names, listing.splits.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("trainset", "train"),
        ("seg_train", "train"),
        ("train-images", "train"),
        ("TrainData", "train"),
        ("validation", "val"),
        ("valid", "val"),
        ("val_images", "val"),
        ("dev", "val"),
        ("test_set", "test"),
        ("Test Images", "test"),
        ("Testing", "test"),
        ("test tube", None),
        ("train station", None),
        ("trains", None),
        ("latest", None),
        ("set", None),
        ("7", None),
        ("", None),
    ],
)
def test_folders_of_splits_by_their_names(name: str, split: str | None) -> None:
    assert split_of_folder(name) == split


@pytest.mark.parametrize(
    "folders",
    [
        ["cat/Imgs", "dog/Imgs"],
        ["cat/part-1", "cat/part-7", "dog/part-2"],
        ["cat", "cat/more", "dog"],
        ["cat/2021-03-04", "cat/2021-03-05", "dog/2021-03-04"],
        ["cat/a/b/Imgs", "dog/Imgs"],
        ["cat/one", "cat/two", "dog"],
    ],
)
def test_folders_within_a_class_belong_to_it(tmp_path: Path, folders: list[str]) -> None:
    listing = read_listing(write(tmp_path, folders))
    assert listing.class_names == ("cat", "dog")
    assert len(listing) == 3 * len(folders)
    assert all(name.startswith(label) for name, label in labels_of(listing).items())
    assert not listing.problems
    assert not listing.suspicious
    assert "belong to the top one" in listing.notes[-1]


ALPHABETS = [f"{top}/character0{n}" for top in ("Greek", "Latin") for n in (1, 2, 3)]


def test_of_two_levels_of_labels_the_deepest_are_the_classes(tmp_path: Path) -> None:
    root = write(tmp_path, ALPHABETS)
    listing = read_listing(root)
    assert listing.class_names == tuple(ALPHABETS)
    assert labels_of(listing)["Latin/character02/1.png"] == "Latin/character02"
    (note,) = listing.notes
    assert 'labels = "top" (--labels top) takes the 2 top folders as classes' in note
    top = read_listing(root, labels="top")
    assert top.class_names == ("Greek", "Latin")
    assert len(top) == len(listing) == 18
    assert "labels =" not in top.notes[0]
    assert top.stamp == listing.stamp  # The same files, which need not be decoded again.
    other = write(tmp_path / "other", ["cat/Imgs", "cat/new", "dog/Imgs"])
    assert read_listing(other).class_names == ("cat", "dog")
    assert 'labels = "deepest"' in read_listing(other).notes[0]
    deepest = read_listing(other, labels="deepest")
    assert deepest.class_names == ("cat/Imgs", "cat/new", "dog/Imgs")


def test_folders_of_too_few_images_for_a_class_are_none(tmp_path: Path) -> None:
    people = [f"{label}/{name}" for label in ("ill", "well") for name in ("smith", "jones", "xu")]
    assert read_listing(write(tmp_path, people, num=2)).class_names == ("ill", "well")
    assert len(read_listing(write(tmp_path / "more", people, num=3)).class_names) == 6


def test_levels_of_labels_within_splits(tmp_path: Path) -> None:
    folders = [f"{split}/{below}" for split in ("train", "test") for below in ALPHABETS]
    listing = read_listing(write(tmp_path, folders))
    assert listing.class_names == tuple(ALPHABETS)
    assert splits_of(listing)["test/Latin/character02/1.png"] == "test"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set/training_set", "test_set/test_set"),
        ("Training", "Testing"),
        ("archive/data/train", "archive/data/validation"),
    ],
)
def test_splits_in_many_names_and_folders_too_deep(tmp_path: Path, train: str, test: str) -> None:
    listing = read_listing(write(tmp_path, [f"{s}/{c}" for s in (train, test) for c in ("a", "b")]))
    assert listing.class_names == ("a", "b")
    expected = {"val" if "validation" in test else "test", "train"}
    assert set(splits_of(listing).values()) == expected
    assert splits_of(listing)[f"{train}/b/2.png"] == "train"
    assert bool(listing.notes) == ("/" in train)


def test_splits_within_the_classes(tmp_path: Path) -> None:
    folders = [f"{c}/{s}" for c in ("cat", "dog") for s in ("train", "valid", "test")]
    listing = read_listing(write(tmp_path, folders))
    assert listing.class_names == ("cat", "dog")
    assert splits_of(listing)["dog/valid/0.png"] == "val"
    assert "its splits, such as cat/test" in listing.notes[0]


def test_one_folder_too_deep(tmp_path: Path) -> None:
    root = write(tmp_path, ["photos/photos/cat", "photos/photos/dog"])
    (root / "photos" / "README.md").write_text("x")
    listing = read_listing(root)
    assert listing.class_names == ("cat", "dog")
    assert "the classes are the folders of photos/photos" in listing.notes[0]
    assert listing.suspicious == ("photos/README.md: is not called as an image is",)


def test_what_stands_beside_splits_is_left_out_and_named(tmp_path: Path) -> None:
    root = write(tmp_path, [f"{s}/{c}" for s in ("train", "val") for c in ("a", "b")])
    write(tmp_path, ["extra", "test"])
    listing = read_listing(root)
    assert len(listing) == 12
    assert set(splits_of(listing).values()) == {"train", "val"}
    assert "extra: left out (3 images), since it stands beside the folders" in listing.notes[0]
    assert "test: left out (3 images), since it has images without a label" in listing.notes[1]


def test_a_table_beside_class_folders_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, ["cat", "dog"])
    (root / "old.parquet").write_bytes(b"x")
    (root / "train-images-idx3-ubyte").write_bytes(b"x")
    listing = read_listing(root)
    assert listing.format == "folder"
    assert f"to read it instead, give {root / 'old.parquet'}" in listing.suspicious[0]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["batch1/cat", "batch1/dog", "batch2/cat", "batch2/dog"], r"as parts of one data set do;"),
        (["train/a", "train/b", "bus"], r"has train with folders in it beside bus\. If it is the"),
        (["train/a", "train/b", "training_set/a"], "both mean the train split; make them one"),
        (["photos/cat/Imgs"], r"has one class, 'Imgs', alone; .*How it was read: the classes are"),
    ],
)
def test_what_cannot_be_told_says_what_is_likely(
    tmp_path: Path, folders: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_listing(write(tmp_path, folders))


def test_a_class_called_train_may_have_folders_if_that_is_said(tmp_path: Path) -> None:
    listing = read_listing(write(tmp_path, ["train/a", "train/b", "bus"]), labels="top")
    assert listing.class_names == ("bus", "train")


def test_labels_in_names_of_files_are_seen(tmp_path: Path) -> None:
    root = write(tmp_path, ["."])
    for name in ("cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"):
        (root / name).write_bytes((root / "0.png").read_bytes())
    for number in range(3):
        (root / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"begin with cat \(2\), dog \(2\): if these are the lab"):
        read_listing(root)
    (root / "labels.csv").write_text("x")
    with pytest.raises(DataError, match=r"or is .*labels\.csv meant"):
        read_listing(root)


def test_settings_are_of_a_format(tmp_path: Path) -> None:
    root = write(tmp_path, ["cat", "dog"])
    with pytest.raises(DataError, match=r"unknown labels 'bottom'\. There are: deepest, top"):
        read_listing(root, labels="bottom")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="unknown masks 'drop'"):
        read_listing(root, masks="drop")  # type: ignore[arg-type]
    (root / "a.npz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"labels = 'top': format 'npz' has no use for it"):
        read_listing(root / "a.npz", labels="top")


def test_runs_and_contact_sheets_within_the_folder_are_no_classes(tmp_path: Path) -> None:
    root = write(tmp_path, ["a", "b", "sheets"])
    (root / "sheets" / OUTPUT_MARK).touch()
    (root / "runs" / "data" / "stages").mkdir(parents=True)
    (root / "runs" / "data" / ".lock").touch()
    (root / "runs" / "data" / "provenance.json").touch()
    listing = read_listing(root)
    assert listing.class_names == ("a", "b")
    assert listing.problems == ()
    assert "left out, as burnish wrote them: sheets, runs/data" in listing.notes
    # A table beside them still says what the images are.
    (root / "metadata.csv").write_text("file_name,label\na/0.png,x\na/1.png,y\n")
    for name in ("0", "1", "2"):
        (root / "b" / f"{name}.png").unlink()
    (root / "b").rmdir()
    assert read_listing(root).format == "csv"


def test_a_class_of_other_files_says_which(tmp_path: Path) -> None:
    root = write(tmp_path, ["a", "b"])
    (root / "c").mkdir()
    (root / "c" / "1.npy").touch()
    (root / "c" / "2.MAT").touch()
    (problem,) = read_listing(root).problems
    assert str(problem).startswith(
        "c: is a class without images, only with files of other names (.mat, .npy);"
    )
