"""Tables of pixels, as Kaggle has them."""

from __future__ import annotations

import dataclasses
import pickle
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from burnish.data.conformance import check_format
from burnish.data.formats import find_format, read_listing
from burnish.data.formats.pixel_table import PixelRows
from burnish.data.load import load_images
from burnish.errors import DataError, ImageError

from .made import Made, make, png
from .test_formats import SPLITS, check_same


def write_wide(
    path: Path, made: Made, names: Sequence[str] | None = None, *, last: bool = False
) -> Path:
    flat = made.images.reshape(len(made), -1)
    names = names or [f"pixel{number}" for number in range(flat.shape[1])]
    rows = [["label", *names]]
    rows += [[made.class_of(i), *map(str, flat[i].tolist())] for i in range(len(made))]
    if last:
        rows = [[*row[1:], row[0]] for row in rows]
    path.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")
    return path


def write_fer(path: Path, made: Made, usage: Sequence[str] | None = None) -> Path:
    rows = ["emotion,pixels" + (",Usage" if usage else "")]
    for index, image in enumerate(made.images):
        end = f",{usage[index]}" if usage else ""
        rows.append(f"{made.class_of(index)},{' '.join(map(str, image.ravel().tolist()))}{end}")
    path.write_text("\r\n".join(rows), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("names", ["pixel{}", "{}", "px_{}", "Pixel {}"])
def test_a_column_for_each_pixel(tmp_path: Path, names: str, last: bool) -> None:
    made = make()
    named = [names.format(number) for number in range(81)]
    path = write_wide(tmp_path / "train.csv", made, named, last=last)
    listing = check_format(find_format(path), path)
    check_same(listing, made)
    assert listing.notes == (
        f"pixels of 9x9 grey images were read from the columns '{named[0]}' to '{named[-1]}'",
    )


def test_names_by_row_and_column_say_the_size(tmp_path: Path) -> None:
    made = make(24, (5, 7))
    names = [f"{y}x{x}" for y in range(1, 6) for x in range(1, 8)]
    check_same(read_listing(write_wide(tmp_path / "a.csv", made, names)), made)
    with pytest.raises(DataError, match="are not in order: expected 1x1 to 1x2 row by row"):
        read_listing(write_wide(tmp_path / "b.csv", made, [names[0], *names[:1:-1], names[1]]))


def test_all_pixels_in_one_cell_and_splits_by_usage(tmp_path: Path) -> None:
    made = make()
    path = write_fer(tmp_path / "plain.csv", made)
    check_same(check_format(find_format(path), path), made)
    words = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
    usage = [words[split] for split in SPLITS]
    listing = read_listing(write_fer(tmp_path / "fer2013.csv", made, usage))
    check_same(listing, dataclasses.replace(made, splits=SPLITS))
    with pytest.raises(DataError, match="column Usage: row 2 has 'Exam'"):
        read_listing(write_fer(tmp_path / "fer2013.csv", made, ["Exam"] * 24))


def test_quoted_cells_floats_groups_and_another_label(tmp_path: Path) -> None:
    made = make()
    flat = made.images.reshape(24, -1)
    names = ",".join(f'"pixel{number}"' for number in range(81))
    rows = [f'"digit","writer",{names}']
    for index in range(24):
        values = ",".join(f'"{value}.0"' for value in flat[index].tolist())
        rows.append(f'"{made.class_of(index)}","w{index % 4}",{values}')
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"are digit, writer; .*--label-column"):
        read_listing(tmp_path / "t.csv")
    listing = read_listing(tmp_path / "t.csv", label_column="digit", group="writer")
    check_same(listing, made)
    assert listing.groups == tuple(f"w{index % 4}" for index in range(24))
    assert listing.chosen == {"label_column": "digit"}


def test_rows_that_are_not_whole_and_pixels_that_are_none(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "t.csv", make())
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].rpartition(",")[0]
    lines[5] = lines[5][1:]
    for number, value in ((7, "256"), (8, "-1"), (9, "0.5"), (10, "x"), (11, "nan")):
        lines[number] = f"{lines[number].rpartition(',')[0]},{value}"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    listing = read_listing(path)
    assert [str(problem) for problem in listing.problems] == [
        "row 4: has more or fewer values than there are columns (81 instead of 82)",
        "row 6: lacks a value",
    ]
    assert len(listing) == 22
    for place in (4, 5, 6, 7, 8):
        with pytest.raises(ImageError, match=r"no whole numbers from 0 to 255 \('"):
            listing.images.read(place)
    raw = load_images(path, on_bad_image="skip", cache_folder=tmp_path / "cache")
    assert raw.facts.num_skipped == 7
    assert raw.facts.skipped[0].startswith("row 4: has more or fewer values")
    short = write_fer(tmp_path / "fer.csv", make(6))
    text = short.read_text(encoding="utf-8-sig").replace(" ", "  ").splitlines()
    text[2] = text[2].rpartition(" ")[0]
    short.write_text("\n".join(text), encoding="utf-8")
    with pytest.raises(ImageError, match="than the others, 80 instead of 81"):
        read_listing(short).images.read(1)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (["label", *(f"pixel{i}" for i in range(20))], "20 pixels, which make no square"),
        (["label", *(f"pixel{i}" for i in range(48))], "48 numbers, as 4x4 pixels in colour"),
        (["label", *(f"pixel{i}" for i in range(17) if i != 5)], "not in order, or one is missing"),
        ([f"pixel{i}" for i in range(16)], "the columns are none; expected"),
        (
            ["label", *(f"p{i}" for i in range(8)), "x", *(f"p{i}" for i in range(8, 16))],
            "have oth",
        ),
        (["label", "pixels", "Pixels"], "has 2 columns called pixels"),
        (["5", *["0"] * 16], "17 numbers and no names; put a line with names above it: label,pix"),
    ],
)
def test_tables_of_pixels_that_are_refused(tmp_path: Path, head: list[str], message: str) -> None:
    row = ",".join(["1"] * len(head))
    (tmp_path / "t.csv").write_text("\n".join([",".join(head), row, row]), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / "t.csv")


def test_numbered_columns_beside_paths_are_no_pixels(tmp_path: Path) -> None:
    made = make(6)
    names = ["path", "label", *map(str, range(16))]
    rows = [",".join(names)]
    for index, image in enumerate(made.images):
        (tmp_path / f"{index}.png").write_bytes(png(image))
        rows.append(",".join([f"{index}.png", made.class_of(index), *["0"] * 16]))
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    check_same(read_listing(tmp_path / "t.csv"), made)
    text = (tmp_path / "t.csv").read_text(encoding="utf-8").replace(",15\n", ",pixels\n")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="path and pixels could each hold the images"):
        read_listing(tmp_path / "t.csv")


def test_a_file_that_is_no_table_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.data.formats.table.MAX_WRONG", 50)
    for head in ("label,pixels", "label,path"):
        (tmp_path / "t.csv").write_text(f"{head}\n" + "x\n" * 500, encoding="utf-8")
        with pytest.raises(DataError, match="rows that cannot be used, over 50") as caught:
            read_listing(tmp_path / "t.csv")
        assert "more or fewer values than there are columns (1 instead of 2): 51" in str(
            caught.value
        )


def test_a_listing_takes_a_few_bytes_an_image(tmp_path: Path) -> None:
    made = make(2000, (28, 28), 10)
    path = write_wide(tmp_path / "train.csv", made)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    listing = read_listing(path)
    assert isinstance(listing.images, PixelRows)
    assert len(pickle.dumps(listing.images)) < 20 * len(listing)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < path.stat().st_size


def test_the_stamp_knows_the_columns_that_decide_which_rows_are_left_out(tmp_path: Path) -> None:
    head = ["a", "b", *(f"pixel{i}" for i in range(16))]
    rows = [["", "1"], ["1", ""], ["2", "2"], ["1", "1"]]
    lines = [",".join(head), *(",".join([*row, *["7"] * 16]) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    one, two = (read_listing(tmp_path / "t.csv", label_column=name) for name in "ab")
    assert list(one.names) != list(two.names)
    assert one.stamp != two.stamp


def test_arrays_are_what_was_written(tmp_path: Path) -> None:
    made = make(4, (4, 4), 2)
    images = read_listing(write_fer(tmp_path / "t.csv", made)).images
    for index in (3, 0, 2):
        assert np.array_equal(images.read(index), made.images[index])
