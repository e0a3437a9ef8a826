"""Values of more than 8 bits become 8 by one range: in data sets, predict and serve alike."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from burnish.bundle.model import Model, load
from burnish.cli import app
from burnish.data.check import check_data
from burnish.data.formats import list_arrays, read_listing
from burnish.data.load import load_images, load_listing
from burnish.errors import DataError, ImageError, StudyError
from burnish.image import InputSpec, convert, decode, from_values, is_grey
from burnish.image.wide import WideImage, hash_parts, is_whole, measure, narrow, shrink
from burnish.serve.answers import prepare_image
from burnish.serve.limits import Limits
from burnish.study.parse import parse_study

from ..files import write_png, write_tiff
from ..serve.bundles import write_bundle

NUM = 8

# Values in [0, 1), (num, 20, 20, 3); the first and last pixel hold the lowest and the highest.
UNIT = np.random.default_rng(0).random((NUM, 20, 20, 3))
UNIT[:, 0, 0], UNIT[:, -1, -1] = 0, 1


def scale(low: float, high: float, dtype: str, channels: int = 1) -> NDArray[Any]:
    values = low + UNIT[..., :channels] * (high - low)
    return (values if dtype.startswith("f") else np.rint(values)).astype(dtype)


def save(
    array: NDArray[Any], mode: str | None = None, format: str = "PNG", **options: Any
) -> bytes:
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    image = image if mode is None or image.mode == mode else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def opaque(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, np.full_like(array[..., :1], 0) + np.iinfo(array.dtype).max], -1)


Write = Callable[[NDArray[Any]], bytes]
EIGHT = scale(0, 255, "u1")
EIGHT_RGB = scale(0, 255, "u1", 3)
TWELVE = scale(0, 4095, "u2")
WINDOW = scale(980, 1120, "u2")

# Of each mode: the values, how a file of them is written, and the range that is chosen.
MODES: dict[str, tuple[NDArray[Any], Write, tuple[float, float] | None]] = {
    "L": (EIGHT, save, None),
    "RGB": (EIGHT_RGB, save, None),
    "LA": (opaque(EIGHT), save, None),
    "RGBA": (opaque(EIGHT_RGB), save, None),
    "P": (EIGHT, lambda a: save(a, "P"), None),
    "1": (EIGHT > 127, lambda a: save(a.astype(np.uint8) * np.uint8(255), "1"), None),
    "I;16 of 12 bits": (TWELVE, save, (0, 4095)),
    "I;16 in a window": (WINDOW, save, (980, 1120)),
    "I;16 whole": (scale(0, 65535, "u2"), save, (0, 65535)),
    "I;16B": (TWELVE, lambda a: write_tiff(a, order=">"), (0, 4095)),
    "I;12": (TWELVE, lambda a: write_tiff(a, bits=12), (0, 4095)),
    "I;16S": (scale(-1000, 3000, "i2"), write_tiff, (-1000, 3000)),
    "I": (scale(0, 1000, "i4"), lambda a: save(a, format="TIFF"), (0, 1023)),
    "I;32S": (scale(-5, 70000, "i4"), write_tiff, (-5, 70000)),
    "I;32": (scale(10**9, 2 * 10**9, "u4"), write_tiff, None),
    "F from 0 to 1": (scale(0, 1, "f4"), lambda a: save(a, format="TIFF"), (0, 1)),
    "F from -1 to 1": (scale(-1, 1, "f4"), write_tiff, (-1, 1)),
    "F;16": (scale(0, 1, "f2"), write_tiff, (0, 1)),
    "F;64": (scale(0.25, 0.3125, "f8"), write_tiff, (0.25, 0.3125)),
    "RGB;16 PNG": (scale(0, 65535, "u2", 3), write_png, (0, 65535)),
    "RGB;16 of 12 bits": (scale(0, 4095, "u2", 3), write_png, (0, 4095)),
    "RGB;16 TIFF": (scale(0, 65535, "u2", 3), write_tiff, (0, 65535)),
    "LA;16": (opaque(TWELVE), write_png, (0, 4095)),
    "RGBA;16": (opaque(scale(0, 4095, "u2", 3)), write_png, (0, 4095)),
}


def expect(values: NDArray[Any], range: tuple[float, float] | None) -> NDArray[np.uint8]:
    """What the values become, by hand; alpha is opaque in all of them."""
    if values.dtype == np.bool_:
        return (values * 255).astype(np.uint8)
    colors = values[..., :-1] if values.shape[-1] in (2, 4) else values
    if range is None:
        return colors.astype(np.uint8)
    low, high = range
    mapped: NDArray[np.uint8] = np.rint(
        (colors.astype(np.float64) - low) * (255.0 / (high - low))
    ).astype(np.uint8)
    return mapped


def write_set(root: Path, values: NDArray[Any], write: Write, suffix: str) -> list[Path]:
    paths = []
    for number, array in enumerate(values):
        path = root / "ab"[number % 2] / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write(array))
        paths.append(path)
    return paths


def make_model(folder: Path, spec: InputSpec) -> Model:
    return load(write_bundle(folder, spec=spec))


@pytest.mark.parametrize("mode", MODES)
def test_a_file_an_array_and_training_agree_in_every_mode(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values, write, range = MODES[mode]
    if mode == "I;32":
        range = (float(values.min()), float(values.max()))
    paths = write_set(tmp_path / "scans", values, write, "dat.png")
    found = check_data(tmp_path / "scans")
    assert found["problems"] == []
    assert found["input"]["range"] == range
    assert any(note.startswith("range ") for note in found["notes"]) == (range is not None)

    raw = load_images(tmp_path / "scans")
    assert raw.input.range == range
    assert raw.facts.num_duplicates == 0
    expected = expect(values, range)
    trained = {image.tobytes() for image in raw.train.images}
    model = make_model(tmp_path / "bundle", raw.input)
    for path, array, wanted in zip(paths, values, expected, strict=True):
        prepared = model.prepare(path)
        np.testing.assert_array_equal(prepared, wanted)
        assert prepared.tobytes() in trained
        np.testing.assert_array_equal(model.prepare(path.read_bytes()), prepared)
        np.testing.assert_array_equal(model.prepare(array), prepared)
        if path.read_bytes().startswith(b"\x89PNG"):
            served = prepare_image(model, path.read_bytes(), Limits())
            np.testing.assert_array_equal(served, prepared)
    # The same as arrays: one data set, whether in files or not.
    from_arrays = load_listing(list_arrays(values, np.arange(NUM) % 2, ["a", "b"]))
    assert {image.tobytes() for image in from_arrays.train.images} == trained
    assert from_arrays.input == raw.input
    np.testing.assert_array_equal(from_arrays.train.images, raw.train.images)

    probabilities = model.predict(values).probabilities
    told = CliRunner().invoke(
        app, ["predict", str(tmp_path / "bundle"), *map(str, paths), "--json", "--top-k", "10"]
    )
    assert told.exit_code == 0
    for entry, row in zip(json.loads(told.stdout)["images"], probabilities, strict=True):
        by_name = {each["label"]: each["probability"] for each in entry["classes"]}
        np.testing.assert_allclose([by_name[n] for n in model.class_names], row, atol=1e-6)


def test_what_training_takes_predict_takes(tmp_path: Path) -> None:
    """Arrays in an archive, of every type."""
    for number, dtype in enumerate(
        ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i8", "f2", "f4", "f8")
    ):
        values = UNIT[..., :1] > 0.5 if dtype == "?" else scale(0, 100, dtype)
        path = tmp_path / f"{number}.npz"
        np.savez(path, x=values, y=np.arange(NUM) % 2)
        raw = load_images(path, cache_folder=tmp_path / "cache")
        model = make_model(tmp_path / f"bundle{number}", raw.input)
        prepared = {model.prepare(image).tobytes() for image in values}
        assert prepared == {image.tobytes() for image in raw.train.images}


def test_floats_from_0_to_1_are_what_files_of_8_bits_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=EIGHT / 255.0, y=np.arange(NUM) % 2)
    raw = load_images(tmp_path / "x.npz", cache_folder=tmp_path / "cache")
    assert raw.input.range == (0, 1)
    model = make_model(tmp_path / "bundle", raw.input)
    for ways in (EIGHT[0], EIGHT[0] / 255, save(EIGHT[0])):
        np.testing.assert_array_equal(model.prepare(ways), EIGHT[0])


def test_an_image_that_contradicts_a_window_is_refused_everywhere(tmp_path: Path) -> None:
    model = make_model(tmp_path / "bundle", InputSpec(20, 20, "grey", range=(980, 1120)))
    with pytest.raises(ImageError, match=r"has 8 bits, and the other images .* 980 to 1120"):
        model.prepare(EIGHT[0])
    with pytest.raises(ImageError, match="has 8 bits"):
        model.prepare(save(EIGHT[0]))
    with pytest.raises(ImageError, match="values from 0 to 4, all outside the range 980 to 1120"):
        model.prepare(scale(0, 4, "u2")[0])
    whole = make_model(tmp_path / "whole", InputSpec(20, 20, "grey", range=(0, 4095)))
    np.testing.assert_array_equal(whole.prepare(EIGHT[0]), EIGHT[0])


def test_a_model_of_8_bits_takes_more_as_it_always_did(tmp_path: Path) -> None:
    model = make_model(tmp_path / "bundle", InputSpec(20, 20, "grey"))
    wide = EIGHT[0].astype(np.uint16) * 257
    for way in (wide, save(wide), Image.fromarray(wide[..., 0])):
        np.testing.assert_array_equal(model.prepare(way), EIGHT[0])
    np.testing.assert_array_equal(model.prepare(EIGHT[0].astype(np.int64)), EIGHT[0])
    with pytest.raises(ImageError, match=r"trained on images of 8 bits.*0 to 4095; map those"):
        model.prepare(TWELVE[0].astype(np.int32))


def test_the_contract_keeps_the_range_and_none_where_there_is_none() -> None:
    from burnish.bundle.contract import describe_input, read_input

    for spec in (InputSpec(4, 5, "rgb"), InputSpec(4, 5, "grey", range=(-1000.0, 0.5))):
        described = json.loads(json.dumps(describe_input(spec)))
        assert ("range" in described) == (spec.range is not None)
        assert read_input({"input": described}) == spec


def test_different_files_are_never_called_identical(tmp_path: Path) -> None:
    """Two images that differ by one in 65536 become the same 8 bits, and are still two."""
    values = scale(0, 65535, "u2")
    values[1] = values[0]
    values[1, 3, 3] ^= 1
    values[3] = values[2]
    write_set(tmp_path / "scans", values, save, "png")
    listing = read_listing(tmp_path / "scans")
    raw = load_listing(listing, cache_folder=tmp_path / "cache")
    assert raw.facts.num_duplicates == 1
    assert raw.facts.num_conflicts == 1  # Images 2 and 3 are of classes a and b.


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    values = scale(0, 1, "f4")
    values[3, 5, 5] = np.nan
    write_set(tmp_path / "scans", values, write_tiff, "tif")
    found = check_data(tmp_path / "scans", cache_folder=tmp_path / "cache")
    assert found["problems"] == ["b/3.tif: has pixel values that are not finite"]
    with pytest.raises(ImageError, match="not finite"):
        from_values(np.full((3, 3), np.inf))


def test_narrow_clips_and_lays_on_white() -> None:
    values = np.array([[[-5.0], [0.0], [0.5], [1.0], [7.0]]])
    assert np.asarray(narrow(WideImage(values), (0, 1))).tolist() == [[0, 0, 128, 255, 255]]
    seen_through = np.array([[[0, 0], [4095, 65535], [0, 65535]]], np.uint16)
    shown = convert(WideImage(seen_through), InputSpec(1, 3, "grey", range=(0, 4095)))
    assert shown.ravel().tolist() == [255, 255, 0]
    assert is_grey(WideImage(np.array([[[9, 3, 4, 0], [5, 5, 5, 9]]], np.uint16)))
    assert not is_grey(WideImage(np.array([[[9, 3, 4, 1]]], np.uint16)))


def test_measures_leave_alpha_and_outliers_out() -> None:
    values = np.full((100, 100, 2), 500, np.uint16)
    values[:50, :, 0], values[..., 1] = 900, 65535
    values[0, 0, 0], values[0, 1, 0] = 0, 60000
    assert measure(WideImage(values, bits=12)) == (0, 60000, 500, 900, 12)


def test_equal_values_have_equal_digests_in_any_type() -> None:
    grey = np.arange(12).reshape(3, 4, 1)
    same = [grey.astype(t) for t in ("u2", "i4", "f4", "f8")] + [np.repeat(grey, 3, 2)]
    assert len({b"".join(hash_parts(WideImage(values))) for values in same}) == 1
    others = [grey.reshape(4, 3, 1), grey + 1, np.stack([grey, grey + 1], 2)[..., 0]]
    assert len({b"".join(hash_parts(WideImage(values))) for values in [grey, *others]}) == 4


def test_whole_scales() -> None:
    assert all(map(is_whole, [(0, 1), (-1, 1), (0, 255), (0, 4095), (0, 65535), (0, 2**32 - 1)]))
    assert not any(map(is_whole, [(0, 100), (1, 255), (0, 3), (980, 1120), (0, 0.5), (-1, 0)]))


def test_blocks_are_averaged_and_may_be_smaller_at_the_edges() -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4, 1)
    assert shrink(values, 2)[..., 0].tolist() == [[2, 4], [8, 10]]
    assert shrink(values, 1) is values
    assert decode(write_png(values)).size == (4, 3)


def test_larger_images_are_read_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, Python and the command line take them by one setting, and name it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("burnish.image.decoding.MAX_PIXELS", 200)
    root, allowed = tmp_path / "photos", 500
    write_set(root, EIGHT, save, "png")
    with pytest.raises(DataError, match=r"has 20x20 = 400 pixels; at most 200 are [\s\S]*a/0\.png"):
        load_images(root, max_pixels=200)
    assert "--max-pixels" in " ".join(check_data(root, max_pixels=200)["problems"])
    assert check_data(root, max_pixels=allowed)["problems"] == []
    raw = load_images(root, max_pixels=allowed)
    model = make_model(tmp_path / "bundle", raw.input)
    path = root / "a" / "0.png"
    prepared = model.prepare(path, max_pixels=allowed)
    assert prepared.tobytes() in {image.tobytes() for image in raw.train.images}
    with pytest.raises(ImageError, match="max_pixels"):
        model.predict(path, max_pixels=200)
    assert len(model.predict(path, max_pixels=allowed).labels) == 1
    command = ["predict", str(tmp_path / "bundle"), str(path), "--max-pixels"]
    assert CliRunner().invoke(app, [*command, "500"]).exit_code == 0
    told = CliRunner().invoke(app, [*command, "200"])
    assert told.exit_code == 1
    assert "at most 200 are decoded: max_pixels in [data], or --max-pixels, allows" in told.output


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("range = [3, 2]", "the lower first"),
        ("range = [1]", "range"),
        ("range = [0, inf]", "range"),
        ('range = "all"', "range"),
        ("max_pixels = 0", "max_pixels"),
    ],
)
def test_studies_with_ranges_that_are_none_are_refused(line: str, told: str) -> None:
    study = f"""
[study]
name = "x"
[data]
path = "scans"
{line}
[[stage]]
name = "a"
kind = "train"
model = "fnn"
"""
    with pytest.raises(StudyError) as caught:
        parse_study(study, "x")
    assert told in str(caught.value)
