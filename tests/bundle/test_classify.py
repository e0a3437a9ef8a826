"""Files and folders through a model, and the answers laid out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from burnish.bundle.classify import Answer, classify_files, find_images
from burnish.bundle.listing import list_as_csv, list_as_json, list_for_people
from burnish.bundle.model import Model
from burnish.data.formats import read_listing
from burnish.errors import DataNotFoundError
from burnish.image import NO_INK

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ANSWERS = [
    Answer(Path("a.png"), (("three", 0.98765), ("eight", 0.01))),
    Answer(Path("bad.png"), error="bad.png is empty"),
    Answer(Path("long-name.png"), (("=1+1", 0.5), ("two", 0.25))),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("b.png", "a.JPG", "deep/er/c.bmp", ".hidden.png", "9.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (20, 20))
        ImageDraw.Draw(image).line(random.integers(2, 18, 6).tolist(), fill=255, width=2)
        image.save(path)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def test_a_folder_stands_for_the_images_in_it_and_below(folder: Path) -> None:
    named = folder / "notes.txt"
    found = find_images([named, folder])
    images = [folder / n for n in ("9.png", "a.JPG", "b.png", "deep/er/c.bmp")]
    assert found.paths == [named, *images]
    assert found.unread == [named]
    assert found.refused == []
    (folder / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match=r"empty holds no image: .*\.png"):
        find_images([folder / "empty"])


def test_the_images_of_a_folder_are_those_that_training_would_read(tmp_path: Path) -> None:
    """Of every suffix, hidden folder and link, training and use judge alike."""
    names = ["a.png", "b.jfif", "c.JPE", "d.tiff", "e.HEIC", "f.avif", "g.txt", "h.dng"]
    hidden = [".ipynb_checkpoints/a.png", ".b.png", "Thumbs.db", "__MACOSX/a.png"]
    for label in ("cat", "dog"):
        for name in [*names, *hidden]:
            (tmp_path / "data" / label / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / label / name).write_bytes(b"x")
    try:
        (tmp_path / "data" / "cat" / "out.png").symlink_to(tmp_path)
        (tmp_path / "data" / "cat" / "in.png").symlink_to(tmp_path / "data" / "cat" / "a.png")
    except OSError:
        pytest.skip("this system does not let links be made")
    root = tmp_path / "data"
    listing, found = read_listing(root), find_images([root])
    assert sorted(listing.names) == [path.relative_to(root).as_posix() for path in found.paths]
    assert "cat/in.png" in listing.names
    (refused,) = found.refused
    assert refused.error == f"{root / 'cat' / 'out.png'} is a link that leaves {root}"
    assert list(map(str, listing.problems)) == [f"cat/out.png: is a link that leaves {root}"]
    unread = sorted(path.relative_to(root).as_posix() for path in found.unread)
    assert unread == [entry.split(":")[0] for entry in listing.suspicious]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_bad_files_are_named_and_the_others_answered_in_order(
    tiny: Model, folder: Path, batch_size: int
) -> None:
    (folder / "bad.png").write_bytes((folder / "b.png").read_bytes()[:50])
    paths = [*find_images([folder]).paths, folder / "absent.png"]
    answers = list(classify_files(tiny, paths, top_k=3, batch_size=batch_size))
    assert [answer.path for answer in answers] == paths
    bad = {answer.path.name: answer.error for answer in answers if answer.error is not None}
    assert set(bad) == {"bad.png", "absent.png"}
    assert bad["bad.png"].startswith(f"{folder / 'bad.png'} is cut off or damaged")
    for answer in answers:
        if answer.error is not None:
            assert answer.classes == ()
            continue
        expected = tiny.predict(answer.path)
        assert answer.classes[0][0] == expected.labels[0]
        shares = [share for _, share in answer.classes]
        np.testing.assert_allclose(shares, np.sort(expected.probabilities[0])[:-4:-1], atol=1e-6)


def test_more_classes_than_there_are_is_all_of_them(tiny: Model, folder: Path) -> None:
    (answer,) = classify_files(tiny, [folder / "b.png"], top_k=99)
    assert len(answer.classes) == 10
    assert sum(share for _, share in answer.classes) == pytest.approx(1, abs=1e-5)


def test_an_image_without_ink_has_no_label_but_a_reason(tiny: Model, folder: Path) -> None:
    Image.new("L", (20, 20), 255).save(folder / "empty.png")
    paths = [folder / "b.png", folder / "empty.png", folder / "9.png"]
    full, empty, other = classify_files(tiny, paths, top_k=2)
    assert empty == Answer(folder / "empty.png", (), reason=NO_INK)
    assert (full.reason, len(full.classes)) == (other.reason, len(other.classes)) == (None, 2)


def test_the_reason_stands_in_every_listing() -> None:
    answers = [ANSWERS[0], Answer(Path("empty.png"), reason=NO_INK)]
    assert list_for_people(answers).splitlines() == [
        "a.png      three  98.77%  eight  1.00%",
        "empty.png  (no ink was found in the image)",
    ]
    assert list_for_people(answers[1:]) == "empty.png  (no ink was found in the image)\n"
    assert json.loads(list_as_json("tiny", answers))["images"][1] == {
        "image": "empty.png",
        "label": None,
        "probability": None,
        "classes": [],
        "reason": NO_INK,
    }
    *_, row = csv.DictReader(io.StringIO(list_as_csv(answers)))
    assert row["reason"] == NO_INK
    assert row["label"] == row["probability"] == row["label_2"] == row["error"] == ""


def test_for_people_columns_stand_under_each_other_and_control_characters_are_shown() -> None:
    told = list_for_people([*ANSWERS, Answer(Path("new\nline\x1b[31m.png"), (("two", 1.0),) * 2)])
    assert told.splitlines() == [
        "a.png                  three   98.77%  eight    1.00%",
        "long-name.png          =1+1    50.00%  two     25.00%",
        "new\\nline\\x1b[31m.png  two    100.00%  two    100.00%",
    ]
    assert list_for_people(ANSWERS[1:2]) == ""


def test_json_has_an_entry_for_every_image() -> None:
    content = json.loads(list_as_json("tiny", ANSWERS))
    assert content["model"] == "tiny"
    assert content["images"][0] == {
        "image": "a.png",
        "label": "three",
        "probability": 0.98765,
        "classes": [
            {"label": "three", "probability": 0.98765},
            {"label": "eight", "probability": 0.01},
        ],
    }
    assert content["images"][1] == {"image": "bad.png", "error": "bad.png is empty"}


def test_csv_is_a_table_whose_cells_no_spreadsheet_runs() -> None:
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", 'quo"te, comma', "x=1"]
    answers = [Answer(Path(name), ((name, 0.5), ("b", 0.25))) for name in names]
    answers.append(Answer(Path("bad"), error="=bad"))
    rows = list(csv.reader(io.StringIO(list_as_csv(answers), newline="")))
    assert rows[0][:5] == ["image", "label", "probability", "label_2", "probability_2"]
    assert rows[0][5:] == ["error", "reason"]
    assert [row[0] for row in rows[1:]] == [
        *("'" + name for name in names[:6]),
        *names[6:],
        "bad",
    ]
    assert [row[1] for row in rows[1:-1]] == [row[0] for row in rows[1:-1]]
    assert rows[1][2:] == ["0.5", "b", "0.25", "", ""]
    assert rows[-1] == ["bad", "", "", "", "", "'=bad", ""]
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for row in rows for cell in row)


def test_csv_of_nothing_but_errors_still_has_its_heading() -> None:
    assert list_as_csv(ANSWERS[1:2]) == (
        '"image","label","probability","error","reason"\n"bad.png","","","bad.png is empty",""\n'
    )
