"""Data of every kind: read, or refused with a DataError that says why."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from burnish.data.formats import Listing, list_arrays, read_listing
from burnish.data.formats.classes import MAX_CLASSES, MAX_NAME, number_classes
from burnish.data.formats.listing import sort_naturally
from burnish.errors import DataError, ImageError

from ..data.made import png
from . import sample

DTYPES = st.one_of(
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.boolean_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.unicode_string_dtypes(max_len=8),
    hnp.byte_string_dtypes(max_len=8),
    hnp.array_dtypes(max_size=3),
    st.just(np.dtype(object)),
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)


def assert_says_something(error: DataError) -> None:
    assert 5 < len(str(error)) < 20_000


def look(make: Callable[[], Listing]) -> None:
    """Hold what is listed to what a listing promises, and what is refused to saying why."""
    try:
        listing = make()
    except DataError as error:
        assert_says_something(error)
        return
    assert len(listing.labels) == len(listing.names) > 0
    assert len(listing.class_names) >= 2
    assert set(listing.labels.tolist()) <= set(range(len(listing.class_names)))
    assert all(name.isprintable() and len(name) <= MAX_NAME for name in listing.class_names)
    for index in range(min(5, len(listing))):
        try:
            listing.images.read(index)
        except ImageError as error:
            assert_says_something(error)


@settings(max_examples=sample(200, 1500), deadline=None, derandomize=True)
@given(data=st.data(), images=hnp.arrays(DTYPES, SHAPES), good=st.sampled_from(["x", "y", "-"]))
def test_arrays_of_any_type_shape_and_value(data: st.DataObject, images: Any, good: str) -> None:
    """Row "bad input": NaN, infinities, empty, negative, objects, dates, texts."""
    num = len(images) if images.ndim else 0
    labels = data.draw(hnp.arrays(DTYPES, st.one_of(SHAPES, st.just((num,)))))
    if good == "x":
        images = np.zeros((len(labels) if labels.ndim else 3, 4, 4), np.uint8)
    elif good == "y":
        labels = np.arange(num) % 2
    look(lambda: list_arrays(images, labels))
    names = data.draw(st.none() | st.lists(st.text(max_size=4), max_size=4))
    look(lambda: list_arrays(images, labels, names))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CELLS = st.one_of(
    TEXTS,
    st.sampled_from(
        [
            "a.png",
            "b.png",
            "./a.png",
            "../x.png",
            "/etc/passwd",
            "a.png/../b.png",
            "",
            "train",
            "\0",
        ]
    ),
    st.integers().map(str),
)


@settings(max_examples=sample(200, 1500), deadline=None, derandomize=True)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=6),
    header=st.sampled_from(
        [
            "path,label",
            "path,label,split",
            "label,path,split,who",
            "",
            "path",
            "emotion,pixels",
            "class;file_name",
        ]
    ),
    rest=st.binary(max_size=20),
)
def test_tables_of_any_text(rows: list[list[str]], header: str, rest: bytes) -> None:
    """Row "bad input": rows of any cells and any bytes after them; no path leaves the folder."""
    with tempfile.TemporaryDirectory() as scratch:
        # Within a folder of its own: what lies beside it is looked through.
        root = Path(scratch) / "data"
        root.mkdir()
        for name in ("a.png", "b.png"):
            (root / name).write_bytes(png(np.zeros((2, 2), np.uint8)))
        buffer = io.StringIO()
        csv.writer(buffer).writerows(rows)
        table = root / "t.csv"
        table.write_bytes(f"{header}\n{buffer.getvalue()}".encode() + rest)
        for group in (None, "who"):
            look(lambda group=group: read_listing(table, "csv", group=group))  # type: ignore[misc]
        try:
            names = read_listing(table).names
        except DataError:
            return
        assert all((root / name).resolve().is_relative_to(root.resolve()) for name in names)


NAMES = st.binary(min_size=1, max_size=30).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
ODD = st.sampled_from([b"train", b"TEST", b"val", b".hidden", b"cat", b"Cat", b" ", b"-x", b"[a]"])


@settings(max_examples=sample(100, 800), deadline=None, derandomize=True)
@given(
    folders=st.lists(NAMES | ODD, max_size=4, unique=True),
    files=st.lists((NAMES | ODD).map(lambda n: n + b".png") | NAMES, max_size=4, unique=True),
    deep=st.booleans(),
)
def test_folders_and_files_of_any_name(
    folders: list[bytes], files: list[bytes], deep: bool
) -> None:
    """Row "bad input": names that are no text, hold commands or line ends, or mean something."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            place = os.path.join(os.fsencode(scratch), folder, *([b"in"] if deep else []))  # noqa: PTH118
            os.makedirs(place, exist_ok=True)  # noqa: PTH103
            for name in files:
                with open(os.path.join(place, name), "wb") as file:  # noqa: PTH118, PTH123
                    file.write(png(np.zeros((2, 2), np.uint8)))
        look(lambda: read_listing(Path(scratch), "folder"))
        look(lambda: read_listing(Path(scratch)))


@given(st.lists(st.text(alphabet="ab01 9²٣", max_size=6)))
def test_names_are_sorted_by_the_value_of_their_numbers(names: list[str]) -> None:
    ordered = sort_naturally(names)
    assert sort_naturally(reversed(ordered)) == ordered
    numbers = [name for name in ordered if name.isascii() and name.isdigit()]
    assert [int(n) for n in numbers] == sorted(int(n) for n in numbers)


def test_numbers_in_names_may_have_any_number_of_digits() -> None:
    long = "9" * 5000
    assert sort_naturally([f"1{long}", long, "2"]) == ("2", long, f"1{long}")


def test_labels_that_are_no_text_or_no_row_are_refused() -> None:
    images = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(DataError, match=r"dtype \|S1 and are not UTF-8"):
        list_arrays(images, np.array([b"\x80", b"a"]))
    assert list_arrays(images, np.array(["ü".encode(), b"a"])).class_names == ("a", "ü")
    with pytest.raises(DataError, match="lists of different lengths"):
        list_arrays(images, [[1], [1, 2]])


def test_a_column_that_names_each_image_is_no_label() -> None:
    with pytest.raises(DataError, match=r"has 10,001 classes; at most 10,000.*what each image"):
        number_classes("table", [str(number) for number in range(MAX_CLASSES + 1)])
    classes = number_classes("table", [str(n) for n in range(MAX_CLASSES)] * 3)
    assert [classes.names[label] for label in classes.labels[-3:]] == ["9997", "9998", "9999"]
    with pytest.raises(DataError, match="of at most 255 characters"):
        number_classes("table", ["cat", "x" * 256])


@pytest.mark.parametrize("format", ["csv", "npz", "idx", "parquet", "folder", None])
def test_pipes_and_what_is_no_path_are_refused_and_not_waited_for(
    tmp_path: Path, format: str | None
) -> None:
    pipe = tmp_path / "data.csv"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path / "a\0b", tmp_path / ("x" * 5000)):
        with pytest.raises(DataError, match=r"neither a folder nor a regular|cannot be read"):
            read_listing(path, format)
