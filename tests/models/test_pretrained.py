from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.data import Dataset, Split
from burnish.errors import StudyError
from burnish.models import build_model, default_params, find_family
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings
from burnish.training.fit import Fit

FAMILY = find_family("pretrained")
BASE: dict[str, Value] = {**default_params(FAMILY), "weights": "none"}


def build(change: dict[str, Value], *, training: bool = True, channels: int = 3) -> Any:
    shape = (32, 40, channels)
    return build_model(FAMILY, {**BASE, **change}, shape, 4, training=training, seed=3)


def draw(channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 40, channels)).astype(np.float32)


def test_a_frozen_backbone_leaves_the_head_alone_to_train() -> None:
    model = build({})
    assert {variable.path.split("/")[0] for variable in model.trainable_variables} == {"logits"}
    assert model(draw()).shape == (2, 4)


def test_the_last_blocks_can_be_opened_and_batch_normalisation_stays_frozen() -> None:
    backbone = build({"num_trainable_blocks": 2}).get_layer("backbone")
    opened = [layer for layer in backbone.layers if layer.trainable and layer.weights]
    blocks = {layer.name for layer in opened if layer.name.startswith("expanded_conv")}
    assert {name.split("_")[2] for name in blocks} == {"9", "10"}
    # And what comes after the blocks.
    assert any(not layer.name.startswith("expanded_conv") for layer in opened)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in opened)


def test_grey_images_and_the_same_seed_give_the_same_network_twice() -> None:
    once, again = build({}, training=False, channels=1), build({}, training=False, channels=1)
    images = draw(1)
    np.testing.assert_array_equal(once(images), again(images))
    probabilities = np.asarray(once(images))
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    trained = build({}, channels=1)
    again.set_weights([weight + 0.01 for weight in trained.get_weights()])
    assert np.abs(np.asarray(again(images)) - probabilities).max() > 1e-6


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28, 1), "at least 32x32, and these are 28x28: set size"),
        ((64, 64, 2), "1 or 3 channels, not 2"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        build_model(FAMILY, BASE, shape, 4, training=True)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    source = build({}).get_layer("backbone")
    source.set_weights([weight + 0.125 for weight in source.get_weights()])
    path = tmp_path / "no_top.weights.h5"
    source.save_weights(path)
    params = {**BASE, "weights": str(path)}
    assert FAMILY.find_files(params) == (path,)
    loaded = build({"weights": str(path)}).get_layer("backbone")
    for one, other in zip(source.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_that_is_missing_or_of_another_network_is_refused_with_what_to_give(
    tmp_path: Path,
) -> None:
    with pytest.raises(StudyError, match=r"there is no such file.*imagenet.*none"):
        FAMILY.find_files({**BASE, "weights": str(tmp_path / "absent.h5")})
    wrong = tmp_path / "wrong.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(wrong)
    with pytest.raises(StudyError, match=r"cannot be loaded into mobilenet-v3-small.*no_top"):
        FAMILY.find_files({**BASE, "weights": str(wrong)})
    (tmp_path / "text.h5").write_text("no weights", encoding="utf-8")
    with pytest.raises(StudyError, match="cannot be loaded"):
        FAMILY.find_files({**BASE, "weights": str(tmp_path / "text.h5")})


def test_weights_that_cannot_be_downloaded_are_an_error_that_says_how_to_supply_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))
    # Nothing listens there.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(StudyError, match=r"could not be had: .*https://.*no_top.*params.weights"):
        FAMILY.find_files({**BASE, "weights": "imagenet"})


@pytest.fixture(scope="module")
def stripes() -> Dataset:
    """Images with horizontal or vertical stripes, in noise."""
    generator = np.random.default_rng(5)

    def make(count: int) -> Split:
        labels = (np.arange(count) % 2).astype(np.int32)
        images = generator.integers(0, 60, (count, 32, 32, 3))
        for image, label in zip(images, labels, strict=True):
            (image if label else image.transpose(1, 0, 2))[::4] += 150
        return Split(images.astype(np.uint8), labels)

    return Dataset("stripes", make(96), make(48), ("across", "down"), "made")


@pytest.mark.parametrize("backbone_rate", [0.0, 0.5])
def test_the_backbones_learning_rate_is_its_own(stripes: Dataset, backbone_rate: float) -> None:
    params = {**BASE, "num_trainable_blocks": 1, "backbone_rate": backbone_rate}
    settings = TrainingSettings(batch_size=16, max_epochs=1)
    running = Fit(FitRequest("pretrained", params, settings, 1), stripes)
    backbone = running.training_model.get_layer("backbone")
    before = [np.array(variable) for variable in backbone.trainable_variables]
    head = running.training_model.get_layer("logits")
    head_before = np.array(head.kernel)
    running.run(lambda progress: None)
    moved = [
        np.abs(np.array(variable) - old).max()
        for variable, old in zip(backbone.trainable_variables, before, strict=True)
    ]
    assert (max(moved) > 0) == (backbone_rate > 0)
    assert np.abs(np.array(head.kernel) - head_before).max() > 0


def test_a_frozen_network_without_pretrained_weights_still_learns_stripes(stripes: Dataset) -> None:
    settings = TrainingSettings(batch_size=16, max_epochs=6)
    params = {**BASE, "learning_rate": 0.01, "dropout_rate": 0.0}
    result = Fit(FitRequest("pretrained", params, settings, 1), stripes).run(lambda progress: None)
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.num_parameters > 900_000
