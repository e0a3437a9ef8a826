from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from burnish.data.check import check_data
from burnish.data.load import load_images
from burnish.data.shortcuts import (
    HINTS,
    find_shortcuts,
    hint_at_shortcuts,
    warn_of_shortcuts,
)
from burnish.terminal import print_check

SIZE = "the image's size"


def draw(seed: int, num: int) -> dict[str, NDArray[np.float64]]:
    """Facts of images from one source."""
    chance = np.random.default_rng(seed)
    height, width = chance.choice([213.0, 240.0, 320.0, 331.0], (2, num))
    return {
        "height": height,
        "width": width,
        "aspect": height / width,
        "format": chance.choice([0.0, 1.0], num, p=[0.1, 0.9]),
        "mode": chance.choice([0.0, 1.0], num, p=[0.2, 0.8]),
        "quality": chance.choice([3.0, 12.0, 57.8], num),
        "tags": chance.choice([0.0, 7.0], num),
        "border": chance.random(num) * 255,
        "day": chance.integers(0, 30, num).astype(np.float64),
    }


def deal(*counts: int) -> NDArray[np.int32]:
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def test_a_size_that_tells_one_class_from_all() -> None:
    labels = deal(60, 60, 60)
    facts = draw(0, 180)
    facts["height"][:60] = facts["width"][:60] = 1024
    facts["aspect"][:60] = 1
    (found,) = find_shortcuts(facts, labels, ("covid", "normal", "virus"))
    assert (found.name, found.others, found.is_all) == ("covid", ("normal", "virus"), True)
    assert found.facts == (SIZE,)
    assert found.accuracy > 0.95
    assert warn_of_shortcuts([replace(found, accuracy=0.974)]) == [
        "'covid' can be told from every other class by the image's size: 97% right without "
        "looking at what it shows. A network may learn that instead; make the images of all "
        "classes in one way"
    ]


def test_one_pair_of_many() -> None:
    labels = deal(80, 80, 80)
    facts = draw(0, 240)
    facts["quality"][:80] = 3.0
    facts["quality"][80:160] = np.where(np.arange(80) < 4, 3.0, 12.0)
    facts["quality"][160:] = np.where(np.arange(80) % 2, 3.0, 12.0)
    found = find_shortcuts(facts, labels, ("a", "b", "c"))[0]
    assert {found.name, *found.others} >= {"a", "b"}
    assert found.facts == ("its JPEG quality",)
    assert found.accuracy >= 0.9 or "c" in found.others


def test_facts_that_tell_only_together() -> None:
    labels = deal(100, 100)
    facts = draw(0, 200)
    facts["format"] = np.where(labels == 0, 1.0, np.arange(200) % 2)
    facts["mode"] = np.where(labels == 0, 1.0, 1 - np.arange(200) % 2)
    (found,) = find_shortcuts(facts, labels, ("a", "b"))
    assert {"its file's format", "its colour mode"} <= set(found.facts)


def test_what_the_same_facts_of_all_classes_tell() -> None:
    """No alarm where labels were dealt at random, however few images there are."""
    alarms = 0
    for seed in range(8):
        for counts in ((10, 10), (12, 40), (20,) * 4):
            labels = np.random.default_rng(seed).permutation(deal(*counts))
            facts = draw(seed + 100, len(labels))
            alarms += len(find_shortcuts(facts, labels, "abcd"[: len(counts)]))
    assert alarms <= 1  # Of 24, at a risk of 1 in 100 at most.


def test_too_few_images_say_nothing() -> None:
    facts = draw(0, 18)
    facts["height"][:9] = 1024
    assert find_shortcuts(facts, deal(9, 9), ("a", "b")) == []
    assert find_shortcuts(draw(0, 40), deal(40), ("a",)) == []
    same = {name: np.zeros(40) for name in facts}
    assert find_shortcuts(same, deal(20, 20), ("a", "b")) == []


def test_images_that_stay_together_count_once() -> None:
    labels = deal(40, 40)
    facts = draw(0, 80)
    facts["height"] = facts["width"] = np.repeat(np.arange(8.0), 10)  # A size for each patient.
    assert len(find_shortcuts(facts, labels, ("a", "b"))) == 1
    blocks = np.repeat(np.arange(8) * 10, 10)
    assert find_shortcuts(facts, labels, ("a", "b"), blocks=blocks) == []
    blocks = np.repeat(np.arange(40) * 2, 2)  # Twenty pairs of each class are enough.
    facts["height"] = facts["width"] = np.where(labels == 0, 100.0, 200.0)
    assert len(find_shortcuts(facts, labels, ("a", "b"), blocks=blocks)) == 1


def test_of_very_many_images_some_are_looked_at() -> None:
    labels = np.tile(np.arange(200), 100).astype(np.int32)
    facts = draw(0, len(labels))
    facts["height"] = labels.astype(np.float64)
    found = find_shortcuts(facts, labels, [str(i) for i in range(200)])
    assert len(warn_of_shortcuts(found)) == 3
    assert "more classes such as these" in warn_of_shortcuts(found)[-1]


def test_a_border_and_a_day_are_hints() -> None:
    labels = deal(50, 50)
    facts = draw(0, 100)
    facts["border"] = np.where(labels == 0, 0.0, 255.0)
    assert find_shortcuts(facts, labels, ("a", "b")) == []
    (hint,) = hint_at_shortcuts(find_shortcuts(facts, labels, ("a", "b"), HINTS))
    assert hint.startswith("'a' can be told from 'b' by the colour of its border: 100% right")


def write_x_rays(root: Path) -> Path:
    """Two classes as PNG of one size, and a third from all over the web."""
    chance = np.random.default_rng(0)
    for number in range(75):
        name = ("covid", "normal", "opacity")[number % 3]
        side = (32, 32) if number % 3 else tuple(chance.integers(20, 60, 2))
        image = Image.fromarray(chance.integers(0, 256, side, dtype=np.uint8))
        content = io.BytesIO()
        options: dict[str, Any] = {} if number % 3 else {"quality": int(chance.integers(30, 96))}
        image.save(content, "PNG" if number % 3 else "JPEG", **options)
        path = root / name / f"{number}.img.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
    return root


def test_check_and_the_study_say_it(tmp_path: Path) -> None:
    root = write_x_rays(tmp_path / "x-rays")
    found = check_data(root, cache_folder=tmp_path / "cache")
    (warning,) = found["warnings"]
    assert warning.startswith("'covid' can be told from every other class by ")
    assert found["problems"] == []
    console = Console(file=io.StringIO(), width=100)
    print_check(console, found)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert warning in printed
    assert "nothing stops a study; see the warnings" in printed
    assert "nothing is wrong" not in printed
    facts = load_images(root, cache_folder=tmp_path / "cache").facts
    assert facts.shortcuts == (warning,)
    assert warning in facts.warnings  # Which the report shows.
    for number, file in enumerate(sorted(root.glob("*/*"))):  # Each class in another month.
        then = 1_600_000_000 + 3_000_000 * (number // 25)
        os.utime(file, (then, then))
    notes = check_data(root, cache_folder=tmp_path / "cache")["notes"]
    assert any("by the day when its file was written: 100% right" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "warned"),
    [("hymenoptera", False), ("tile-defects", True)],
)
def test_of_public_data(name: str, warned: bool, tmp_path: Path) -> None:
    root = Path(os.environ.get("BURNISH_DATA", "none")) / name
    if not root.is_dir():
        pytest.skip(f"{name} is not here: set BURNISH_DATA to the folder that holds it")
    facts = load_images(root, size=(16, 16), cache_folder=tmp_path).facts
    assert bool(facts.shortcuts) == warned
