from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.data import Dataset, Split
from burnish.errors import DataError, DataNotFoundError, StudyError
from burnish.models import find_family
from burnish.study.init import (
    FEW_IMAGES,
    advise,
    are_photographs,
    choose_input_size,
    init_study,
    name_study,
    write_study,
)
from burnish.study.parse import load_study, parse_study
from burnish.study.schema import TuneStage
from burnish.study.source import load_data


def make_dataset(counts: list[int], side: int = 28, channels: int = 1) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = np.zeros((len(labels), side, side, channels), np.uint8)
    split = Split(images, labels)
    return Dataset("made", split, split, tuple(f"class {i}" for i in range(len(counts))), "made")


@pytest.mark.parametrize(("side", "depth"), [(8, 1), (28, 3), (32, 3), (64, 4), (128, 5), (256, 6)])
def test_the_depth_suits_the_size_of_the_images(side: int, depth: int) -> None:
    advice = advise(make_dataset([20, 20], side))
    assert advice.depth == depth
    params = {**find_family("cnn").defaults, "num_conv_layers": depth, "dense_layer_size": 256}
    assert find_family("cnn").explain_misfit(params, (side, side, 3)) is None


@pytest.mark.parametrize(
    ("num_images", "batch_size", "epochs"), [(100, 8, 60), (2_000, 64, 60), (50_000, 128, 8)]
)
def test_batches_and_epochs_suit_the_number_of_images(
    num_images: int, batch_size: int, epochs: int
) -> None:
    advice = advise(make_dataset([num_images // 2] * 2, side=8))
    assert (advice.batch_size, advice.epochs) == (batch_size, epochs)


def test_classes_of_very_different_size_are_weighted_and_small_ones_not_folded() -> None:
    assert not advise(make_dataset([50, 10])).balanced
    assert advise(make_dataset([50, 10])).folds == 3
    assert advise(make_dataset([51, 5])).balanced
    assert advise(make_dataset([51, 5])).folds is None


@pytest.mark.parametrize(
    ("num_images", "channels", "expected"),
    [(20, 1, True), (FEW_IMAGES + 2, 1, False), (20, 3, True), (FEW_IMAGES + 2, 3, True)],
)
def test_colour_and_few_images_start_from_a_pretrained_network(
    num_images: int, channels: int, expected: bool
) -> None:
    data = make_dataset([num_images // 2] * 2, side=8, channels=channels)
    assert are_photographs(data) == expected
    text = write_study("made", "made.toml", "made", data, {}, "")
    study, _ = parse_study(text, "made.toml")
    models = {stage.model for stage in study.stages if stage.kind != "final"} - {None}
    assert models == {"pretrained" if expected else "cnn"}
    names = [stage.name for stage in study.stages]
    assert ("last-blocks" in names) == (expected and num_images > 500)


@pytest.mark.parametrize(("side", "size"), [(28, 96), (64, 128), (100, 160), (224, 0), (256, 0)])
def test_small_images_are_enlarged_for_the_pretrained_network(side: int, size: int) -> None:
    assert choose_input_size(make_dataset([2, 2], side)) == size


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """300 grey images of 12x16 in two classes, one much rarer, without splits."""
    generator = np.random.default_rng(3)
    x = generator.integers(0, 256, (300, 12, 16), np.uint8)
    y = (np.arange(300) % 20 == 0).astype(np.int64)
    path = tmp_path / "My Images.npz"
    np.savez(path, x=x, y=y)
    return path


def test_a_study_file_is_written_that_can_be_run_and_read(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    out = init_study(arrays, tmp_path / "studies" / "mine.toml")
    text = out.read_text(encoding="utf-8")
    study, _ = load_study(str(out))
    assert study.name == "mine"
    assert study.data.path is not None
    assert Path(study.data.path).resolve() == arrays.resolve()
    assert 'path = "../My Images.npz"' in text
    assert study.data.reading() == {
        "color": "grey",
        "size": (12, 16),
        "resize": "pad",
        "on_bad_image": "fail",
    }
    assert study.data.class_weight == "balanced"
    # So few images start from a network that was trained on others.
    assert [stage.kind for stage in study.stages] == ["tune", "final"]
    for stage in study.stages:
        if isinstance(stage, TuneStage):
            assert study.brackets(stage)
    assert sum("#" in line for line in text.splitlines()) > 15
    # Its head says how to run it.
    assert text.startswith(f"#     burnish run {out}")


def test_what_says_how_a_folder_is_read_is_in_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("a/one", "a/two", "b/one"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    out = init_study(Path("data"), Path("top.toml"), labels="top", masks="keep")
    reading = load_study(str(out))[0].data.reading()
    assert (reading["labels"], reading["masks"]) == ("top", "keep")
    assert "labels" not in load_study(str(init_study(Path("data"))))[0].data.reading()


@pytest.mark.skipif(sys.platform != "linux", reason="only here are names any bytes")
def test_paths_that_are_not_utf8_are_refused_or_go_around(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / os.fsdecode(b"odd\xff.npz")
    shutil.copy(arrays, odd)
    with pytest.raises(StudyError, match=r"path of the images is not text in UTF-8.*ln -s"):
        init_study(odd)
    (tmp_path / "plain.npz").symlink_to(odd)
    assert load_study(str(init_study(Path("plain.npz"))))[0].data.path is not None
    # A study file may lie in such a folder, if the images do not.
    folder = tmp_path / os.fsdecode(b"dir\xff")
    folder.mkdir()
    out = init_study(arrays, folder / "study.toml")
    data_path = load_study(str(out))[0].data.path
    assert data_path is not None
    assert Path(data_path) == arrays.resolve()
    shutil.copy(arrays, folder / "inner.npz")
    out.write_text(out.read_text().replace("../My Images.npz", "inner.npz"))
    with pytest.raises(StudyError, match="path of the images is not text in UTF-8"):
        load_study(str(out))


def test_a_file_that_is_there_is_not_overwritten(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert init_study(arrays) == Path("my-images.toml")
    assert load_study("my-images.toml")[0].name == "my-images"
    before = Path("my-images.toml").read_bytes()
    with pytest.raises(StudyError, match=r"my-images.toml exists already.*--out"):
        init_study(arrays)
    assert Path("my-images.toml").read_bytes() == before


def test_two_folders_of_one_name_give_two_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = set()
    for number, owner in enumerate(("pets", "cars")):
        ramp = np.arange(24, dtype=np.uint8).reshape(-1, 1, 1)
        images = np.full((24, 8, 8), 40 * number, np.uint8) + ramp
        (tmp_path / owner).mkdir()
        np.savez(tmp_path / owner / "images.npz", x=images, y=np.arange(24) % 2)
        out = init_study(tmp_path / owner / "images.npz", tmp_path / f"{owner}.toml")
        names.add(load_study(str(out))[0].name)
    assert names == {"pets", "cars"}


def test_data_that_is_not_there_is_an_error_and_no_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError):
        init_study(tmp_path / "absent", tmp_path / "absent.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_made_of_any_path() -> None:
    assert name_study(Path("/data/Cats & Dogs")) == "cats-dogs"
    assert name_study(Path("Фото")) == "images"


def write_table(folder: Path, head: str) -> Path:
    """A table in ``folder/data`` whose images lie in ``folder/images``."""
    generator = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    (folder / "data").mkdir()
    rows = [head]
    for number in range(60):
        image = Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8))
        image.save(folder / "images" / f"{number}.png")
        rows.append(f"{number}.png,{('Cat', 'dog', 'cat ')[number % 3]}")
    table = folder / "data" / "labels.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    return table


def test_what_was_found_out_alone_and_what_was_asked_for_stand_in_the_study(tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", "file_name,target")
    out = init_study(table, tmp_path / "studies" / "mine.toml", class_case="join")
    data = load_study(str(out))[0].data
    text = out.read_text(encoding="utf-8")
    assert 'image_root = "../set/images"' in text
    assert data.reading() | {"color": "", "size": ""} == {
        "color": "",
        "size": "",
        "resize": "pad",
        "on_bad_image": "fail",
        "image_column": "file_name",
        "label_column": "target",
        "image_root": tmp_path / "set/images",
        "class_case": "join",
    }
    raw = load_data(data, None, lambda done, total: None)
    assert raw.class_names == ("Cat", "dog")
    assert "2 spellings of 1 class were joined" in " ".join(raw.facts.notes)
    assert raw.facts.describe()["chosen"] == {
        "image_column": "file_name",
        "label_column": "target",
    }
    # The folder is named now; another one with the same names changes nothing.
    shutil.copytree(tmp_path / "set" / "images", tmp_path / "set" / "masks")
    assert load_data(data, None, lambda done, total: None).class_names == ("Cat", "dog")


def test_problems_are_grouped_when_a_study_is_asked_for(tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", "file_name,target")
    for number in range(5):
        (tmp_path / "set" / "images" / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"cannot be used: 5\n  is not there: 5\n    images/0\.png"):
        init_study(table, tmp_path / "mine.toml")
    assert not (tmp_path / "mine.toml").exists()


def test_images_that_cannot_be_used_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    for number in range(24):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "photos" / "a" / "empty.png").write_bytes(b"")
    out = tmp_path / "photos.toml"
    with pytest.raises(DataError, match="burnish init --on-bad-image skip"):
        init_study(tmp_path / "photos", out)
    study, _ = load_study(str(init_study(tmp_path / "photos", out, on_bad_image="skip")))
    assert study.data.on_bad_image == "skip"
    assert load_data(study.data, None).facts.num_skipped == 1
