"""Which columns hold images and labels: one rule, in tables of text, Parquet and archives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.data.formats import read_listing
from burnish.data.formats.columns import IMAGE, LABEL, find_column, fold_name, has_column
from burnish.data.load import load_images
from burnish.errors import DataError

from .made import make, make_table
from .test_formats import SPLITS, check_same


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["path", "label"], ("path", "label")),
        (["ID", "File Name", "Class"], ("File Name", "Class")),
        (["image-id", "dx", "emotion"], ("image-id", "emotion")),
        (["id", "labels"], ("id", "labels")),
    ],
)
def test_a_usual_name_that_is_there_once(columns: list[str], expected: tuple[str, str]) -> None:
    found = tuple(find_column("t", columns, role, None) for role in (IMAGE, LABEL))
    assert found == expected
    assert has_column(columns, LABEL)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["img", "image"],
            r"columns img and image could each hold.*image_column = \"img\" \(--ima",
        ),
        (["id", "image_id"], "columns id and image_id could each"),
        (["path", "path"], "each name being there once"),
        (["scan", "dx"], r"the columns are scan, dx; .* say which it is: image_column \(--image-c"),
        ([], "the columns are none"),
    ],
)
def test_names_that_do_not_say_it(columns: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_column("t", columns, IMAGE, None)
    assert not has_column(columns, LABEL)


def test_a_column_that_is_asked_for() -> None:
    assert find_column("t", ["a", "B", "b"], IMAGE, "b") == "b"
    assert find_column("t", ["a", "My Scan"], IMAGE, "my_scan") == "My Scan"
    with pytest.raises(DataError, match="image_column = 'A' is 2 columns: a, a"):
        find_column("t", ["a", "a"], IMAGE, "A")
    assert fold_name("  File - Name") == "file_name"


def test_columns_of_parquet(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("cat", "dog", "eel"))
    plain = make_table(made, range(24), plain=True)
    path = tmp_path / "t.parquet"
    # The type decides between two usual names: a path is no image.
    pq.write_table(
        plain.rename_columns(["img", "category"]).append_column("file_name", pa.array(["x"] * 24)),
        path,
    )
    listing = read_listing(path)
    check_same(listing, made)
    assert listing.chosen == {"image_column": "img", "label_column": "category"}
    # As CIFAR-100 has it: two columns of labels, with names in the metadata.
    two = make_table(made, range(24)).rename_columns(["img", "fine_label"])
    coarse = pa.array([int(label > 0) for label in made.labels])
    two = two.append_column("coarse_label", coarse).replace_schema_metadata(
        {
            "huggingface": '{"info": {"features": {"fine_label": {"names": ["cat", "dog", "eel"]}, '
            '"coarse_label": {"names": ["pet", "fish"]}}}}'
        }
    )
    pq.write_table(two, path)
    with pytest.raises(DataError, match="columns fine_label and coarse_label could each hold the"):
        read_listing(path)
    check_same(read_listing(path, label_column="fine_label"), made)
    assert read_listing(path, label_column="coarse_label").class_names == ("fish", "pet")
    with pytest.raises(DataError, match="label_column = 'dx' is no column; there are: img, fine_l"):
        read_listing(path, label_column="dx")
    with pytest.raises(DataError, match=r"image_root = '\.': format 'parquet' has no use for it"):
        read_listing(path, image_root=Path())


def test_two_columns_of_images_are_two_data_sets_in_the_cache(tmp_path: Path) -> None:
    made, other = make(), make(24, (5, 5))
    table = make_table(made, range(24), plain=True)
    second = make_table(other, range(24), plain=True).column("image")
    path = tmp_path / "t.parquet"
    pq.write_table(table.append_column("img", second), path)
    np.savez(tmp_path / "t.npz", img=made.images, scan=made.images[::-1].copy(), label=made.labels)
    for name, columns in ((path, ("image", "img")), (tmp_path / "t.npz", ("img", "scan"))):
        read = [
            load_images(name, image_column=column, cache_folder=tmp_path / "cache").train.images
            for column in columns
        ]
        assert read[0].shape != read[1].shape or not np.array_equal(read[0], read[1])


def test_arrays_of_an_archive(tmp_path: Path) -> None:
    made = make()
    np.savez(tmp_path / "a.npz", img=made.images, Label=made.labels)
    check_same(read_listing(tmp_path / "a.npz"), made)
    np.savez(tmp_path / "b.npz", scan=made.images, dx=made.labels, label=made.labels * 0)
    with pytest.raises(DataError, match=r"has the arrays dx, label, scan; .*--image-column"):
        read_listing(tmp_path / "b.npz")
    check_same(read_listing(tmp_path / "b.npz", image_column="scan", label_column="dx"), made)
    np.savez(tmp_path / "c.npz", x=made.images, y=made.labels, label=made.labels)
    with pytest.raises(DataError, match=r"arrays label and y could each hold the labels"):
        read_listing(tmp_path / "c.npz")
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        chosen = np.array(SPLITS) == split
        arrays |= {f"x_{split}": made.images[chosen], f"fine_label_{split}": made.labels[chosen]}
    np.savez(tmp_path / "d.npz", **arrays)
    check_same(read_listing(tmp_path / "d.npz"), dataclasses.replace(made, splits=SPLITS))
