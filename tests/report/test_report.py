from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.data import Split
from burnish.data.dataset import IdenticalImages
from burnish.data.names import ImageNames, PackedNames
from burnish.errors import RunFolderError
from burnish.files import write_json
from burnish.report import write_report
from burnish.runfolder.identical_images import write_identical_images
from burnish.runfolder.manifest import DRAWN, write_manifest
from burnish.runfolder.predictions import read_predictions
from burnish.runfolder.store import RunFolder

from ..serve.browser import Browser
from .fake_run import DIGITS, STAGES, make_run
from .layout import WIDTHS, find_cut

HOSTILE = "</script><img onerror=alert(1)>"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = make_run(tmp_path_factory.mktemp("runs") / "mnist")
    write_report(run)
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def read_page(run: RunFolder) -> str:
    return (run.report / "index.html").read_text(encoding="utf-8")


def read_text(run: RunFolder) -> str:
    """What a reader sees: the page without its tags, in single-spaced words."""
    body = read_page(run).split("<body>")[1]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


class Page(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_every_picture_is_there_and_can_be_read(finished: RunFolder) -> None:
    names = [
        "comparison",
        "confusion",
        "mistakes",
        "yield",
        *(f"{stage[0]}-curve" for stage in STAGES),
    ]
    stems = [finished.report / "figures" / name for name in names]
    stems += [finished.stage(number, stage[0]) / "curve" for number, stage in enumerate(STAGES, 1)]
    for stem in stems:
        png = stem.with_name(stem.name + ".png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(png) > 5_000
        svg = ET.fromstring(stem.with_name(stem.name + ".svg").read_text())
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"


def test_every_picture_names_the_data(finished: RunFolder) -> None:
    pictures = sorted((finished.report / "figures").glob("*.svg"))
    assert len(pictures) == 4 + len(STAGES)
    for picture in pictures:
        root = ET.fromstring(picture.read_text())
        text = " ".join("".join(node.itertext()) for node in root.iter() if "text" in node.tag)
        assert "data: mnist" in text, picture.name


def test_page_loads_nothing_from_outside(finished: RunFolder) -> None:
    page = Page(read_page(finished))
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
    # One script, ours, which the page's policy knows by its hash.
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    script = read_page(finished).split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in read_page(finished)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        target = attributes.get("src") or attributes.get("href")
        if target is not None:
            kinds = tuple(f"data:image/{kind};base64," for kind in ("svg+xml", "png", "jpeg"))
            assert target.startswith(kinds if tag == "img" else "#")
    assert set(re.findall(r"url\((.)", read_page(finished))) <= {"#"}
    assert "@import" not in read_page(finished)


def test_links_within_the_page_lead_somewhere(finished: RunFolder) -> None:
    tags = Page(read_page(finished)).tags
    targets = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(targets) == len(set(targets)) > 0
    for _, attributes in tags:
        if attributes.get("href"):
            assert str(attributes["href"])[1:] in targets


def test_pictures_on_the_page_have_a_description(finished: RunFolder) -> None:
    tags = Page(read_page(finished)).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    drawn = [attributes for tag, attributes in tags if tag == "svg"]
    # Two figures, and the mistakes.
    assert len(images) == 2 + 24
    assert len(drawn) == 1 + len(STAGES)
    assert all(attributes.get("alt") for attributes in images)
    assert all(attributes.get("aria-label") for attributes in drawn)


def test_numbers_are_those_of_the_folder(finished: RunFolder) -> None:
    text = read_text(finished)
    final = json.loads((finished.stage(6, "final") / "result.json").read_text())
    low, high = final["test"]["accuracy_interval"]
    assert "Test accuracy on mnist 99.46 %" in text
    assert f"95 % interval {100 * low:.2f} % to {100 * high:.2f} %" in text
    assert "Wrong images 54 of 10,000" in text
    assert "Test loss 0.0175" in text
    assert "of stage augmented" in text
    assert "The test split was read 1 time by" in text
    assert "Total time 43 min 33 s" in text
    for name, _, _, _, epochs, best_epoch, loss, accuracy, weights in STAGES:
        row = rf"{name} (chosen )?{loss:.4f} {100 * accuracy:.2f} % .{{,40}}"
        assert re.search(rf"{row}{epochs} \({best_epoch}\) .{{,20}}{weights:,}", text), name


def test_rates_of_classes_follow_from_the_predictions(finished: RunFolder) -> None:
    kept = read_predictions(finished.stage(6, "final") / "predictions.parquet")
    labels, predicted = kept.labels, kept.predicted
    text = read_text(finished)
    for number in range(10):
        right = int(((labels == number) & (predicted == number)).sum())
        num_true, num_given = int((labels == number).sum()), int((predicted == number).sum())
        expected = (
            f" {number} {num_true:,} {num_true - right} {100 * right / num_given:.2f} % "
            f"{100 * right / num_true:.2f} % {200 * right / (num_true + num_given):.2f} %"
        )
        assert expected in text


def test_params_that_differ_from_the_base_are_marked(finished: RunFolder) -> None:
    text = read_text(finished)
    assert "num_filters_first_layer 16 was 32" in text
    assert "rotation_range 0.05 new" in text
    assert "activation relu batch_normalization true was false" in text


def test_gain_over_the_base_says_what_is_not_shown(finished: RunFolder) -> None:
    text = read_text(finished)
    assert (
        "Against its base cnn: loss 0.0412 to 0.0318 (\N{MINUS SIGN}23 %), accuracy +0.27 points"
        in text
    )


def test_same_run_gives_the_same_bytes(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1])

    def snapshot() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    write_report(run)
    first = snapshot()
    write_report(run)
    assert snapshot() == first


def test_only_pictures_and_the_report_are_written(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert write_report(run) == run.report / "index.html"
    for path in folder.rglob("*"):
        if path.is_file() and path not in before:
            assert path.is_relative_to(run.report) or path.name in DRAWN
    assert all(path.read_bytes() == content for path, content in before.items())


def test_names_stay_text(folder: Path) -> None:
    stages = [("<b>bold", *STAGES[0][1:]), (HOSTILE.replace("/", ""), *STAGES[1][1:])]
    run = make_run(
        folder,
        source="<i>mine",
        class_names=[HOSTILE, "$x$ & \x07", "  "],
        num_test=60,
        num_wrong=9,
        stages=stages,
        study="<u>study",
        predictions=True,
    )
    write_report(run)
    tags = [tag for tag, _ in Page(read_page(run)).tags]
    assert not set(tags) & {"i", "u"}
    assert tags.count("script") == 1
    # Two figures, nine mistakes, one image that is always wrong, and its label.
    assert tags.count("img") == 2 + 9 + 1 + 1
    assert all(len(a) > 1 for tag, a in Page(read_page(run)).tags if tag == "img")
    assert "Validation images that every stage got wrong" in read_text(run)
    assert "Labels that are likely wrong" in read_text(run)
    assert "no difference shown" in read_text(run)
    assert "<img onerror" not in read_page(run)
    assert html.escape(HOSTILE) in read_page(run)
    assert "&lt;b&gt;bold" in read_page(run)
    for picture in (run.report / "figures").glob("*.svg"):
        ET.fromstring(picture.read_text())


def test_unfinished_run_says_so(folder: Path) -> None:
    run = make_run(folder, source="digits", stages=STAGES[:3], finished=False)
    write_report(run)
    text = read_text(run)
    assert "This run has not finished (state: interrupted)." in text
    assert "still to come: cnn, final." in text
    assert "No model has been chosen and no test result is reported" in text
    assert "data: digits" in text
    assert "Test accuracy" not in text
    assert not (run.report / "figures" / "confusion.png").exists()


def test_no_mistakes(folder: Path) -> None:
    run = make_run(folder, num_test=100, num_wrong=0, stages=STAGES[:1])
    stale = run.report / "figures" / "mistakes.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier report")
    write_report(run)
    text = read_text(run)
    assert "Test accuracy on mnist 100.00 %" in text
    assert "every test image was classified correctly" in text
    assert not stale.exists()


@pytest.mark.parametrize(("num_classes", "shape"), [(2, (60, 90, 3)), (100, (8, 8, 1))])
def test_other_numbers_of_classes(
    folder: Path, num_classes: int, shape: tuple[int, int, int]
) -> None:
    names = [f"class {number} of many" for number in range(num_classes)]
    run = make_run(
        folder, class_names=names, num_test=400, num_wrong=30, stages=STAGES[:1], image_shape=shape
    )
    write_report(run)
    assert f"{num_classes} classes" in read_text(run)
    assert names[-1] in read_text(run)


def test_class_without_test_images_has_no_recall(folder: Path) -> None:
    run = make_run(
        folder, class_names=[*DIGITS, "ten"], num_test=10, num_wrong=0, stages=STAGES[:1]
    )
    write_report(run)
    assert "ten 0 0" + 3 * " \N{EN DASH}" in read_text(run)


def test_several_readings_are_pointed_out(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1])
    run.append_reading({"time": "2025-02-01T00:00:00Z", "reason": "burnish evaluate"})
    write_report(run)
    assert "The test split was read 2 times." in read_text(run)
    assert "burnish evaluate" in read_text(run)


def test_tuning_stage_and_missing_history(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:2])
    path = run.stage(2, "fnn-tuned") / "result.json"
    result: dict[str, Any] = json.loads(path.read_text())
    result |= {"kind": "tune", "sampler": "tpe", "schedule": {"name": "hyperband", "factor": 3}}
    del result["num_val"], result["best_epoch"], result["settings"]
    write_json(path, result | {"num_trials": 30})
    (run.stage(1, "fnn") / "history.csv").unlink()
    with pytest.raises(RunFolderError, match=r"01-fnn/history\.csv is missing"):
        write_report(run)
    write_manifest(run.stage(1, "fnn"))
    write_report(run)
    text = read_text(run)
    assert "schedule name = hyperband, factor = 3 num_trials 30" in text
    assert "Refit" in text
    assert "No history was recorded for this stage." in text


def test_single_epoch(folder: Path) -> None:
    stage = (*STAGES[0][:4], 1, 1, *STAGES[0][6:])
    write_report(make_run(folder, stages=[stage]))
    assert "A single epoch was trained." in read_text(RunFolder(folder))


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no study\.toml"):
        write_report(RunFolder(tmp_path))


def test_run_without_a_finished_stage(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1], finished=False)
    with pytest.raises(RunFolderError, match="no finished stage yet"):
        write_report(run)


def test_damaged_files_are_named(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1])
    predictions = run.stage(2, "final") / "predictions.parquet"
    whole = predictions.read_bytes()
    predictions.write_bytes(whole[:100])
    with pytest.raises(RunFolderError, match=r"predictions\.parquet is damaged"):
        write_report(run)
    predictions.write_bytes(whole)
    result = run.stage(1, "fnn") / "result.json"
    content = json.loads(result.read_text())
    del content["val_loss"]
    write_json(result, content)
    with pytest.raises(RunFolderError, match="has no 'val_loss'"):
        write_report(run)


def test_what_was_found_in_the_data_is_counted_on_the_page(folder: Path) -> None:
    run = make_run(folder)
    write_report(run)
    assert "About the data" not in read_page(run)
    path = run.path / "provenance.json"
    provenance = json.loads(path.read_text(encoding="utf-8"))
    provenance["data"]["facts"] = {
        "num_skipped": 1234,
        "skipped": ["a/<b>.png is empty"],
        "num_duplicates": 7,
        "num_dropped": 3,
        "num_conflicts": 2,
        "conflicts": ["x.png is cat and dog"],
        "given_splits": ["train", "test"],
        "warnings": ["class 'owl' is small"],
        "notes": ["size 24x24 was chosen"],
    }
    write_json(path, provenance)
    write_report(run)
    page = html.unescape(read_page(run))
    for said in (
        "could not be used: 1,234",
        "<li>a/<b>.png is empty</li>",
        "1,233 more",
        "an image before them: 7.",
        "3 were taken out of train or val",
        "more than one label: 2",
        "<li>x.png is cat and dog</li>",
        "1 thing to look into before you rely on this result",
        "came with: train, test.",
        "class 'owl' is small",
        "size 24x24 was chosen",
    ):
        assert said in page
    assert "a/<b>.png" not in read_page(run)


# Names of images

LONG = "a_very_long_name_of_a_photograph_" * 5


def name_image(split: str, row: int) -> str:
    odd = [
        f"{HOSTILE}.png",
        "gnp\u202eexe.png",
        "line\nbreak \x1b[2J.png",
        f"{LONG}.png",
        "=1+1.png",
    ]
    return f"{split}/{row} {odd[row % len(odd)]}"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on somebody's images, with long names, and much found in the data."""
    stages = [(f"stage-of-a-rather-long-name-{stage[0]}", *stage[1:]) for stage in STAGES]
    based = [
        (*stage[:2], f"stage-of-a-rather-long-name-{stage[2]}" if stage[2] else None, *stage[3:])
        for stage in stages
    ]
    run = make_run(
        tmp_path_factory.mktemp("runs") / "named",
        source="photos",
        class_names=[f"class {letter * 30}" for letter in "abc"],
        num_test=300,
        num_wrong=60,
        stages=based,
        image_shape=(90, 120, 3),
        predictions=True,
        name_image=name_image,
    )
    path = run.path / "provenance.json"
    provenance = json.loads(path.read_text(encoding="utf-8"))
    provenance["data"]["facts"] = {
        "warnings": [f"warning {number} of photos/{LONG}" for number in range(40)],
        "notes": [f"note {number}: gnp\u202eexe" for number in range(3)],
    }
    write_json(path, provenance)
    write_report(run)
    return run


def test_images_on_the_page_are_called_what_they_are(named: RunFolder) -> None:
    kept = read_predictions(named.stage(6, "final") / "predictions.parquet")
    assert kept.names is not None
    page = read_page(named)
    wrong = [row for row in range(300) if not kept.right[row]]
    for row in wrong[:3]:
        assert kept.names[row] == name_image("test", row)
    shown = [row for row in wrong if html.escape(f"test/{row} ") in page]
    assert len(shown) == 24
    # A name does nothing on the page, and is in nobody's way.
    assert html.escape(HOSTILE) in page
    assert "<img onerror" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert r"gnp\u202eexe.png" in page
    assert r"line\nbreak \x1b[2J.png" in page
    assert "no. 0" not in read_text(named)


def test_lists_beside_the_page_are_whole(named: RunFolder) -> None:
    kept = read_predictions(named.stage(6, "final") / "predictions.parquet")
    with (named.report / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {int(row["number"]) for row in rows} == {*np.flatnonzero(~kept.right).tolist()}
    assert all(row["file"] == name_image("test", int(row["number"])) for row in rows)
    sure = [float(row["probability"]) for row in rows]
    assert sure == sorted(sure, reverse=True)
    with (named.report / "always-wrong.csv").open(newline="", encoding="utf-8") as file:
        assert "0" in [row["number"] for row in csv.DictReader(file)]
    with (named.report / "doubtful-labels.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["file"].startswith("val/0 ")


def test_lists_of_an_earlier_report_do_not_stay(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:2], finished=False)
    stale = run.report / "mistakes.csv"
    stale.parent.mkdir()
    stale.write_text("of an earlier report", "utf-8")
    write_report(run)
    assert not stale.exists()


def test_warnings_of_the_data_stand_near_the_top(named: RunFolder) -> None:
    page = read_page(named)
    assert page.index('id="data"') < page.index('id="stages"')
    assert "40 things to look into before you rely on this result" in read_text(named)
    assert all(f"warning {number} of photos" in page for number in range(40))
    # The first ones are seen at once, the rest when they are asked for.
    folded = page[page.index("<details><summary>34 more") :]
    assert "warning 5 of" not in folded
    assert "warning 6 of" in folded
    assert "note 2" in page


def test_identical_images_are_listed_by_file(folder: Path) -> None:
    run = make_run(folder, stages=STAGES[:1])
    names = ["cat/1.png", f"dog/{HOSTILE}.png", "cat/2.png", "cat/3.png"]
    identical = IdenticalImages(
        Split(
            np.zeros((4, 6, 6, 1), np.uint8),
            np.array([0, 1, 0, 0], np.int32),
            names=ImageNames(PackedNames(names)),
        ),
        np.array([0, 0, 1, 1]),
        np.array(["train", "test", "train", "test"]),
        np.array([False, True, False, True]),
    )
    write_identical_images(run, identical, ("cat", "dog"))
    write_report(run)
    text = read_text(run)
    assert "4 images have the pixels of another one: 2 sets." in text
    assert "labels differ cat cat/1.png (train, taken out) dog dog/" in text
    assert "cat cat/2.png (train, taken out) cat cat/3.png (test)" in text
    assert "<img onerror" not in read_page(run)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_table_is_cut(named: RunFolder, browser: Browser, width: int) -> None:
    assert find_cut(browser, named.report / "index.html", width) == []


def test_a_table_that_is_cut_would_be_found(browser: Browser, tmp_path: Path) -> None:
    for style in ("overflow-x: auto", "overflow: hidden", ""):
        page = tmp_path / "page.html"
        cells = "".join(f"<td>cell{number}{'x' * 30}</td>" for number in range(9))
        page.write_text(f"<div style='{style}'><table><tr>{cells}</tr></table></div>", "utf-8")
        assert "a table: cell0xxxxx" in " ".join(find_cut(browser, page, 390))


def test_a_notebooks_backend_and_a_missing_home_folder_do_not_count(tmp_path: Path) -> None:
    """``burnish report`` from a notebook inherits its backend, which may be in no module here."""
    run = make_run(tmp_path / "run", stages=STAGES[:1])
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "report", str(run.path)],
        env={**os.environ, "MPLBACKEND": "module://nothing.there", "HOME": "/proc/nobody"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
