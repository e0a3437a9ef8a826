from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.augmentation import Augmentation
from burnish.backend import keras
from burnish.data import Dataset, Split
from burnish.data.folds import take_fold
from burnish.errors import DataError
from burnish.features import FeatureSet, compute_features
from burnish.features.features import IMAGES_AT_ONCE
from burnish.models.family import FrozenPart
from burnish.space import Params

from ..support.photographs import cut_photographs

NUM_TRAIN, NUM_VAL = 100, 20
ZOOM: Params = {"zoom_range": 0.2}


def make_dataset(seed: int = 0) -> Dataset:
    images = cut_photographs(NUM_TRAIN + NUM_VAL, 32, seed)
    labels = (np.arange(len(images)) % 2).astype(np.int32)
    train, val = (Split(images[s], labels[s]) for s in (slice(NUM_TRAIN), slice(NUM_TRAIN, None)))
    return Dataset("photographs", train, val, ("china", "flower"), f"photographs {seed}")


DATA = make_dataset()


def build_small() -> Any:
    """A network that gives a map of 2x2, whose weights are always the same."""
    inputs = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    initializer = keras.initializers.GlorotUniform(seed=4)
    x = keras.layers.Conv2D(5, 3, 16, "same", kernel_initializer=initializer)(x)
    return keras.Model(inputs, x, name="frozen")


def make_part(views: int = 1, identity: str = "small") -> FrozenPart:
    return FrozenPart(identity, build_small, views)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "burnish" / "features"


def compute(
    dataset: Dataset = DATA, part: FrozenPart | None = None, params: Params | None = None
) -> tuple[Dataset, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    part = make_part() if part is None else part
    wanted = FeatureSet(dataset, part, Augmentation(params or {}))
    return compute_features(wanted, lambda *said: told.append(said)), told


def test_rows_are_what_the_network_makes_of_the_images(cache: Path) -> None:
    found, told = compute()
    assert told[0] == (0, 120)
    assert told[-1] == (120, 120)
    network = build_small()
    for split, images in ((found.train, DATA.train), (found.val, DATA.val)):
        expected = np.asarray(network(images.images.astype(np.float32)))
        assert split.dtype == np.float16
        assert split.is_mapped
        np.testing.assert_allclose(split.images, expected, rtol=2e-3, atol=1e-3)
        np.testing.assert_array_equal(split.labels, images.labels)
    assert (found.views, found.frozen, found.num_train) == (1, "small", 100)
    assert found.fingerprint != DATA.fingerprint
    assert found.class_names == DATA.class_names
    assert {path.suffix for path in cache.iterdir()} == {".npy", ".onnx", ".lock"}


def test_an_imitation_has_the_shape_and_the_labels_and_computes_nothing(cache: Path) -> None:
    wanted = FeatureSet(DATA, make_part(3), Augmentation(ZOOM))
    assert wanted.find() is None
    imitated = wanted.imitate()
    assert not cache.exists()
    found = compute_features(wanted)
    assert wanted.num_bytes == found.train.num_bytes + found.val.num_bytes
    assert (imitated.views, imitated.frozen, imitated.fingerprint) == (3, "small", wanted.key)
    for name in ("train", "val"):
        real, stand_in = getattr(found, name), getattr(imitated, name)
        assert (stand_in.dtype, stand_in.image_shape) == (np.float16, real.image_shape)
        np.testing.assert_array_equal(stand_in.labels, real.labels)
        assert np.isfinite(stand_in.read(np.arange(len(stand_in)))).all()
    again = wanted.find()
    assert again is not None
    np.testing.assert_array_equal(again.train.images, found.train.images)


def test_what_is_beyond_the_limit_of_the_cache_is_refused_with_the_views_that_fit(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 100 images of 40 bytes a view, and 20 that are judged.
    monkeypatch.setattr("burnish.features.features.find_limit", lambda folder: 9_000)
    with pytest.raises(DataError, match=r"3 views of each of 100 training images takes 0\.0 MB"):
        compute(part=make_part(3), params=ZOOM)
    with pytest.raises(DataError, match=r"set views = 2, which would fit; or .*BURNISH_CACHE_SIZE"):
        compute(part=make_part(8), params=ZOOM)
    monkeypatch.setattr("burnish.features.features.find_limit", lambda folder: 4_000)
    with pytest.raises(DataError, match="not even one view would fit; set views = 0"):
        compute(part=make_part(2), params=ZOOM)
    with pytest.raises(DataError, match="set a smaller input_size"):
        compute()
    assert not list(cache.glob("*.npy"))
    assert not list(cache.glob("*.part"))


def test_what_was_unused_longest_makes_room_before_anything_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = compute()
    second, _ = compute(part=make_part(2), params=ZOOM)
    os.utime(cache / f"{first.fingerprint}.npy", (0, 0))
    room = sum(path.stat().st_size for path in cache.iterdir())
    monkeypatch.setattr("burnish.features.features.find_limit", lambda folder: room)
    third, _ = compute(part=make_part(identity="another"))
    names = {path.stem for path in cache.glob("*.npy")}
    assert names == {second.fingerprint, third.fingerprint}


def test_views_lie_one_after_another_and_the_first_is_the_image() -> None:
    found, _ = compute(part=make_part(3), params=ZOOM)
    alone, _ = compute()
    assert (found.views, found.num_train, len(found.train), len(found.val)) == (3, 100, 300, 20)
    np.testing.assert_array_equal(found.train_labels, DATA.train.labels)
    np.testing.assert_array_equal(found.train.labels, np.repeat(DATA.train.labels, 3))
    # onnxruntime may add in another order where other images are beside it.
    rows = found.train.images.reshape(100, 3, -1)
    np.testing.assert_allclose(rows[:, 0], alone.train.images.reshape(100, -1), atol=2e-3)
    assert np.median(np.abs(rows[:, 1] - rows[:, 0]).max(axis=1)) > 0.1
    np.testing.assert_allclose(found.val.images, alone.val.images, atol=2e-3)


def test_without_augmentation_there_is_one_view_whatever_is_asked_for() -> None:
    found, _ = compute(part=make_part(4))
    alone, told = compute()
    assert found.views == 1
    assert told == [], "it was computed again"
    assert found.fingerprint == alone.fingerprint


@pytest.mark.parametrize(
    "same",
    [
        (DATA, make_part(2), {**ZOOM, "learning_rate": 0.5}),
        (DATA, make_part(2), {**ZOOM, "rotation_range": 0.0, "crop_range": 0.0}),
        (replace(DATA, source="elsewhere"), make_part(2), ZOOM),
    ],
)
def test_what_makes_no_difference_is_not_computed_again(same: Any) -> None:
    first, _ = compute(part=make_part(2), params=ZOOM)
    again, told = compute(*same)
    assert told == []
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.train.images, first.train.images)


@pytest.mark.parametrize(
    "other",
    [
        (make_dataset(1), make_part(2), ZOOM),
        (DATA, make_part(2, "other weights"), ZOOM),
        (DATA, make_part(3), ZOOM),
        (DATA, make_part(2), {"zoom_range": 0.25}),
        (DATA, make_part(2), {**ZOOM, "horizontal_flip": True}),
        (DATA, make_part(2), {}),
    ],
)
def test_what_makes_a_difference_has_a_file_of_its_own(cache: Path, other: Any) -> None:
    first, _ = compute(part=make_part(2), params=ZOOM)
    second, told = compute(*other)
    assert told[0][0] == 0
    assert second.fingerprint != first.fingerprint
    assert len(list(cache.glob("*.npy"))) == 2


def test_other_code_and_other_versions_have_a_file_of_their_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = compute(part=make_part(2), params=ZOOM)
    with monkeypatch.context() as patched:
        patched.setattr("burnish.features.feature_set._CODE", ("augmentation/zoom.py",))
        second, _ = compute(part=make_part(2), params=ZOOM)
    with monkeypatch.context() as patched:
        patched.setattr("burnish.features.feature_set.describe_runtime", lambda: "newer")
        third, _ = compute(part=make_part(2), params=ZOOM)
    assert len({data.fingerprint for data in (first, second, third)}) == 3
    assert len(list(cache.glob("*.npy"))) == 3


def test_a_fold_of_features_is_the_features_of_the_fold() -> None:
    features, _ = compute(part=make_part(3), params=ZOOM)
    for index in range(2):
        fold, images = (take_fold(data, 2, index, seed=5) for data in (features, DATA))
        assert (fold.num_train, len(fold.val)) == (len(images.train), len(images.val)) == (50, 50)
        # All views of an image together, and of an image that judges the first alone.
        network = build_small()
        held_out = np.asarray(network(images.val.images.astype(np.float32)))
        np.testing.assert_allclose(fold.val.images, held_out, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(fold.val.labels, images.val.labels)
        trained = np.asarray(network(images.train.images.astype(np.float32)))
        np.testing.assert_allclose(fold.train.images[::3], trained, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(fold.train.labels, np.repeat(images.train.labels, 3))
        kept = {row.tobytes() for row in fold.train.images}
        assert not kept & {row.tobytes() for row in fold.val.images}
        views = features.train.images.reshape(100, 3, -1)
        sets = {tuple(view.tobytes() for view in image) for image in views}
        taken = fold.train.images.reshape(50, 3, -1)
        assert {tuple(view.tobytes() for view in image) for image in taken} <= sets


def test_blocks_and_names_stay_those_of_the_images() -> None:
    blocks = np.arange(NUM_TRAIN, dtype=np.int64) // 4
    found, _ = compute(replace(DATA, blocks=blocks), make_part(3), ZOOM)
    fold = take_fold(found, 2, 0, seed=5)
    assert fold.blocks is not None
    assert len(fold.blocks) == fold.num_train == len(fold.train) // 3
    held_out = {row.tobytes() for row in fold.val.images}
    places = {row.tobytes(): n for n, row in enumerate(found.train.images[::3])}
    assert not {blocks[places[row]] for row in held_out} & set(fold.blocks.tolist())


def test_a_data_set_of_features_crosses_to_another_process_as_a_file() -> None:
    found, _ = compute(part=make_part(2), params=ZOOM)
    packed = pickle.dumps(found)
    assert len(packed) < 10_000
    again = pickle.loads(packed)
    assert (again.views, again.frozen, again.train.dtype) == (2, "small", np.float16)
    assert again.train.is_mapped
    for name in ("train", "val"):
        np.testing.assert_array_equal(getattr(again, name).images, getattr(found, name).images)


PROCESS = """
import sys, time
sys.path.insert(0, {tests!r})
from tests.features.test_features import DATA, ZOOM, make_part
from burnish.augmentation import Augmentation
from burnish.features import FeatureSet, compute_features

def tell(done, total):
    print(done, flush=True)
    if {stop} is not None and done >= {stop}:
        time.sleep(60)

found = compute_features(FeatureSet(DATA, make_part(8), Augmentation(ZOOM)), tell)
print("key", found.fingerprint, flush=True)
"""


def start(stop: int | None = None) -> subprocess.Popen[str]:
    code = PROCESS.format(tests=str(Path(__file__).parents[2]), stop=stop)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_two_processes_at_once_compute_it_once(cache: Path) -> None:
    with start() as one, start() as other:
        said = [process.communicate(timeout=120)[0].split() for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0)
    assert said[0][-1] == said[1][-1]
    counted = sorted(len(s) for s in said)
    # What says nothing but its key has found it.
    assert counted[0] == 2
    assert counted[1] > 800 / IMAGES_AT_ONCE
    assert len(list(cache.glob("*.npy"))) == 1


def test_after_kill_9_the_rest_alone_is_computed_to_the_same_bytes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(stop=600) as process:
        assert process.stdout is not None
        assert any(line == "608\n" for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert [path.suffix for path in cache.glob("*.npy")] == []
    again, told = compute(part=make_part(8), params=ZOOM)
    assert told[0] == (2 * 16 * IMAGES_AT_ONCE, 820)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    _, told = compute(part=make_part(8), params=ZOOM)
    assert told[0][0] == 0
    name = f"{again.fingerprint}.npy"
    other = tmp_path / "other" / "burnish" / "features" / name
    assert (cache / name).read_bytes() == other.read_bytes()


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def take_another(path: Path) -> None:
    np.save(path, np.zeros((7, 1, 1, 5), np.float16))


@pytest.mark.parametrize("damage", [shorten, take_another])
def test_a_damaged_file_is_computed_anew(cache: Path, damage: Callable[[Path], None]) -> None:
    found, _ = compute()
    rows = found.train.images.copy()
    damage(cache / f"{found.fingerprint}.npy")
    again, told = compute()
    assert told[0] == (0, 120)
    np.testing.assert_array_equal(again.train.images, rows)
