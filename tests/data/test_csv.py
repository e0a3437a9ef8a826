"""Tables of paths: how columns and images are found, and what is said of it."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from burnish.data.check import check_data
from burnish.data.conformance import check_format
from burnish.data.formats import find_format, read_listing
from burnish.data.load import load_images
from burnish.errors import DataError, DataNotFoundError, ImageError

from .made import Made, make, png, write_csv, write_folder
from .test_formats import check_same


def write_images(folder: Path, made: Made, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(made.images):
        (folder / f"{index}{suffix}").write_bytes(png(image))


def write_table(path: Path, made: Made, pattern: str = "{}.png", head: str = "path,label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{pattern.format(i)},{made.class_of(i)}" for i in range(len(made))]
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


# Causes come first.


def test_paths_that_lead_nowhere_are_said_to_before_what_follows_from_it(tmp_path: Path) -> None:
    made = make(30)
    write_images(tmp_path / "data" / "im", made)
    table = write_table(tmp_path / "data" / "labels.csv", made, "gone/{}.png")
    with pytest.raises(DataError) as caught:
        load_images(table, cache_folder=tmp_path / "cache")
    lines = str(caught.value).splitlines()
    assert lines[1] == "  is not there: 30, as"
    assert lines[2] == "    gone/0.png"
    follows = lines.index("  is an image without a label, in no row of the table: 30, as")
    assert follows > lines.index("    and 20 more")
    found = check_data(table, cache_folder=tmp_path / "cache")
    kinds = [(group["kind"], group["num"]) for group in found["problem_kinds"]]
    assert kinds == [
        ("labels: no image can be used", 1),
        ("is not there", 30),
        ("is an image without a label, in no row of the table", 30),
    ]
    assert found["problems"][1] == "gone/0.png: is not there"


# Paths as they are written elsewhere.


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("im\\{}.png", "24 with back-slashes"),
        (".\\im\\{}.png", "24 with back-slashes"),
        ("im/{}", "24 without a suffix"),
        ("im/{}.PNG", "24 with a suffix in another case"),
        ("ROOT/im/{}.png", "24 absolute, within the folder"),
    ],
)
def test_paths_that_are_written_otherwise_are_taken_and_noted(
    tmp_path: Path, pattern: str, said: str
) -> None:
    made = make()
    root = tmp_path / "data"
    write_images(root / "im", made)
    table = write_table(root / "labels.csv", made, pattern.replace("ROOT", str(root)))
    listing = read_listing(table)
    check_same(listing, made)
    assert listing.problems == ()
    assert said in listing.notes[0]
    assert set(map(str, listing.names)) <= {
        f"{start}im/{i}.png" for i in range(24) for start in ("", "./")
    }


def test_forms_of_unicode_do_not_count_neither_in_folders_nor_in_files(tmp_path: Path) -> None:
    made = make(6)
    for number, form in enumerate(("NFC", "NFD")):
        other = ("NFD", "NFC")[number]
        root = tmp_path / form
        folder = root / unicodedata.normalize(other, "größe")  # type: ignore[arg-type]
        folder.mkdir(parents=True)
        rows = ["path,label"]
        for index, image in enumerate(made.images):
            name = f"größe/é{index}.png"
            path = root / unicodedata.normalize(other, name)  # type: ignore[arg-type]
            path.write_bytes(png(image))
            rows.append(f"{unicodedata.normalize(form, name)},{made.class_of(index)}")  # type: ignore[arg-type]
        (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
        listing = read_listing(root / "labels.csv")
        check_same(listing, made)
        assert listing.problems == ()


def test_what_could_be_several_files_is_said_and_not_guessed(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "im", made)
    (tmp_path / "im" / "3.jpg").write_bytes(png(made.images[3]))
    listing = read_listing(write_table(tmp_path / "labels.csv", made, "im/{}"))
    causes = [problem for problem in listing.problems if problem.is_cause]
    assert [str(problem) for problem in causes] == [
        "row 5: im/3: could be more than one file: im/3.jpg or im/3.png"
    ]
    assert len(listing) == 23


def test_an_absolute_path_outside_and_one_of_another_system_are_refused(tmp_path: Path) -> None:
    made = make(6)
    write_images(tmp_path / "data", made)
    write_images(tmp_path / "other", made)
    for pattern in (f"{tmp_path}/other/{{}}.png", "C:\\data\\{}.png", "../other/{}.png"):
        table = write_table(tmp_path / "data" / "labels.csv", made, pattern)
        with pytest.raises(DataError, match=r"no labelled images:\n  leaves the folder .*: 6\n"):
            read_listing(table)


# Where the images lie.


def test_images_in_a_folder_beside_the_table_are_found_and_noted(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "data" / "images", made)
    (tmp_path / "data" / "empty").mkdir()
    table = write_table(tmp_path / "data" / "labels.csv", made)
    listing = check_format(find_format(table), table)
    check_same(listing, made)
    assert listing.problems == ()
    assert "found near by, in " + str(tmp_path / "data" / "images") in listing.notes[0]
    assert listing.chosen == {"image_root": str(tmp_path / "data" / "images")}


@pytest.mark.parametrize("pattern", ["images/{}.png", "{}.png", "images\\{}"])
def test_images_beside_the_tables_folder_are_found(tmp_path: Path, pattern: str) -> None:
    made = make()
    write_images(tmp_path / "set" / "images", made)
    write_images(tmp_path / "elsewhere", make(3))
    table = write_table(tmp_path / "set" / "data" / "labels.csv", made, pattern)
    listing = read_listing(table)
    check_same(listing, made)
    assert listing.problems == ()
    assert "near by" in listing.notes[0]
    # What else lies in the folder above is nobody's business; what lies beside the images is.
    (tmp_path / "set" / "images" / "more.png").write_bytes(b"x")
    (tmp_path / "set" / "stray.png").write_bytes(b"x")
    with table.open("a", encoding="utf-8") as file:
        file.write("stray.png,0\n")
    listing = read_listing(table)
    assert [problem.name for problem in listing.problems] == ["images/more.png"]
    with pytest.raises(ImageError, match="is not there"):
        listing.images.read(24)
    assert listing.names[24] in ("data/stray.png", "images/stray.png")


def test_parts_of_a_set_in_two_folders_are_one(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "part_1", made)
    (tmp_path / "part_2").mkdir()
    for number in range(12, 24):
        (tmp_path / "part_1" / f"{number}.png").rename(tmp_path / "part_2" / f"{number}.png")
    listing = read_listing(write_table(tmp_path / "meta.csv", made, "{}", "image_id,target"))
    check_same(listing, made)
    assert listing.chosen == {"image_column": "image_id", "label_column": "target"}


def test_the_same_names_in_two_folders_are_refused_until_one_is_named(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "images", made)
    write_images(tmp_path / "masks", make(24, (3, 3)))
    table = write_table(tmp_path / "labels.csv", made)
    with pytest.raises(DataError, match=r"may lie in \S*images or in \S*masks: .*--image-root"):
        read_listing(table)
    listing = read_listing(table, image_root=tmp_path / "images")
    check_same(listing, made)
    assert not listing.problems
    assert not listing.notes
    with pytest.raises(DataNotFoundError, match=r"image_root = .*there is no such folder"):
        read_listing(table, image_root=tmp_path / "none")


def test_an_image_root_counts_alone_and_may_not_be_left(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "a", made)
    write_images(tmp_path / "b", made)
    table = write_table(tmp_path / "labels.csv", made, "../b/{}.png")
    check_same(read_listing(table, image_root=tmp_path / "b"), made)
    with pytest.raises(DataError, match=r"leaves the folder \S*a; paths are relative to it: 24"):
        read_listing(table, image_root=tmp_path / "a")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b")
    table = write_table(tmp_path / "labels.csv", made, "link\\{}.png")
    with pytest.raises(DataError, match="leaves the folder"):
        read_listing(table, image_root=tmp_path / "a")


def test_nothing_is_looked_for_where_a_path_tries_to_leave(tmp_path: Path) -> None:
    made = make(6)
    write_images(tmp_path / "private", made)
    (tmp_path / "data").mkdir()
    table = write_table(tmp_path / "data" / "labels.csv", made)
    assert read_listing(table).chosen["image_root"] == str(tmp_path / "private")
    with table.open("a", encoding="utf-8") as file:
        file.write("../x.png,0\n")
    listing = read_listing(table)
    assert "image_root" not in listing.chosen
    assert listing.images.root == tmp_path / "data"  # type: ignore[attr-defined]
    # Nor through a link.
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "images").symlink_to(tmp_path / "private")
    shutil.rmtree(tmp_path / "data")
    inner = write_table(tmp_path / "linked" / "deep" / "labels.csv", made)
    assert "image_root" not in read_listing(inner).chosen


def test_where_images_lie_is_part_of_the_stamp(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path / "a", made)
    write_images(tmp_path / "b", make(24, (9, 9)))
    table = write_table(tmp_path / "labels.csv", made)
    one, two = (read_listing(table, image_root=tmp_path / name) for name in "ab")
    assert one.stamp != two.stamp


# Columns.


@pytest.mark.parametrize(
    "head",
    ["file_name,label", "Filename,Class", "image,category", "IMG,target", "image id,emotion"],
)
def test_usual_names_of_columns_are_found_alone(tmp_path: Path, head: str) -> None:
    made = make()
    write_images(tmp_path, made)
    listing = read_listing(write_table(tmp_path / "labels.csv", made, head=head))
    check_same(listing, made)
    image, label = head.split(",")
    assert listing.notes == (f"column '{image}' names the images, column '{label}' their labels",)


def test_columns_that_nobody_can_tell_are_named_with_the_options(tmp_path: Path) -> None:
    made = make()
    path = write_csv(tmp_path / "data", made, {"class": ["x"] * 12 + ["y"] * 12})
    with pytest.raises(DataError, match=r"columns label and class could each hold the labels.*--l"):
        read_listing(path)
    check_same(read_listing(path, label_column="Label"), made)
    assert read_listing(path, label_column="class").class_names == ("x", "y")
    with pytest.raises(DataError, match="image_column = 'scan' is no column; there are: path, lab"):
        read_listing(path, image_column="scan", label_column="label")
    table = write_table(tmp_path / "data" / "odd.csv", made, "scans/{}.png", "scan,dx")
    with pytest.raises(DataError, match=r"are scan, dx; .*image_column \(--image-column\)"):
        read_listing(table)
    check_same(read_listing(table, image_column="scan", label_column="dx"), made)


# Hugging Face's folders.


def test_a_folder_with_metadata_is_a_table(tmp_path: Path) -> None:
    made = make()
    write_images(tmp_path, made)
    table = write_table(tmp_path / "metadata.csv", made, head="file_name,label")
    listing = check_format(find_format(tmp_path), tmp_path)
    check_same(listing, made)
    assert (listing.format, listing.name, listing.problems) == ("csv", tmp_path.name, ())
    table.unlink()
    lines = [json.dumps({"file_name": f"{i}.png", "label": int(made.labels[i])}) for i in range(24)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    check_same(read_listing(tmp_path), made)
    check_same(read_listing(tmp_path / "metadata.jsonl"), made)


def test_metadata_in_folders_of_splits(tmp_path: Path) -> None:
    made = make()
    for split in ("train", "validation", "test"):
        write_images(tmp_path / split, made)
        write_table(tmp_path / split / "metadata.csv", made, head="file_name,label")
    (tmp_path / "test" / "7.png").unlink()
    listing = read_listing(tmp_path)
    assert listing.splits is not None
    assert listing.splits.tolist() == ["test"] * 24 + ["train"] * 24 + ["val"] * 24
    assert listing.names[7] == "test/7.png"
    assert listing.problems == ()
    with pytest.raises(DataError, match=r"format 'metadata\.csv' has no use for it"):
        read_listing(tmp_path, image_root=tmp_path)
    shutil.copy(tmp_path / "test" / "metadata.csv", tmp_path)
    with pytest.raises(DataError, match=r"has metadata\.csv beside the tables of splits"):
        read_listing(tmp_path)


def test_classes_with_metadata_of_other_things_beside_them_stay_folders(tmp_path: Path) -> None:
    made = make()
    write_folder(tmp_path, made)
    (tmp_path / "metadata.csv").write_text("file_name,text\n0/0.png,hello\n", encoding="utf-8")
    listing = read_listing(tmp_path)
    assert listing.format == "folder"
    check_same(listing, made)
    with pytest.raises(DataNotFoundError, match=r"there is no table in it; expected metadata\.csv"):
        read_listing(tmp_path, "csv")
