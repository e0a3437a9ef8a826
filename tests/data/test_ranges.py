"""Which range is chosen for a data set, and what contradicts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from burnish.cli import app
from burnish.data import prepare
from burnish.data.check import check_data
from burnish.data.load import load_images
from burnish.data.ranges import check_range, choose_range, parse_range
from burnish.errors import DataError
from burnish.study.init import init_study
from burnish.study.parse import load_study

from ..files import write_png, write_tiff


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own."""
    return tmp_path_factory.mktemp("cache")


def draw(low: float, high: float, dtype: str = "u2", num: int = 12) -> NDArray[Any]:
    unit = np.random.default_rng(0).random((num, 16, 16))
    unit[:, 0, 0], unit[:, 1, 1] = 0, 1
    return (low + unit * (high - low)).round(4 if dtype[0] == "f" else 0).astype(dtype)


def write(root: Path, images: NDArray[Any], first: int = 0) -> Path:
    for number, image in enumerate(images, start=first):
        path = root / "ab"[number % 2] / f"{number}.{'tif' if image.dtype.kind != 'u' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.mark.parametrize(
    ("low", "high", "declared", "expected"),
    [
        (3, 4090, 0, (0, 4095)),
        (0, 255, 0, (0, 255)),
        (0, 90, 0, (0, 255)),
        (0, 50, 0, (0, 50)),
        (0, 700, 0, (0, 1023)),
        (0, 9000, 0, (0, 16383)),
        (0, 20000, 0, (0, 65535)),
        (0, 9000, 15, (0, 32767)),
        (0, 9000, 12, (0, 16383)),
        (980, 1120, 0, (980, 1120)),
        (980, 1120, 12, (980, 1120)),
        (60000, 65535, 0, (60000, 65535)),
        (-1024, 3071, 0, (-1024, 3071)),
        (-0.9, 0.95, 0, (-1, 1)),
        (0.0, 1.0, 0, (0, 1)),
        (0.1, 0.2, 0, (0.1, 0.2)),
        (0.0, 1.3, 0, (0, 1.3)),
        (7, 7, 0, (0, 255)),
        (-7, -7, 0, (-7, -6)),
        (0, 2**40, 0, (0, 2**40)),
    ],
)
def test_the_range_keeps_the_grey_levels(
    low: float, high: float, declared: int, expected: tuple[float, float]
) -> None:
    seen = np.array([[low, high, low, high, declared], [high, high, high, high, 0]], float)
    found, note = choose_range(seen, is_mixed=False)
    assert found == expected
    assert note.startswith("range")


def test_a_few_outliers_are_clipped_and_said() -> None:
    found, note = choose_range(np.array([[0, 65535, 900, 1200, 0]], float), is_mixed=False)
    assert found == (900, 1200)
    assert "values go from 0 to 65535, but beyond this lie few, which are clipped" in note


def test_the_range_is_one_for_all_files(tmp_path: Path, kept: Path) -> None:
    dark, light = draw(980, 1020), draw(1080, 1120)
    images = np.concatenate([dark, light])
    raw = load_images(write(tmp_path / "scans", images), cache_folder=kept)
    assert raw.input.range == (980, 1120)
    assert raw.facts.num_duplicates == raw.facts.num_conflicts == 0
    assert len(np.unique(raw.train.images)) > 60
    note = "range 980 to 1120: the lowest and highest value; 0 to 4095 would use only part"
    assert any(each.startswith(note) for each in raw.facts.notes)
    # Found again, and not decoded again.
    told: list[tuple[int, int]] = []
    again = load_images(
        tmp_path / "scans", cache_folder=kept, on_progress=lambda *done: told.append(done)
    )
    assert told == []
    assert again.input == raw.input
    assert again.facts == raw.facts
    # It is a part of the fingerprint; of 8 bits nothing is.
    shown = load_images(tmp_path / "scans", range=[0, 4095], cache_folder=kept)
    assert shown.input.range == (0, 4095)
    prints = {prepare(data, None, 0)[0].fingerprint for data in (raw, again, shown)}
    assert len(prints) == 2


def test_declared_bits_of_files_count(tmp_path: Path, kept: Path) -> None:
    for number, image in enumerate(draw(0, 9000)):
        path = tmp_path / "scans" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_png(image[..., np.newaxis], bits=15))
    raw = load_images(tmp_path / "scans", cache_folder=kept)
    assert raw.input.range == (0, 32767)


def test_a_range_that_was_given_clips_and_names(tmp_path: Path, kept: Path) -> None:
    images = draw(0, 4095)
    images[3, 2, 2] = 60000
    write(tmp_path / "scans", images)
    found = check_data(tmp_path / "scans", range=[0, 4095], cache_folder=kept)
    assert found["problems"] == []
    clipped = (
        "images with values outside the range 0 to 4095, which are clipped: 1: b/3.png has 0 to "
        "60000"
    )
    assert clipped in found["notes"]
    raw = load_images(tmp_path / "scans", range=(0, 4095), cache_folder=kept)
    assert clipped in raw.facts.warnings
    outside = check_data(tmp_path / "scans", range=[61000, 62000], cache_folder=kept)
    assert "no image can be used" in outside["problems"][0]
    assert any("all outside the range 61000 to 62000" in said for said in outside["problems"])


def test_files_of_8_bits_among_wider_ones_are_named(tmp_path: Path, kept: Path) -> None:
    root = write(tmp_path / "scans", draw(0, 4095))
    write(root, draw(0, 255, "u1", 2)[:, ::-1], first=12)
    found = check_data(root, cache_folder=kept)
    assert found["input"]["range"] == (0, 4095)
    (problem,) = found["problems"]
    assert problem.startswith("images of 8 bits and of more in one data set: 2 and 12; white is")
    assert "Of 8 bits: a/12.png; b/13.png" in problem
    raw = load_images(root, cache_folder=kept)
    assert problem in raw.facts.warnings
    # A range of their own is of the wide ones: the others contradict it.
    with pytest.raises(
        DataError, match=r"has 8 bits, and the other images of its data[\s\S]*a/12\.png"
    ):
        load_images(root, range=[100, 3000], cache_folder=kept)
    left = load_images(root, range=[100, 3000], on_bad_image="skip", cache_folder=kept)
    assert left.facts.num_skipped == 2


def test_a_few_wide_files_among_others_do_not_change_these(tmp_path: Path, kept: Path) -> None:
    plain = draw(0, 255, "u1")
    root = write(tmp_path / "photos", plain)
    before = load_images(root, cache_folder=kept)
    assert before.input.range is None
    write(root, draw(0, 60000, num=1)[:, ::-1], first=12)
    after = load_images(root, cache_folder=kept)
    assert after.input.range == (0, 65535)
    kept_as_they_are = {image.tobytes() for image in after.train.images}
    assert {image.tobytes() for image in before.train.images} < kept_as_they_are
    assert "Of more than 8 bits: a/12.png" in after.facts.warnings[0]


def test_a_range_for_images_of_8_bits_is_refused(tmp_path: Path, kept: Path) -> None:
    root = write(tmp_path / "photos", draw(0, 255, "u1"))
    for range in ([0, 4095], [10, 200]):
        with pytest.raises(DataError, match="but no image has more than 8 bits; take it out"):
            load_images(root, range=range, cache_folder=kept)


@pytest.mark.parametrize(
    "range",
    ["all", [1], [3, 2], [0, 0], [0, float("inf")], [float("nan"), 1], ["0", "1"], [False, 1]],
)
def test_ranges_that_are_none(range: Any) -> None:
    with pytest.raises(DataError, match=r"expected \"auto\", or the values that become black"):
        check_range(range)


def test_ranges_on_the_command_line() -> None:
    assert parse_range("auto") == "auto"
    assert parse_range("-1000, 3000.5") == [-1000, 3000.5]
    for text in ("0", "0,1,2", "a,b", ""):
        with pytest.raises(DataError, match="two numbers such as 0,4095"):
            parse_range(text)


def test_several_pages_are_said(tmp_path: Path, kept: Path) -> None:
    root = write(tmp_path / "scans", draw(0, 4095))
    pages = [Image.fromarray(image) for image in draw(5, 4000, num=2)]
    pages[0].save(root / "a" / "pages.tif", save_all=True, append_images=pages[1:])
    found = check_data(root, cache_folder=kept)
    told = "files of several pages, of which the first is read: 1: a/pages.tif"
    assert told in found["notes"]


def test_init_writes_the_range_and_a_study_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "scans", draw(980, 1120, num=40))
    out = init_study(tmp_path / "scans", tmp_path / "scans.toml", max_pixels=10**8)
    study, _ = load_study(str(out))
    reading = study.data.reading()
    assert reading["range"] == [980, 1120]
    assert reading["max_pixels"] == 10**8
    assert load_images(tmp_path / "scans", **reading).input.range == (980, 1120)


def test_check_takes_and_prints_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "scans"
    for number, image in enumerate(draw(-1000, 3000, "i2")):
        path = root / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_tiff(image[..., np.newaxis]))
    told = CliRunner().invoke(app, ["check", str(root)])
    assert told.exit_code == 0
    assert "range -1000 to 3000: the lowest and highest value" in told.output
    told = CliRunner().invoke(app, ["check", str(root), "--range", "-200,300"])
    assert told.exit_code == 0
    assert "outside the range -200 to 300, which are clipped: 12: " in told.output
