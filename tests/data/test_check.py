from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import burnish
from burnish.data.check import check_data
from burnish.errors import BurnishError

from .made import make, make_table, png, write_csv, write_every_format, write_folder
from .test_load import BAD, refuse, spoil, write_images


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own."""
    return tmp_path_factory.mktemp("cache")


def test_a_data_set_in_which_nothing_is_wrong(tmp_path: Path, kept: Path) -> None:
    splits = ("train",) * 16 + ("val",) * 4 + ("test",) * 4
    made = dataclasses.replace(make(24, (9, 8), 2), class_names=("cat", "dog"), splits=splits)
    path = write_folder(tmp_path / "pets", made)
    found = check_data(path, cache_folder=kept)
    assert found == {
        "path": str(path),
        "format": "folder",
        "num_images": 24,
        "num_good": 24,
        "classes": [
            {"name": "cat", "total": 12, "train": 8, "val": 2, "test": 2},
            {"name": "dog", "total": 12, "train": 8, "val": 2, "test": 2},
        ],
        "splits": ["train", "val", "test"],
        "sizes": [{"height": 9, "width": 8, "num": 24}],
        "num_sizes": 1,
        "modes": [{"mode": "L", "num": 24}],
        "input": {"height": 9, "width": 8, "color": "grey", "range": None},
        "duplicates": {"num": 0, "num_across_splits": 0, "num_conflicts": 0, "conflicts": []},
        "problems": [],
        "num_problems": 0,
        "problem_kinds": [],
        "is_refused": False,
        "suspicious": [],
        "num_suspicious": 0,
        "notes": ["size 9x8: that of all images", "color grey: no image has colour"],
        "warnings": [],
        "sheets": [],
    }
    # What a study will need is in the cache now.
    assert check_data(path, cache_folder=kept, on_progress=refuse) == found


def test_a_study_file_is_told_where_it_belongs(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[study]\n", encoding="utf-8")
    (problem,) = check_data(path, cache_folder=kept)["problems"]
    assert problem == (
        f"{path}: a study file by its name, where images are expected; "
        f"'burnish plan {path}' looks through a study"
    )


def test_every_format_can_be_checked(tmp_path: Path, kept: Path) -> None:
    for name, path in write_every_format(tmp_path, make()).items():
        found = check_data(path, cache_folder=kept)
        assert (found["format"], found["num_images"], found["problems"]) == (name, 24, [])


def test_sizes_modes_and_suspicious_files(tmp_path: Path, kept: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [(9, 9), (9, 9), (9, 9, 3), (12, 9, 4)] * 4
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    root = write_images(tmp_path, images)
    (root / "notes.txt").write_bytes(b"x")
    found = check_data(root, cache_folder=kept)
    assert found["sizes"] == [
        {"height": 9, "width": 9, "num": 12},
        {"height": 12, "width": 9, "num": 4},
    ]
    assert found["modes"] == [
        {"mode": "L", "num": 8},
        {"mode": "RGB", "num": 4},
        {"mode": "RGBA", "num": 4},
    ]
    assert found["suspicious"] == ["notes.txt: is not called as an image is"]
    assert found["input"] == {"height": 9, "width": 9, "color": "rgb", "range": None}
    assert found["problems"] == []


def test_all_that_is_wrong_is_found_in_one_pass(tmp_path: Path, kept: Path) -> None:
    made = make()
    root = write_folder(tmp_path, made)
    spoil(root)
    (root / "1" / "same.png").write_bytes(png(made.images[0]))
    (root / "rare").mkdir()
    (root / "rare" / "1.png").write_bytes(png(made.images[1] // 2))
    found = check_data(root, cache_folder=kept)
    heads = [problem.split(":")[0] for problem in found["problems"]]
    # What has no label may be a consequence of something else, and comes last.
    assert heads[-1] == "stray.png"
    assert sorted([*heads[:5], heads[-1]]) == sorted(BAD)
    assert found["problems"][5:7] == [
        "class 'rare' has 1 image, and each of the 3 splits (train, val, test) needs at least one "
        "of every class; add images of it, or leave the class out",
        "0/0.png (0) and 1/same.png (1): are identical images with different labels",
    ]
    kinds = {group["kind"]: (group["num"], group["examples"]) for group in found["problem_kinds"]}
    assert kinds["is cut off or damaged"][0] == 2
    assert kinds["is an image without a label, beside the classes' folders"] == (1, ["stray.png"])
    assert sum(num for num, _ in kinds.values()) == 8
    assert found["num_problems"] == 8
    assert (found["num_images"], found["num_good"]) == (31, 26)
    assert found["notes"][-1].startswith("images that are identical to another: 1;")


def test_leaks_between_given_splits_are_wrong(tmp_path: Path, kept: Path) -> None:
    made = dataclasses.replace(make(), splits=("train", "train", "test", "test") * 6)
    root = write_folder(tmp_path, made)
    for name in ("train/0/leak.png", "train/0/twice.png"):
        (root / name).write_bytes(png(made.images[3]))
    found = check_data(root, cache_folder=kept)
    assert found["duplicates"]["num_across_splits"] == 2
    assert found["problems"] == [
        f"{root.name}: has images of the given train or val split that are in a later split too; "
        "a study takes them out (2)"
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty"),
        (["cat/1.png"], "has one class, 'cat', alone"),
        (["cat/1.png", "dog/1.png"], "no image can be used"),
    ],
)
def test_what_cannot_be_read_at_all_is_a_problem(
    tmp_path: Path, kept: Path, files: list[str], message: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = check_data(tmp_path, cache_folder=kept)
    assert message in found["problems"][0]
    assert found["num_problems"] == sum(group["num"] for group in found["problem_kinds"])
    json.dumps(found)


def test_a_sheet_of_each_class(tmp_path: Path, kept: Path) -> None:
    colors = {"a/b": (255, 0, 0), "größe": (0, 255, 0), "10": (0, 0, 255)}
    images, labels = [], []
    for number, color in enumerate(colors.values()):
        for shade in range(70 if number == 0 else 3):
            image = np.full((12, 16, 3), color, np.uint8)
            image[:, shade % 16] //= 1 + shade // 16
            images.append(image)
            labels.append(number)
    made = dataclasses.replace(
        make(), images=np.array(images), labels=np.array(labels, np.int32), class_names=(*colors,)
    )
    path = tmp_path / "made.parquet"
    pq.write_table(make_table(made, range(len(made))), path)
    found = check_data(path, out=tmp_path / "sheets", cache_folder=kept)
    names = [Path(sheet).name for sheet in found["sheets"]]
    assert names == ["1-10.png", "2-a-b.png", "3-größe.png"]
    sheets = {}
    for sheet in found["sheets"]:
        with Image.open(sheet) as sheet_image:
            sheets[Path(sheet).name] = np.asarray(sheet_image.convert("RGB")).astype(int)
    many, few = sheets["2-a-b.png"], sheets["3-größe.png"]
    assert many.shape[1] >= 8 * 16 * 6  # Small images are enlarged, eight in a row.
    assert many.shape[0] > few.shape[0]
    reddish = (many[..., 0] - many[..., 1] > 200).mean()
    greenish = (few[..., 1] - few[..., 0] > 200).mean()
    assert reddish > 0.7
    assert greenish > 0.3
    with pytest.raises(BurnishError, match=r"contact sheets cannot be written .*--out"):
        check_data(path, out=path, cache_folder=kept)


def burnish_check(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(Path(burnish.__file__).parents[1]),
        "COLUMNS": "100",
    }
    return subprocess.run(
        [sys.executable, "-m", "burnish", "check", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def test_the_command_prints_and_says_by_its_exit_code(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "good", make())
    done = burnish_check(str(root), "--out", str(tmp_path / "sheets"), cache=kept)
    assert (done.returncode, done.stderr) == (0, "decoding 24 images\n")
    assert "good: 24 images, format folder" in done.stdout
    assert "nothing is wrong" in done.stdout
    assert "9x9 (24)" in done.stdout
    assert len(list((tmp_path / "sheets").glob("*.png"))) == 3

    done = burnish_check(str(root), "--json", cache=kept)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["num_images"] == 24

    spoil(root)
    done = burnish_check(str(root), cache=kept)
    assert done.returncode == 1
    assert "problems" in done.stdout
    assert "0/empty.jpg: is empty" in done.stdout
    assert "Traceback" not in done.stderr
    done = burnish_check(str(root), "--json", cache=kept)
    assert done.returncode == 1
    assert json.loads(done.stdout)["num_problems"] == 6

    done = burnish_check(str(tmp_path / "none"), cache=kept)
    assert done.returncode == 1
    assert "there is no such file or folder" in done.stdout


def test_the_command_groups_by_a_column(tmp_path: Path, kept: Path) -> None:
    path = write_csv(tmp_path / "data", make(), {"writer": ["w"] * 24})
    done = burnish_check(str(path), "--group", "doctor", "--format", "csv", cache=kept)
    assert done.returncode == 1
    assert "group = 'doctor' is no column" in done.stdout


def test_the_command_takes_the_columns_and_the_folder_of_a_table(
    tmp_path: Path, kept: Path
) -> None:
    made = dataclasses.replace(make(24, (9, 9), 2), class_names=("a", "A"))
    path = write_csv(tmp_path / "data", made, {"dx": ["b", "B"] * 12})
    text = path.read_text(encoding="utf-8").replace("scans/", "").replace("path", "scan")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    options = ["--image-column", "scan", "--label-column", "dx", "--image-root"]
    place = str(tmp_path / "data" / "scans")
    command = [str(tmp_path / "labels.csv"), *options, place, "--class-case"]
    done = burnish_check(*command, "keep", "--json", cache=kept)
    found = json.loads(done.stdout)
    assert (done.returncode, found["problems"]) == (0, [])
    assert [entry["name"] for entry in found["classes"]] == ["B", "b"]
    assert "differ in case alone stay apart: 'B' and 'b'" in " ".join(found["notes"])
    done = burnish_check(*command, "join", cache=kept)
    assert done.returncode == 1
    assert "has one class, 'B', alone" in done.stdout


def test_sheets_are_not_drawn_among_the_images_nor_read_as_some(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make(24))
    for out in (root, root / "1"):
        with pytest.raises(BurnishError, match="holds images of the data set"):
            check_data(root, out=out, cache_folder=kept)
    found = check_data(root, out=root / "sheets", cache_folder=kept)
    assert len(found["sheets"]) == 3
    again = check_data(root, cache_folder=kept)
    assert [one["name"] for one in again["classes"]] == ["0", "1", "2"]
    assert again["notes"][0] == "left out, as burnish wrote them: sheets"
