from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import burnish
from burnish.data import LabelledImages, Split, SplitSizes, decode, load_source, prepare
from burnish.data.autosize import choose_size
from burnish.data.formats import list_arrays, read_listing
from burnish.data.load import load_images, load_listing
from burnish.errors import DataError
from burnish.image import InputSpec, from_array

from .made import Made, make, png, write_csv, write_every_format, write_folder, write_npz

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own."""
    return tmp_path_factory.mktemp("cache")


def contents_of(raw: LabelledImages) -> list[tuple[bytes, str]]:
    return sorted(
        (image.tobytes(), raw.class_names[label])
        for split in (raw.train, *raw.given.values())
        for image, label in zip(split.images, split.labels, strict=True)
    )


def test_images_come_as_they_are(tmp_path: Path, kept: Path) -> None:
    made = make(24, (9, 8))
    raw = load_images(write_folder(tmp_path / "scans", made), cache_folder=kept)
    assert raw.source == "scans"
    assert raw.class_names == ("0", "1", "2")
    assert raw.train.images.shape == (24, 9, 8, 1)
    assert raw.input == InputSpec(9, 8, "grey")
    assert raw.given == {}
    assert raw.blocks is None
    assert contents_of(raw) == sorted(
        (made.images[i].tobytes(), made.class_of(i)) for i in range(24)
    )
    assert raw.facts.describe() == {
        "format": "folder",
        "num_images": 24,
        "num_skipped": 0,
        "skipped": [],
        "num_duplicates": 0,
        "num_dropped": 0,
        "num_conflicts": 0,
        "conflicts": [],
        "given_splits": [],
        "shortcuts": [],
        "notes": ["size 9x8: that of all images", "color grey: no image has colour"],
        "warnings": [],
        "chosen": {},
    }


@pytest.mark.parametrize("is_split", [False, True])
def test_every_format_gives_the_same_data_set_and_cut(
    tmp_path: Path, kept: Path, is_split: bool
) -> None:
    splits = tuple(np.array(["train", "train", "test"])[np.arange(120) % 7 % 3])
    made = dataclasses.replace(make(120, (8, 9), 12), splits=splits if is_split else None)
    check_all_the_same(write_every_format(tmp_path, made), kept, made)


def check_all_the_same(paths: dict[str, Path], kept: Path, made: Made) -> None:
    cuts = {}
    for name, path in paths.items():
        raw = load_images(path, cache_folder=kept)
        assert raw.facts.format == name
        cuts[name] = prepare(raw, None, seed=3)
    dataset, sealed = cuts["folder"]
    assert len({cut.fingerprint for cut, _ in cuts.values()}) == 1
    assert dataset.class_names == tuple(map(str, range(len(made.class_names))))
    for other, other_sealed in cuts.values():
        np.testing.assert_array_equal(other.train.images, dataset.train.images)
        np.testing.assert_array_equal(other.val.labels, dataset.val.labels)
        np.testing.assert_array_equal(other_sealed.open().images, sealed.open().images)


def test_mnist_in_every_format_is_the_same(tmp_path: Path, kept: Path) -> None:
    data_dir = Path(os.environ.get("BURNISH_DATA", SHARED))
    if not (data_dir / "mnist").is_dir():
        pytest.skip("MNIST is not here: set BURNISH_DATA to the folder that holds 'mnist'")
    mnist = load_source("mnist", data_dir)
    assert mnist.test is not None
    images = np.concatenate([mnist.train.images[:450], mnist.test.images[:150]])[..., 0]
    labels = np.concatenate([mnist.train.labels[:450], mnist.test.labels[:150]])
    made = Made(images, labels, mnist.class_names, ("train",) * 450 + ("test",) * 150)
    check_all_the_same(write_every_format(tmp_path, made), kept, made)


def test_in_a_mapped_file_or_in_memory_is_the_same(tmp_path: Path, kept: Path) -> None:
    raw = load_images(write_folder(tmp_path, make(60)), cache_folder=kept)
    mapped, mapped_test = prepare(raw, None, seed=0)
    assert mapped.train.is_mapped
    in_memory = replace(raw, train=Split(raw.train.images, raw.train.labels))
    copied, copied_test = prepare(in_memory, None, seed=0)
    assert not copied.train.is_mapped
    assert mapped.fingerprint == copied.fingerprint
    np.testing.assert_array_equal(mapped_test.open().images, copied_test.open().images)
    again = pickle.loads(pickle.dumps(mapped))
    np.testing.assert_array_equal(again.val.images, copied.val.images)
    assert len(pickle.dumps(mapped)) < 20_000


# Colour and size.


def write_images(root: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    for index, image in enumerate(images):
        path = root / f"class{index % 2}" / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return root


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def test_one_image_with_colour_makes_them_colour(tmp_path: Path, kept: Path) -> None:
    grey = [noise(9, 9) for _ in range(600)]
    as_rgb = np.repeat(grey[0][..., np.newaxis], 3, axis=-1)
    one_dot = as_rgb.copy()
    one_dot[0, 0, 1] ^= 1
    raw = load_images(write_images(tmp_path / "one", [*grey, one_dot]), cache_folder=kept)
    assert raw.input.color == "rgb"
    assert raw.facts.notes[-1] == "color rgb: images have colour"
    # In a mode that has colour, but without any: grey after all.
    told = []
    path = write_images(tmp_path / "none", [as_rgb, *[np.roll(as_rgb, k, 0) for k in range(1, 9)]])
    raw = load_images(path, cache_folder=kept, on_progress=lambda *step: told.append(step))
    assert raw.input.color == "grey"
    assert told[-1] == (9, 9)
    plain = [grey[0], *[np.roll(grey[0], k, 0) for k in range(1, 9)]]
    same = load_images(write_images(tmp_path / "plain", plain), cache_folder=kept)
    sizes = SplitSizes(5, 2, 2)
    assert prepare(same, sizes, 0)[0].fingerprint == prepare(raw, sizes, 0)[0].fingerprint


def test_colour_as_it_is_asked_for(tmp_path: Path, kept: Path) -> None:
    path = write_images(tmp_path, [noise(9, 9), noise(9, 9, 3), noise(9, 9, 4), noise(9, 9, 2)] * 3)
    for color, channels in (("grey", 1), ("rgb", 3)):
        raw = load_images(path, color=color, cache_folder=kept)  # type: ignore[arg-type]
        assert raw.train.image_shape == (9, 9, channels)
        assert raw.facts.notes == ("size 9x9: that of all images",)


@pytest.mark.parametrize(
    ("sizes", "chosen", "why"),
    [
        ([(28, 28)] * 3, (28, 28), "that of all images"),
        ([(20, 30), (24, 30), (90, 31)], (24, 30), "the median of all images"),
        ([(480, 640)] * 2, (192, 256), "that of all images, 480x640, scaled to at most 256"),
        ([(5, 6)] * 2, (8, 8), "that of all images, 5x6, scaled to at least 8"),
        ([(1000, 10)], (256, 8), "that of all images, 1000x10, scaled to at most 256"),
        ([(10, 11), (11, 12)], (10, 12), "the median of all images"),
    ],
)
def test_the_size_that_suits(
    sizes: list[tuple[int, int]], chosen: tuple[int, int], why: str
) -> None:
    heights, widths = np.array(sizes, np.int32).T
    assert choose_size(heights, widths) == (chosen, f"size {chosen[0]}x{chosen[1]}: {why}")


def test_images_of_many_sizes(tmp_path: Path, kept: Path) -> None:
    path = write_images(tmp_path / "many", [noise(10 + k, 20) for k in range(11)])
    raw = load_images(path, cache_folder=kept)
    assert raw.train.image_shape == (15, 20, 1)
    # Where the sample agrees and an image that was not in it does not.
    odd = [noise(9, 9) for _ in range(600)]
    odd = [noise(9, 12) if index % 4 > 1 else image for index, image in enumerate(odd)]
    raw = load_images(write_images(tmp_path / "odd", odd), cache_folder=kept)
    assert raw.train.image_shape == (9, 10, 1)
    asked = load_images(path, size=(8, 30), resize="stretch", cache_folder=kept)
    assert asked.train.image_shape == (8, 30, 1)
    assert asked.input.resize == "stretch"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": (0, 5)}, r'size = \(0, 5\); expected "auto", or height and width'),
        ({"size": (5,)}, "expected"),
        ({"size": (5, 5000)}, "1 to 4096 each"),
        ({"size": "big"}, "size = 'big'"),
        ({"size": (5.0, 5)}, "expected"),
        ({"color": "gray"}, "unknown color 'gray'; did you mean 'grey'"),
        ({"resize": "crop"}, "unknown resize 'crop'"),
        ({"on_bad_image": "ignore"}, "unknown on_bad_image 'ignore'"),
    ],
)
def test_settings_that_are_none(
    tmp_path: Path, kept: Path, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_images(write_folder(tmp_path, make(6)), cache_folder=kept, **setting)


# Bad images.


def spoil(root: Path) -> None:
    """Put one file of each kind of trouble into a folder of images."""
    good = (root / "0" / "0.png").read_bytes()
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    for name, content in (
        ("0/cut.png", good[: len(good) // 2]),
        ("0/empty.jpg", b""),
        ("1/text.png", b"hello"),
        ("1/bomb.png", buffer.getvalue()),
        ("2/damaged.png", good[:50] + bytes(10) + good[60:]),
        ("stray.png", good),
    ):
        (root / name).write_bytes(content)


BAD = ("0/cut.png", "0/empty.jpg", "1/bomb.png", "1/text.png", "2/damaged.png", "stray.png")


def test_all_that_is_bad_is_named_at_once_or_skipped(tmp_path: Path, kept: Path) -> None:
    made = make()
    root = write_folder(tmp_path / "data", made)
    spoil(root)
    with pytest.raises(DataError) as caught:
        load_images(root, cache_folder=kept)
    text = str(caught.value)
    lines = text.splitlines()
    assert lines[0] == "data: images or files that cannot be used: 6"
    assert all(name in text for name in BAD)
    assert "  is cut off or damaged: 2\n    0/cut.png (" in text
    assert "has 9000x9000 = 81,000,000 pixels" in text
    assert "  0/empty.jpg: is empty\n" in text
    # Last, since it may be a consequence.
    assert lines[-2] == "  stray.png: is an image without a label, beside the classes' folders"
    assert 'set on_bad_image = "skip"' in lines[-1]

    raw = load_images(root, cache_folder=kept, on_bad_image="skip", on_progress=refuse)
    assert contents_of(raw) == contents_of(
        load_images(write_folder(tmp_path / "good", made), cache_folder=kept)
    )
    assert raw.facts.num_skipped == 6
    assert sorted(line.split(":")[0] for line in raw.facts.skipped) == sorted(BAD)
    (warning,) = raw.facts.warnings
    assert warning.startswith("images or files that cannot be used and were skipped: 6 (")
    assert "is cut off or damaged: 2" in warning


def refuse(done: int, total: int) -> None:
    raise AssertionError("decoded again, and not taken from the cache")


def test_of_many_bad_images_twenty_are_named(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path, make())
    for number in range(33):
        (root / "0" / f"bad{number}.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cannot be used: 33\n[^$]*and 13 more") as caught:
        load_images(root, cache_folder=kept)
    assert len(str(caught.value).splitlines()) == 24


def test_labels_without_files(tmp_path: Path, kept: Path) -> None:
    path = write_csv(tmp_path / "data", make())
    (tmp_path / "data" / "scans" / "7.png").unlink()
    with pytest.raises(DataError, match=r"cannot be used: 1\n  scans/7\.png: is not there"):
        load_images(path, cache_folder=kept)


def test_a_class_that_is_in_later_splits_alone_is_named_with_them(
    tmp_path: Path, kept: Path
) -> None:
    made = make(24)
    for split, folder in (("train", "0"), ("train", "1"), ("val", "1"), ("test", "one")):
        (tmp_path / "data" / split / folder).mkdir(parents=True)
    for number, image in enumerate(made.images):
        folder = ("train/0", "train/1", "val/1", "test/one")[number % 4]
        (tmp_path / "data" / folder / f"{number}.png").write_bytes(png(image))
    with pytest.raises(DataError, match=r"train on of the class one \(6 in test\); add some"):
        load_images(tmp_path / "data", cache_folder=kept)


def test_where_no_image_or_no_class_is_left(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "none", make(6))
    for file in root.rglob("*.png"):
        file.write_bytes(b"x")
    with pytest.raises(DataError, match=r"none: no image can be used:\n  is not an image .*: 6\n"):
        load_images(root, cache_folder=kept, on_bad_image="skip")
    root = write_folder(tmp_path / "one", make(6))
    for file in (root / "1").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(DataError, match="no usable image to train on of the class 1; add some"):
        load_images(root, cache_folder=kept, on_bad_image="skip")


def test_a_pixel_that_is_no_number(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path, make(6))
    array = np.full((9, 9), np.nan, np.float32)
    Image.fromarray(array).save(root / "0" / "nan.tif")
    with pytest.raises(DataError, match=r"0/nan\.tif: has pixel values that are not finite"):
        load_images(root, cache_folder=kept)


# Identical images, groups, imbalance.


def test_identical_images_stay_in_one_split(tmp_path: Path, kept: Path) -> None:
    made = make(60)
    images = made.images.copy()
    images[3::6] = images[0::6]  # A sixth of all, in the same classes.
    listing = list_arrays(images, made.labels)
    raw = load_listing(listing, cache_folder=kept)
    assert raw.facts.num_duplicates == 10
    assert raw.blocks is not None
    dataset, sealed = prepare(raw, SplitSizes(0.5, 0.25, 0.25), seed=0)
    parts = [
        {image.tobytes() for image in split.images}
        for split in (dataset.train, dataset.val, sealed.open())
    ]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 50
    assert len(dataset.train) + len(dataset.val) + sealed.num_images == 60


def test_identical_images_of_given_splits_are_taken_out(tmp_path: Path, kept: Path) -> None:
    made = make(40, num_classes=2)
    images = made.images.copy()
    splits = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    images[[0, 2]] = images[[24, 32]]  # train as val, train as test
    images[26] = images[34]  # val as test
    images[5] = images[4]  # within train, with another label
    raw = load_listing(list_arrays(images, made.labels, splits=splits), cache_folder=kept)
    facts = raw.facts
    assert (facts.num_duplicates, facts.num_dropped, facts.num_conflicts) == (4, 3, 1)
    assert facts.conflicts == ("images[4] (0) and images[5] (1)",)
    assert facts.given_splits == ("train", "val", "test")
    assert raw.val is not None
    assert raw.test is not None
    assert (len(raw.train), len(raw.val), len(raw.test)) == (22, 7, 8)
    assert facts.num_images == 37
    assert [warning.split(":")[0] for warning in facts.warnings] == [
        "sets of identical images with more than one label",
        "images of train or val that are in a later split too, and were taken out",
    ]
    dataset, _ = prepare(raw, None, seed=0)
    assert (len(dataset.train), len(dataset.val)) == (22, 7)


def test_groups_stay_in_one_split(tmp_path: Path, kept: Path) -> None:
    made = make(90)
    writers = [f"w{i // 5}" for i in range(90)]
    path = write_csv(tmp_path / "data", made, {"writer": writers})
    raw = load_images(path, group="writer", cache_folder=kept)
    dataset, sealed = prepare(raw, None, seed=0)
    writer_of = {
        image.tobytes(): writer for image, writer in zip(made.images, writers, strict=True)
    }
    parts = [
        {writer_of[image.tobytes()] for image in split.images}
        for split in (dataset.train, dataset.val, sealed.open())
    ]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 18
    # Groups do not depend on the order of the rows either.
    order = np.random.default_rng(1).permutation(90)
    shuffled = list_arrays(
        made.images[order], made.labels[order], groups=[writers[i] for i in order]
    )
    again, _ = prepare(load_listing(shuffled, cache_folder=kept), None, seed=0)
    assert again.fingerprint == dataset.fingerprint


def test_groups_across_given_splits_are_refused(kept: Path) -> None:
    made = make(24)
    groups = ["a"] * 4 + [str(i) for i in range(20)]
    splits = ["train"] * 3 + ["test"] + ["train"] * 12 + ["test"] * 8
    listing = list_arrays(made.images, made.labels, splits=splits, groups=groups)
    with pytest.raises(DataError, match=r"given splits: 1, as 'a' \(train and test\)"):
        load_listing(listing, cache_folder=kept)


def test_a_severe_imbalance_is_warned_of(kept: Path) -> None:
    images = noise(113, 8, 8)
    labels = np.array([0] * 103 + [1] * 10)
    raw = load_listing(list_arrays(images, labels, ["rust", "fine"]), cache_folder=kept)
    (warning,) = raw.facts.warnings
    assert "'rust' has 103 images, 'fine' 10" in warning
    assert 'class_weight = "balanced"' in warning
    even = list_arrays(images[3:], labels[3:], ["rust", "fine"])
    assert load_listing(even, cache_folder=kept).facts.warnings == ()


def test_a_split_that_lacks_a_class_is_warned_of(kept: Path) -> None:
    made = make(24)
    splits = ["train"] * 18 + ["test" if i != 1 else "train" for i in made.labels[18:]]
    listing = list_arrays(made.images, made.labels, splits=splits)
    raw = load_listing(listing, cache_folder=kept)
    assert raw.facts.warnings == ("the test split has no images of '1'",)


# The cache.


def entries(kept: Path) -> list[str]:
    return sorted(path.name for path in kept.iterdir() if path.is_dir() and path.name != "paths")


def test_what_was_decoded_is_found_again_until_something_changes(
    tmp_path: Path, kept: Path
) -> None:
    root = write_folder(tmp_path / "data", make())
    first = load_images(root, cache_folder=kept)
    again = load_images(root, cache_folder=kept, on_progress=refuse)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert again.facts == first.facts
    assert len(entries(kept)) == 1
    load_images(root, color="rgb", cache_folder=kept)
    load_images(root, size=(8, 8), cache_folder=kept)
    assert len(entries(kept)) == 3
    (root / "0" / "0.png").write_bytes(png(noise(9, 9)))
    changed = load_images(root, cache_folder=kept)
    assert contents_of(changed) != contents_of(first)
    (root / "0" / "0.png").unlink()
    assert len(load_images(root, cache_folder=kept).train) == 23


def test_an_entry_that_was_damaged_is_made_again(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    first = load_images(root, cache_folder=kept).train.images
    for name in ("images.npy", "records.npz", "about.json"):
        (file,) = kept.glob(f"*-*/{name}")
        for content in (file.read_bytes()[:-5], b"", b"[]"):
            file.write_bytes(content)
            again = load_images(root, cache_folder=kept)
            np.testing.assert_array_equal(again.train.images, first)
            del again  # What is damaged and in use goes later.
    assert len(entries(kept)) == 1


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    load_images(root, cache_folder=kept)
    (name,) = entries(kept)
    entry = kept / name
    entry.rename(entry.with_name(f"{entry.name}.dead.tmp"))
    load_images(root, cache_folder=kept)
    assert entries(kept) == [entry.name]


def test_nothing_is_kept_of_a_failure_midway(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(root, cache_folder=kept, on_progress=stop)
    assert entries(kept) == []


def test_two_at_once_decode_once(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make(48))
    told: list[tuple[int, int]] = []
    shapes = []

    def load() -> None:
        raw = load_images(root, cache_folder=kept, on_progress=lambda *step: told.append(step))
        shapes.append(raw.train.images.shape)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [(48, 9, 9, 1)] * 4
    assert told.count((48, 48)) == 1


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    root = write_folder(tmp_path / "data", make())
    with pytest.raises(DataError, match=r"decoded images of data cannot be kept there .*XDG_CACHE"):
        load_images(root, cache_folder=tmp_path / "file" / "cache")


def test_the_cache_is_the_users_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name == "nt":
        pytest.skip("the XDG variables do not count on Windows")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    load_images(write_folder(tmp_path / "data", make()))
    assert len(entries(tmp_path / "home" / "burnish" / "images")) == 1


# Processes.


def test_workers_decode_as_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(600, (12, 12))
    root = write_folder(tmp_path / "data", made)
    spoil(root)
    paths = {"folder": root, "parquet": write_every_format(tmp_path / "all", made)["parquet"]}
    # As if this process were too slow for the rest.
    monkeypatch.setattr(decode, "_ALONE_SECONDS", 0.0)
    monkeypatch.setattr(decode, "_WORTH_SECONDS", -1.0)
    monkeypatch.setattr(decode, "_TASK_SECONDS", 0.002)
    for name, path in paths.items():
        listing = read_listing(path)
        found = []
        for num_workers in (1, 2):
            told: list[tuple[int, int]] = []
            file = tmp_path / f"{name}-{num_workers}.npy"
            done = decode.decode_images(
                listing.images,
                len(listing),
                InputSpec(12, 12, "grey"),
                file,
                look_for_color=True,
                num_workers=num_workers,
                on_progress=lambda *step, told=told: told.append(step),
            )
            assert told[-1] == (len(listing), len(listing))
            assert [step[0] for step in told] == sorted(step[0] for step in told)
            found.append((np.load(file), done))
        (pixels, one), (others, two) = found
        np.testing.assert_array_equal(pixels, others)
        np.testing.assert_array_equal(one.digests, two.digests)
        assert one.bad == two.bad
        assert len(one.bad) == (5 if name == "folder" else 0)
        assert one.modes.tolist() == two.modes.tolist()
        assert not two.has_color


SCRIPT = """
import sys, threading, os, signal
from pathlib import Path
from burnish.data import decode
from burnish.data.load import load_images

decode._ALONE_SECONDS, decode._WORTH_SECONDS, decode._TASK_SECONDS = 0.0, -1.0, 0.002

def stop(done, total):
    if done > 200:
        os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    # A process that was started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        load_images(Path(sys.argv[1]), cache_folder=Path(sys.argv[2]), on_progress=stop)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_ends_it_without_a_word_from_the_workers(tmp_path: Path, kept: Path) -> None:
    if os.name == "nt":
        pytest.skip("process groups are POSIX's")
    root = write_folder(tmp_path / "data", make(600))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(root), str(kept)],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(burnish.__file__).parents[1])},
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")
    assert entries(kept) == []


def test_a_large_compressed_and_a_stored_archive_are_one(tmp_path: Path, kept: Path) -> None:
    made = make(60, (10, 10, 3))
    plain = load_images(write_npz(tmp_path / "a.npz", made), cache_folder=kept)
    packed = load_images(write_npz(tmp_path / "b.npz", made, compressed=True), cache_folder=kept)
    assert prepare(plain, None, 0)[0].fingerprint == prepare(packed, None, 0)[0].fingerprint


def test_jpegs_come_out_as_pillow_gives_them(tmp_path: Path, kept: Path) -> None:
    for index in range(6):
        path = tmp_path / f"c{index % 2}" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        from_array(noise(16, 16, 3) // (index + 1)).save(path, quality=90)
    raw = load_images(tmp_path, cache_folder=kept)
    wanted = []
    for path in tmp_path.glob("*/*.jpg"):
        with Image.open(path) as image:
            wanted.append((np.asarray(image).tobytes(), path.parent.name))
    assert contents_of(raw) == sorted(wanted)
    assert json.loads(next(kept.glob("*/about.json")).read_text(encoding="utf-8"))["bad"] == {}


# Names


def test_every_image_keeps_its_name_through_order_and_cut(tmp_path: Path, kept: Path) -> None:
    made = make(60)
    raw = load_images(write_folder(tmp_path / "scans", made), cache_folder=kept)
    dataset, sealed = prepare(raw, SplitSizes(val=0.25, test=0.25), seed=1)
    for split in (dataset.train, dataset.val, sealed.open()):
        assert split.names is not None
        for name, image, label in zip(split.names, split.images, split.labels, strict=True):
            number = int(Path(name).stem)
            assert name == f"{made.class_of(number)}/{number}.png"
            assert np.array_equal(image[..., 0], made.images[number])
            assert label == made.labels[number]


def test_an_image_by_another_name_is_the_same_data(tmp_path: Path, kept: Path) -> None:
    folder = write_folder(tmp_path / "scans", make(30))
    before, _ = prepare(load_images(folder, cache_folder=kept), None, seed=1)
    (folder / "1" / "1.png").rename(folder / "1" / "renamed.png")
    raw = load_images(folder, cache_folder=kept)
    after, sealed = prepare(raw, None, seed=1)
    assert after.fingerprint == before.fingerprint
    splits = (after.train, after.val, sealed.open())
    assert "1/renamed.png" in {name for split in splits for name in split.names or ()}


def test_identical_images_are_listed_in_sets(tmp_path: Path, kept: Path) -> None:
    made = make(24)
    folder = write_folder(tmp_path / "scans", made)
    assert load_images(folder, cache_folder=kept).identical is None
    for name in ("0/zwilling.png", "1/other class.png"):
        (folder / name).write_bytes(png(made.images[3]))
    (folder / "2" / "copy.png").write_bytes(png(made.images[5]))
    found = load_images(folder, cache_folder=kept).identical
    assert found is not None
    assert found.splits is None
    assert found.is_kept.all()
    assert found.images.names is not None
    sets: dict[int, list[str]] = {}
    for number, name in zip(found.sets.tolist(), found.images.names, strict=True):
        sets.setdefault(number, []).append(name)
    assert sorted(sets) == [0, 1]
    assert sorted(map(sorted, sets.values())) == [
        ["0/3.png", "0/zwilling.png", "1/other class.png"],
        ["2/5.png", "2/copy.png"],
    ]
    expected = {0: 3, 1: 5} if "0/3.png" in sets[0] else {0: 5, 1: 3}
    for number, image in zip(found.sets.tolist(), found.images.images, strict=True):
        assert np.array_equal(image[..., 0], made.images[expected[number]])


def test_scripts_that_import_it_from_where_it_was_still_do() -> None:
    from burnish.data.cache import load_images as from_before

    assert from_before is load_images
