from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from burnish.data.conformance import check_format
from burnish.data.formats import (
    FORMATS,
    ArrayImages,
    Format,
    Listing,
    ListingOptions,
    find_format,
    list_arrays,
    read_listing,
)
from burnish.data.formats import npz as npz_format
from burnish.data.formats.listing import sort_naturally
from burnish.errors import DataError, DataNotFoundError, ImageError
from burnish.image import decode

from .made import (
    Made,
    make,
    make_table,
    png,
    write_csv,
    write_every_format,
    write_folder,
    write_idx,
    write_npz,
    write_parquet,
)

SPLITS = ("train", "train", "val", "test") * 6


def read_all(listing: Listing) -> list[bytes]:
    """The pixels of every image, however it is stored."""
    pixels = []
    for index in range(len(listing)):
        read = listing.images.read(index)
        array = np.asarray(decode(read)) if isinstance(read, bytes) else read
        pixels.append(array.tobytes())
    return pixels


def check_same(listing: Listing, made: Made) -> None:
    """The listing holds these images with these labels and splits, in whatever order."""
    splits = ["train"] * len(made) if made.splits is None else made.splits
    found_splits = ["train"] * len(made) if listing.splits is None else listing.splits.tolist()
    names = [listing.class_names[label] for label in listing.labels]
    found = sorted(zip(read_all(listing), names, found_splits, strict=True))
    assert found == sorted(
        (made.images[i].tobytes(), made.class_of(i), splits[i]) for i in range(len(made))
    )


@pytest.mark.parametrize("is_split", [False, True])
def test_every_format_keeps_the_contract_and_gives_the_same(tmp_path: Path, is_split: bool) -> None:
    made = dataclasses.replace(make(), splits=SPLITS if is_split else None)
    paths = write_every_format(tmp_path, made)
    assert set(paths) == set(FORMATS.names())
    for name, path in paths.items():
        assert find_format(path).name == name
        listing = check_format(find_format(path), path)
        check_same(listing, made)
        assert (listing.splits is not None) is is_split
        assert not listing.problems
        assert not listing.suspicious


def test_colour_images_in_every_format_that_has_them(tmp_path: Path) -> None:
    made = make(12, (5, 6, 3))
    for path in (
        write_folder(tmp_path / "folder", made),
        write_csv(tmp_path / "csv", made),
        write_npz(tmp_path / "plain.npz", made),
        write_npz(tmp_path / "packed.npz", made, compressed=True),
        write_parquet(tmp_path / "parquet", made),
    ):
        check_same(check_format(find_format(path), path), made)


def test_class_names_travel(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("zebra", "Ape 10", "Ape 9"))
    for path in (
        write_folder(tmp_path / "folder", made),
        write_csv(tmp_path / "csv", made),
        write_npz(tmp_path / "data.npz", made),
        write_parquet(tmp_path / "parquet", made),
    ):
        listing = read_listing(path)
        assert listing.class_names == ("Ape 9", "Ape 10", "zebra")
        check_same(listing, made)


def test_a_new_format_is_one_registration(
    plug_in: Callable[[Any, Any], None], tmp_path: Path
) -> None:
    def read(path: Path, options: ListingOptions) -> Listing:
        return dataclasses.replace(read_listing(path / "real", "folder"), format="mine")

    mine = Format("mine", "my own", lambda path: (path / "real").is_dir(), read)
    write_folder(tmp_path / "there" / "real", make())
    assert find_format(tmp_path / "there").name == "folder"
    plug_in(FORMATS, mine)
    assert read_listing(tmp_path / "there").format == "mine"
    check_format(mine, tmp_path / "there")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"expected a folder of images, .*, my own\. Name it"):
        read_listing(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="the format 'mine' is registered already"):
        FORMATS.register(mine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "the listing says 'broken'"),
        ({"class_names": ("b", "a", "c")}, "class names are in natural order"),
        ({"labels": np.zeros(24, np.int64)}, "labels are int32"),
        ({"labels": np.zeros(24, np.int32)}, "every label a class"),
        ({"names": ["same"] * 24}, "a name of its own"),
        ({"splits": np.array(["train"] * 23 + ["exam"])}, "splits are None, or one of"),
        ({"groups": ("g",) * 24}, "no groups where none were asked for"),
        ({"images": ArrayImages((np.zeros((24, 3, 3, 2, 1), np.uint8),))}, "arrays are uint8"),
    ],
)
def test_the_check_finds_what_breaks_the_contract(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    listing = read_listing(write_folder(tmp_path / "data", make()))
    broken = dataclasses.replace(listing, **{"format": "broken", **change})
    format = Format("broken", "broken", Path.is_dir, lambda path, options: broken)
    with pytest.raises(AssertionError, match=message):
        check_format(format, tmp_path / "data")


def test_what_is_not_there_or_of_no_known_format(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no such file or folder"):
        read_listing(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot tell its format; .*csv, folder, idx, npz, parq"):
        read_listing(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="unknown format 'cvs'; did you mean 'csv'"):
        read_listing(tmp_path / "notes.txt", "cvs")
    for format in FORMATS.names():
        with pytest.raises(DataNotFoundError, match=r"there is no"):
            read_listing(tmp_path / "none", format)


# Class names.


def test_names_are_sorted_as_people_do() -> None:
    names = ["10", "9", "-1", "a10b", "a9b", "B", "é", "01", "1"]
    assert sort_naturally(names) == ("01", "1", "9", "10", "-1", "a9b", "a10b", "B", "é")
    assert sort_naturally(map(str, range(1000))) == tuple(map(str, range(1000)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="ab01 ₂-é", min_size=1, max_size=5), unique=True))
def test_sorting_depends_on_the_names_alone(names: list[str]) -> None:
    assert sort_naturally(names) == sort_naturally(reversed(names))
    assert sorted(sort_naturally(names)) == sorted(names)


# Folders.


@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_folders_of_splits_by_their_usual_names(tmp_path: Path, words: tuple[str, ...]) -> None:
    made = dataclasses.replace(make(), splits=tuple(np.array(words)[[0, 0, 1, 2] * 6]))
    listing = read_listing(write_folder(tmp_path, made))
    check_same(listing, dataclasses.replace(made, splits=SPLITS))


def test_classes_may_be_called_as_splits_are(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("train", "bus", "tram"))
    listing = read_listing(write_folder(tmp_path, made))
    assert listing.splits is None
    check_same(listing, made)


def test_hidden_files_are_ignored_and_unknown_ones_are_named(tmp_path: Path) -> None:
    made = make()
    write_folder(tmp_path, made)
    before = read_listing(tmp_path)
    for name in (".DS_Store", "0/.hidden.png", "0/Thumbs.db", "1/desktop.ini", ".git/0/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listing = read_listing(tmp_path)
    check_same(listing, made)
    assert not listing.problems
    assert not listing.suspicious
    assert listing.stamp == before.stamp
    for name in ("README.md", "0/notes.txt", "1/raw.dng"):
        (tmp_path / name).write_bytes(b"x")
    listing = read_listing(tmp_path)
    check_same(listing, made)
    assert [entry.split(":")[0] for entry in listing.suspicious] == [
        "README.md",
        "0/notes.txt",
        "1/raw.dng",
    ]


def test_suffixes_count_in_any_case(tmp_path: Path) -> None:
    made = make(6)
    write_folder(tmp_path, made)
    for path in list(tmp_path.glob("*/*.png")):
        path.rename(path.with_suffix(".PNG"))
    check_same(read_listing(tmp_path), made)


def test_oddities_of_folders_are_named_in_one_pass(tmp_path: Path) -> None:
    made = make()
    write_folder(tmp_path, made)
    (tmp_path / "stray.png").write_bytes(png(made.images[0]))
    (tmp_path / "3").mkdir()
    (tmp_path / "2" / "x.HEIC").write_bytes(b"x")
    listing = read_listing(tmp_path)
    # That it is none is said by decoding.
    assert set(listing.names) >= {"2/x.HEIC", "2/2.png"}
    assert len(listing) == len(made) + 1
    assert sorted(map(str, listing.problems), key=lambda said: said[0] != "s") == [
        "stray.png: is an image without a label, beside the classes' folders",
        "3: is a class without images",
    ]


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    made = make()
    root = write_folder(tmp_path / "root", made)
    outside = write_folder(tmp_path / "outside", made)
    try:
        (root / "0" / "file.png").symlink_to(outside / "0" / "0.png")
    except OSError:
        pytest.skip("this system does not let links be made")
    (root / "3").symlink_to(outside / "0")
    (root / "4").symlink_to(root / "0")
    (root / "1" / "gone.png").symlink_to(root / "1" / "nowhere.png")
    (root / "1" / "again.png").symlink_to(root / "1" / "1.png")
    listing = read_listing(root)
    assert sorted(str(problem).split(" that")[0] for problem in listing.problems) == [
        "0/file.png: is a link",
        "1/gone.png: is a link to a file",
        "3: is a link",
        "4: is a link to another folder; its images would be twice",
    ]
    assert sum("leaves" in str(problem) for problem in listing.problems) == 2
    assert len(listing) == len(made) + 1  # A link to a file within is that file.
    # The root itself may be a link.
    (tmp_path / "link").symlink_to(outside)
    check_same(read_listing(tmp_path / "link"), made)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"is empty; expected data/<class>/<image>"),
        (["1.png"], "has images, but no folder per class"),
        (["labels.csv"], r"is .*labels\.csv meant"),
        (["x.txt", "y.txt"], r"has no images, only x\.txt; y\.txt"),
        (["cat/1.png", "cat/2.png"], "has one class, 'cat', alone; a classifier needs at least"),
        (["Co/1.png", "CO/2.png"], "differ only in case: 'CO' and 'Co'"),
        (["train/1.png", "test/1.png"], "no folder per class in each; expected data/test/<class>"),
        (["train/a/1.png", "test/a/1.png", "b/1.png"], r"one class, 'a', alone.*b: left out \(1"),
        (["val/a/1.png", "valid/a/1.png", "train/a/1.png"], "val and valid both mean the val"),
        (
            ["cat/x.txt", "dog/x.txt"],
            r"no labelled images:\n  is a class without images, only .*\(\.txt\).*: 2\n    cat",
        ),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).exists():
            pytest.skip("this file system does not tell case apart")
        (root / name).write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        read_listing(root)


@pytest.mark.parametrize("format", ["folder", "idx"])
def test_formats_without_columns_have_no_groups(tmp_path: Path, format: str) -> None:
    paths = write_every_format(tmp_path, make())
    with pytest.raises(DataError, match=f"group = 'writer': format '{format}' has no columns"):
        read_listing(paths[format], group="writer")


# CSV.


def write_table(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    for name in ("a.png", "b.png", "c.png"):
        (root / name).write_bytes(png(np.zeros((4, 4), np.uint8)))
    path = root / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_with_groups_and_other_columns(tmp_path: Path) -> None:
    made = make()
    writers = [f"w{i // 4}" for i in range(len(made))]
    path = write_csv(tmp_path / "data", made, {"Writer": writers, "note": ["x"] * len(made)})
    assert read_listing(path).groups is None
    assert read_listing(path, group="writer").groups == tuple(writers)
    with pytest.raises(DataError, match="group = 'doctor' is no column; there are: path, label, W"):
        read_listing(path, group="doctor")


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    rows = [
        "\ufeffLabel,Path ,Split",
        " dog ,a.png,Train",
        "cat,./b.png,test",
        "cat,c.png,dev",
        ",,",
    ]
    text = "\r\n".join(rows)
    listing = read_listing(write_table(tmp_path, text))
    assert listing.class_names == ("cat", "dog")
    assert listing.labels.tolist() == [1, 0, 0]
    assert listing.splits is not None
    assert listing.splits.tolist() == ["train", "test", "val"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the columns are none; expected a first line that names the columns"),
        ("a.png,cat\nb.png,dog\n", "the columns are a.png, cat; expected a first line"),
        ("path,path,label\n", "each name being there once"),
        ("path,label\n", "has no labelled images"),
        (
            "path,label\na.png,cat\nb.png\n,dog\nc.png, \n",
            r"row 3: has more.*\(1 instead of 2\)\n  lacks a value: 2\n    row 4 ",
        ),
        ("path,label\na.png,cat\nb.png,cat\n", "has one class, 'cat', alone"),
        (
            "path,label,split\na.png,cat,train\nb.png,dog,\n",
            "row 3 has ''; expected train, val, te",
        ),
        ("path,label,split\na.png,cat,exam\nb.png,dog,train\n", "row 2 has 'exam'"),
        ("path,label,split\na.png,cat,test\nb.png,dog,test\n", "has images for test only"),
        ("path,label\na.png,co\nb.png,CO\n", "differ only in case"),
        ('path,label\n"a.png,cat\n', "is no CSV table"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_listing(write_table(tmp_path, text))


def test_a_table_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_table(tmp_path, "")
    path.write_bytes("path,label\na.png,Bär\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read_listing(path)


def test_paths_of_a_table_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    root = tmp_path / "data"
    rows = ["a.png,cat", "b.png,dog", "../secret.png,cat", f"{tmp_path / 'secret.png'},cat"]
    rows += ["x/../../secret.png,dog", "c.png,dog"]
    path = write_table(root, "\n".join(["path,label", *rows]))
    try:
        (root / "link.png").symlink_to(tmp_path / "secret.png")
        (root / "folder").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system does not let links be made")
    with path.open("a", encoding="utf-8") as file:
        file.write("\nlink.png,cat\nfolder/secret.png,cat\n")
    listing = read_listing(path)
    assert [str(problem).split(":")[0] for problem in listing.problems] == [
        f"row {number}" for number in (4, 5, 6, 8, 9)
    ]
    assert all("leaves the folder" in str(problem) for problem in listing.problems)
    assert listing.names == ("a.png", "b.png", "c.png")


def test_rows_without_files_files_without_rows_and_rows_twice(tmp_path: Path) -> None:
    rows = ["a.png,cat", "b.png,dog", "./a.png,dog", "b.png,dog", "gone.png,cat"]
    listing = read_listing(write_table(tmp_path, "\n".join(["path,label", *rows])))
    assert tuple(map(str, listing.problems)) == (
        "row 4: ./a.png: is listed with two labels, as 'cat' and as 'dog', in row 2 first",
        "row 5: b.png: is listed twice, in row 3 first",
        "c.png: is an image without a label, in no row of the table",
    )
    assert listing.names == ("a.png", "b.png", "gone.png")
    with pytest.raises(ImageError, match="is not there"):
        listing.images.read(2)


# Archives of arrays.


def test_stored_arrays_are_mapped_and_packed_ones_read(tmp_path: Path) -> None:
    made = make(30, (7, 5))
    plain = read_listing(write_npz(tmp_path / "plain.npz", made))
    assert isinstance(plain.images, ArrayImages)
    assert isinstance(plain.images.blocks[0], np.memmap)
    check_same(plain, made)
    packed = read_listing(write_npz(tmp_path / "packed.npz", made, compressed=True))
    check_same(packed, made)


def test_arrays_in_fortran_order_and_other_types(tmp_path: Path) -> None:
    made = make()
    others: list[NDArray[Any]] = [
        np.asfortranarray(made.images),
        made.images.astype(np.int64),
        made.images[..., np.newaxis],
    ]
    for number, images in enumerate(others):
        path = tmp_path / f"{number}.npz"
        np.savez(path, x=images, y=made.labels[:, np.newaxis])
        check_same(read_listing(path), made)


def test_names_of_medmnist_and_labels_that_are_names(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), splits=SPLITS, class_names=("a", "b", "c"))
    arrays = {}
    for split in ("train", "val", "test"):
        chosen = np.array(SPLITS) == split
        arrays[f"{split}_images"] = made.images[chosen]
        arrays[f"{split}_labels"] = np.array(made.class_names)[made.labels[chosen]]
    np.savez(tmp_path / "med.npz", **arrays, other=np.zeros(3))
    listing = read_listing(tmp_path / "med.npz")
    check_same(listing, made)
    assert listing.suspicious == ("other: is an array that is not read",)


def test_groups_of_an_archive(tmp_path: Path) -> None:
    made = make()
    writers = np.arange(24) // 4
    np.savez(tmp_path / "one.npz", x=made.images, y=made.labels, writer=writers)
    assert read_listing(tmp_path / "one.npz", group="writer").groups == tuple(map(str, writers))
    np.savez(
        tmp_path / "two.npz",
        x_train=made.images,
        y_train=made.labels,
        x_test=made.images[:4],
        y_test=made.labels[:4],
        writer_train=writers,
        writer_test=np.full(4, 9),
    )
    groups = read_listing(tmp_path / "two.npz", group="writer").groups
    assert groups == (*map(str, writers), *"9999")
    with pytest.raises(DataError, match="no array doctor to group by; there are: writer, x, y"):
        read_listing(tmp_path / "one.npz", group="doctor")


IMAGES, LABELS = np.zeros((4, 3, 3), np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"has the arrays none; expected x_train, y_train"),
        ({"a": IMAGES}, "has the arrays a; expected"),
        ({"x_train": IMAGES}, "has x_train but not y_train"),
        ({"x": IMAGES, "y": np.array(["a", None, "a", "b"], object)}, "y holds Python objects"),
        ({"x": IMAGES.astype(object), "y": LABELS}, "x holds Python objects, which are pickled"),
        ({"x": IMAGES, "y": LABELS[:3]}, "x has 4 images and 3 labels"),
        ({"x": IMAGES * 1j, "y": LABELS}, "dtype complex128; expected integers or real numbers"),
        ({"x": IMAGES.astype("M8[s]"), "y": LABELS}, r"dtype datetime64\[s\]; expected integers"),
        ({"x": IMAGES.reshape(4, 9), "y": LABELS}, "reshape it to"),
        ({"x": np.zeros((4, 3, 9, 9), np.uint8), "y": LABELS}, r"transpose\(0, 2, 3, 1\)"),
        ({"x": np.zeros((0, 3, 3), np.uint8), "y": LABELS[:0]}, r"shape \(0, 3, 3\)"),
        ({"x": IMAGES, "y": np.eye(4)}, r"shape \(4, 4\).*argmax\(axis=1\)"),
        ({"x": IMAGES, "y": LABELS / 2}, "dtype float64; expected integers from 0, or names"),
        ({"x": IMAGES, "y": LABELS - 1}, r"label -1 of x\[0\].*expected 0 or more \(2 such"),
        ({"x": IMAGES, "y": LABELS, "class_names": np.array(["a"])}, "expected 0 to 0, as classes"),
        ({"x": IMAGES, "y": LABELS * 0}, "has one class, '0', alone"),
        ({"x_test": IMAGES, "y_test": LABELS}, "has images for test only"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / "data.npz")


def test_damaged_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_npz(tmp_path / "data.npz", make(), compressed=True)
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[:-40], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"no \.npz archive, or damaged"):
            read_listing(path)
    spoilt = bytearray(whole)
    spoilt[len(whole) // 3] ^= 0xFF
    path.write_bytes(spoilt)
    with pytest.raises(DataError, match="damaged"):
        read_listing(path)
    path.write_bytes(whole)
    monkeypatch.setattr(npz_format, "MAX_UNPACKED", 100)
    with pytest.raises(DataError, match=r"unpacks to 1,944 bytes; at most 100 are unpacked"):
        read_listing(path)


def test_a_pair_of_arrays_from_python() -> None:
    made = make(24, (4, 5, 3))
    listing = list_arrays(
        made.images, made.labels, ["zebra", "ape", "cow"], splits=SPLITS, groups=range(24)
    )
    assert listing.class_names == ("ape", "cow", "zebra")
    assert listing.groups == tuple(map(str, range(24)))
    named = dataclasses.replace(made, class_names=("zebra", "ape", "cow"), splits=SPLITS)
    check_same(listing, named)
    again = list_arrays(made.images.copy(), made.labels.tolist(), splits=SPLITS)
    assert again.stamp == listing.stamp
    assert list_arrays(made.images + 1, made.labels).stamp != listing.stamp
    with pytest.raises(DataError, match="unknown splits 'exam'; expected train, val or test"):
        list_arrays(made.images, made.labels, splits=["exam"] * 24)
    with pytest.raises(DataError, match="has 24 images and 3 groups"):
        list_arrays(made.images, made.labels, groups=[1, 2, 3])
    with pytest.raises(DataError, match="images is a list; expected a NumPy array"):
        list_arrays([[1]], [0])  # type: ignore[arg-type]


# IDX.


def test_idx_pairs_in_other_names(tmp_path: Path) -> None:
    made = make()
    folder = write_idx(tmp_path / "one", made)
    check_same(read_listing(folder / "train-images-idx3-ubyte"), made)
    for old, new in (
        ("train-images-idx3-ubyte", "emnist-letters-train-images-idx3-ubyte"),
        ("train-labels-idx1-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
    ):
        (folder / old).rename(folder / new)
    check_same(read_listing(folder), made)
    pair = write_idx(tmp_path / "two", made)
    for what, old in (("images.idx3", "images-idx3"), ("labels.idx1", "labels-idx1")):
        (pair / f"train-{old}-ubyte").rename(pair / f"{what}-ubyte")
    check_same(read_listing(pair), made)


@pytest.mark.parametrize("where", ["MNIST/raw/{}", "{0}/{0}", "a/{}"])
def test_idx_pairs_in_folders_below(tmp_path: Path, where: str) -> None:
    made = dataclasses.replace(make(), splits=SPLITS)
    folder = write_idx(tmp_path / "made", made)
    for path in sorted(folder.iterdir()):
        target = tmp_path / "data" / where.format(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    listing = check_format(find_format(tmp_path / "data"), tmp_path / "data")
    check_same(listing, made)
    assert "the IDX files lie in folders below: " in listing.notes[0]


def test_idx_pairs_in_a_folder_for_each_split(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), splits=SPLITS)
    folder = write_idx(tmp_path / "made", made)
    for prefix, split in (("train", "training"), ("val", "val"), ("t10k", "test")):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            shutil.copy(folder / f"{prefix}-{name}", tmp_path / "data" / split / name)
    check_same(read_listing(tmp_path / "data"), made)


def test_two_idx_data_sets_below_are_named(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        write_idx(tmp_path / name, make())
    with pytest.raises(DataError, match=r"give the path of one of them, .*digits or .*letters"):
        read_listing(tmp_path)


def test_idx_pairs_that_are_refused(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "data", dataclasses.replace(make(), splits=SPLITS))
    shutil.copy(folder / "train-images-idx3-ubyte", folder / "b-train-images-idx3-ubyte")
    shutil.copy(folder / "train-labels-idx1-ubyte", folder / "b-train-labels-idx1-ubyte")
    with pytest.raises(DataError, match="give each data set a folder of its own"):
        read_listing(folder)
    (folder / "b-train-images-idx3-ubyte").unlink()
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="labels are missing; expected t10k-labels-idx1-ubyte"):
        read_listing(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="has no IDX pair"):
        read_listing(tmp_path / "none", "idx")


# Parquet.


def test_one_table_with_plain_columns(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("cat", "dog", "eel"))
    writers = [i // 4 for i in range(24)]
    path = tmp_path / "data.parquet"
    pq.write_table(make_table(made, range(24), plain=True, extra={"writer": writers}), path)
    check_same(check_format(find_format(path), path), made)
    assert read_listing(path, group="writer").groups == tuple(map(str, writers))
    with pytest.raises(DataError, match="group = 'doctor' is no column; there are: image, label"):
        read_listing(path, group="doctor")
    pq.write_table(make_table(made, range(24)).replace_schema_metadata(None), path)
    assert read_listing(path).class_names == ("0", "1", "2")


def test_rows_are_read_in_any_order_from_large_tables(tmp_path: Path) -> None:
    made = make(700, (3, 3))
    for rows in (10_000, 100):
        path = tmp_path / f"{rows}.parquet"
        pq.write_table(make_table(made, range(700)), path, row_group_size=rows)
        images = read_listing(path).images
        for index in (0, 1, 699, 5, 300, 301, 650, 64, 63):
            assert images.read(index) == png(made.images[index]), index


def write_shards(root: Path, names: list[str], made: Made) -> Path:
    root.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        pq.write_table(make_table(made, range(place, len(made), len(names))), root / name)
    return root


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"], "train-00001-of-00003"),
        (["train-00000-of-00001.parquet", "other.parquet"], r"names of other\.parquet do not say"),
        (["test-00000-of-00001.parquet"], "has images for test only"),
    ],
)
def test_shards_that_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_listing(write_shards(tmp_path / "data", names, make()))


def test_shards_without_splits_in_their_names(tmp_path: Path) -> None:
    made = make()
    root = write_shards(tmp_path / "data", ["part-0.parquet", "part-1.parquet"], made)
    check_same(read_listing(root), made)


def with_column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.schema.get_field_index(name), name, pa.array(values)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.drop_columns(["label"]),
            r"columns are image; expected a first line .*label_column",
        ),
        (
            with_column("image", list(range(24))),
            "column image is int64; expected a struct of bytes",
        ),
        (with_column("label", [0.5] * 24), "column label is double; expected integers or text"),
        (with_column("label", [0, 1, None] * 8), "rows without a label: 2, 5, 8"),
        (with_column("label", [0, 1, -1] * 8), "row 2 has -1; row 5 has -1.*expected 0 to 2"),
        (with_column("label", [0, 1, 3] * 8), "row 2 has 3"),
        (with_column("label", [1] * 24), "has one class, '1', alone"),
    ],
)
def test_tables_of_other_columns(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    pq.write_table(change(make_table(make(), range(24))), tmp_path / "data.parquet")
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / "data.parquet")


def test_damaged_tables_and_rows_without_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    table = make_table(make(), range(24))
    pq.write_table(table, path)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-10], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no Parquet file, or damaged"):
            read_listing(path)
    images = table.column("image").to_pylist()
    images[3] = {"bytes": None, "path": "elsewhere.png"}
    images[5] = None
    kind = table.schema.field("image").type
    pq.write_table(table.set_column(0, "image", pa.array(images, kind)), path)
    listing = read_listing(path)
    for index in (3, 5):
        with pytest.raises(ImageError, match="only images within it are read"):
            listing.images.read(index)
    assert listing.images.read(4) == png(make().images[4])


def test_a_class_that_has_no_image_is_left_out_and_named(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("cat", "dog", "eel", "fox"))
    pq.write_table(make_table(made, range(24)), tmp_path / "data.parquet")
    listing = read_listing(tmp_path / "data.parquet")
    assert listing.class_names == ("cat", "dog", "eel")
    assert listing.suspicious == ("class 'fox' is named, but has no image",)


@pytest.mark.parametrize("name", ["folder", "csv", "npz", "idx", "parquet"])
def test_the_stamp_changes_with_the_files(tmp_path: Path, name: str) -> None:
    path = write_every_format(tmp_path, make())[name]
    before = read_listing(path).stamp
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    changed = files[0] if name != "csv" else path.parent / "scans" / "3.png"
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    content[-20] ^= 1
    changed.write_bytes(content)
    # Even where someone sets the time back; the status change time cannot be set.
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    try:
        assert read_listing(path).stamp != before
    except DataError:
        assert name in ("npz", "parquet")  # Damaged, and said so.


def test_readers_of_files_are_small_in_a_pickle(tmp_path: Path) -> None:
    listing = read_listing(write_parquet(tmp_path, make()))
    listing.images.read(3)
    assert len(pickle.dumps(listing.images)) < 1000


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["npz", "csv", "idx", "parquet"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.binary(max_size=6)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_damaged_file_is_read_or_refused_in_our_own_words(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[float, int, bytes]],
) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    if not root.exists():
        write_every_format(root, make(12, (4, 4)))
        pq.write_table(make_table(make(12, (4, 4)), range(12)), root / "parquet" / "a.parquet")
    path = {
        "npz": root / "npz" / "data.npz",
        "csv": root / "csv" / "labels.csv",
        "idx": root / "idx" / "train-images-idx3-ubyte",
        "parquet": root / "parquet" / "a.parquet",
    }[name]
    whole = path.read_bytes()
    content = bytearray(whole)
    for place, num_replaced, new in changes:
        start = int(place * len(content))
        content[start : start + num_replaced] = new
    try:
        path.write_bytes(content)
        listing = read_listing(path)
        for index in range(len(listing)):
            with suppress(ImageError):
                listing.images.read(index)
    except DataError:
        pass
    finally:
        path.write_bytes(whole)
