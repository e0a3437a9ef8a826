"""``burnish predict`` and ``burnish export``, as they are called."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import burnish
from burnish import cli
from burnish.data import load_source
from burnish.runfolder.store import RunFolder

from . import read_json

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """The command line within this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["burnish", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert isinstance(left.value.code, int)
        return left.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with the first five images of digits."""
    (tmp_path / "images").mkdir()
    for place, image in enumerate(load_source("digits", None).train.images[:5]):
        Image.fromarray(image[..., 0]).save(tmp_path / "images" / f"{place}.png")
    return tmp_path / "images"


def test_predict_prints_a_line_an_image(run: RunFolder, images: Path, call: Call) -> None:
    code, out, err = call("predict", run.path, images / "3.png", images / "1.png")
    expected = burnish.load(run.path).predict([images / "3.png", images / "1.png"]).labels
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [
        [str(images / "3.png"), expected[0]],
        [str(images / "1.png"), expected[1]],
    ]
    assert all(line.endswith("%") for line in out.splitlines())


def test_predict_gives_json_of_a_folder(run: RunFolder, images: Path, call: Call) -> None:
    code, out, _ = call("predict", run.model, images, "--json", "--top-k", 2)
    content = json.loads(out)
    assert code == 0
    assert content["model"] == "tiny"
    assert [Path(entry["image"]).name for entry in content["images"]] == [
        f"{place}.png" for place in range(5)
    ]
    assert all(len(entry["classes"]) == 2 for entry in content["images"])


def test_predict_writes_csv_to_a_file_or_prints_it(
    run: RunFolder, images: Path, call: Call, tmp_path: Path
) -> None:
    code, out, _ = call("predict", run.path, images, "--csv", "labels.csv")
    assert (code, out) == (0, "")
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [Path(row["image"]).name for row in rows] == [f"{place}.png" for place in range(5)]
    assert call("predict", run.path, images, "--csv", "-") == (0, text, "")


def test_predict_names_what_it_cannot_read_and_answers_the_rest(
    run: RunFolder, images: Path, call: Call
) -> None:
    (images / "bad.png").write_text("no image")
    code, out, err = call("predict", run.path, images, "absent.png")
    assert code == 1
    assert len(out.splitlines()) == 5
    assert err.splitlines() == [
        f"error: {images / 'bad.png'} is not an image of a known format "
        "(PNG, JPEG, BMP, GIF, WEBP, TIFF, AVIF)",
        "error: absent.png is not there",
    ]
    code, out, _ = call("predict", run.path, images / "bad.png", "--json")
    assert code == 1
    assert json.loads(out)["images"][0]["error"].startswith(str(images / "bad.png"))


def test_predict_names_what_it_leaves_out_of_a_folder(
    run: RunFolder, images: Path, call: Call
) -> None:
    (images / "notes.txt").write_text("x")
    code, _, err = call("predict", run.path, images)
    assert code == 0
    assert err == f"not called as images are, and not read: 1, such as {images / 'notes.txt'}\n"
    (images / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    code, out, err = call("predict", run.path, images)
    assert code == 1
    assert len(out.splitlines()) == 5
    assert f"error: {images / 'IMG_1.HEIC'} is " in err


def test_predict_says_that_there_is_no_ink_and_that_is_an_answer(
    run: RunFolder, images: Path, call: Call
) -> None:
    Image.new("L", (280, 280), 255).save(images / "empty.png")
    Image.new("RGBA", (280, 280)).save(images / "transparent.png")
    code, out, err = call("predict", run.path, images / "1.png", images / "empty.png")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("%")
    assert out.splitlines()[1].endswith("empty.png  (no ink was found in the image)")
    code, out, _ = call("predict", run.path, images / "transparent.png", "--json")
    (entry,) = json.loads(out)["images"]
    assert (code, entry["label"]) == (0, None)
    assert entry["reason"] == "no ink was found in the image"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent", "x.png"], "error: there is no absent: give a run folder"),
        ([".", "x.png"], "error: . is not a bundle: it has no contract.json"),
    ],
)
def test_predict_without_a_model_is_an_error(call: Call, arguments: list[str], told: str) -> None:
    code, out, err = call("predict", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(told)
    assert err.count("\n") == 1


WHAT_PREDICT_IMPORTS = """
import sys
from burnish import cli
sys.argv = ["burnish", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as left:
    assert left.code == 0, left.code
print(sorted({"tensorflow", "keras", "sklearn", "scipy", "onnx", "rich.table"} & set(sys.modules)))
"""


def test_predict_loads_neither_tensorflow_nor_a_table_drawer(run: RunFolder, images: Path) -> None:
    arguments = ["predict", str(run.path), str(images / "0.png")]
    command = [sys.executable, "-c", WHAT_PREDICT_IMPORTS, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


def test_export_says_what_it_wrote_and_what_it_is_worth(
    run: RunFolder, call: Call, tmp_path: Path
) -> None:
    code, out, err = call("export", run.path, "--format", "onnx")
    assert (code, err) == (0, "")
    assert out.startswith("tiny.onnx: agrees with Keras on 200 validation images; largest diff")
    certificate = read_json(tmp_path / "tiny.onnx.certificate.json")
    assert certificate["label_agreement"] == 1.0
    code, _, err = call("export", run.path, "--format", "onnx")
    assert code == 2
    assert err.startswith("error: tiny.onnx is there already")


def test_export_in_int8_tells_what_it_costs(run: RunFolder, call: Call, tmp_path: Path) -> None:
    command = ["export", run.model, "--format", "litert", "--quantize", "int8"]
    code, out, err = call(*command, "--out", "small.tflite")
    assert (code, err) == (0, "")
    assert out.startswith("small.tflite: against float32 on 200 validation images, accuracy ")
    assert "of the size" in out
    assert read_json(tmp_path / "small.tflite.certificate.json")["precision"] == "int8"


def test_a_bundle_goes_through_a_zip_file(
    run: RunFolder, call: Call, images: Path, tmp_path: Path
) -> None:
    assert call("export", run.path, "--format", "zip") == (0, "tiny.zip\n", "")
    assert call("export", "tiny.zip", "--format", "folder") == (0, "tiny-model\n", "")
    given = [call("predict", path, images) for path in (run.path, "tiny.zip", "tiny-model")]
    assert given[0] == given[1] == given[2]
    for format_name, name in (("zip", "tiny.zip"), ("folder", "tiny-model")):
        code, _, err = call("export", run.path, "--format", format_name)
        assert code == 2
        assert f"{name} is there already" in err


def test_a_bundle_alone_needs_the_images_of_its_study(
    bundle: Path, run: RunFolder, call: Call, tmp_path: Path
) -> None:
    command = ["export", bundle, "--format", "keras"]
    code, _, err = call(*command)
    assert code == 2
    assert "a bundle holds no images. Give --study with the run folder or the study file" in err
    code, _, err = call(*command, "--study", tmp_path)
    assert code == 2
    assert "is no run folder: it has no study.toml" in err
    code, _, err = call(*command, "--study", "digits")
    assert code == 2
    assert "the images of the study 'digits'" in err
    assert "are not those that its run had" in err
    assert not (tmp_path / "tiny.keras").exists()
    assert call(*command, "--study", run.path)[0] == 0
    (tmp_path / "tiny.keras.certificate.json").unlink()
    (tmp_path / "tiny.keras.labels.txt").unlink()
    (tmp_path / "tiny.keras").unlink()
    assert call(*command, "--study", run.study_file)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--format", "onxx"],
            "unknown format 'onxx'; did you mean 'onnx'? There are: folder, keras, litert, onnx, "
            "savedmodel, zip",
        ),
        (["--format", "zip", "--quantize", "int8"], "int8 is for onnx, litert, not for zip"),
        (["--format", "keras", "--quantize", "int8"], "int8 is for onnx, litert, not for keras"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(
    run: RunFolder, call: Call, arguments: list[str], told: str, tmp_path: Path
) -> None:
    code, _, err = call("export", run.path, *arguments)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_size_and_colour_are_no_matter(
    run: RunFolder, call: Call, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for place, shape in enumerate([(300, 400, 3), (8, 8), (1, 1), (5, 900, 3)]):
        array = random.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / f"{place}.png")
    assert call("predict", run.path, *sorted(tmp_path.glob("*.png")))[0] == 0
