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
from burnish.models.saved import load_saved
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings, fit
from burnish.training.fit import Fit

from ..support.photographs import cut_photographs

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
    blocks = {layer.name for layer in opened if layer.name.startswith("block")}
    assert {name.split("_")[0] for name in blocks} == {"block14", "block15"}
    # And what comes after the blocks.
    assert any(not layer.name.startswith("block") for layer in opened)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in opened)


def test_grey_images_and_the_same_seed_give_the_same_network_twice() -> None:
    small: dict[str, Value] = {"backbone": "mobilenet-v3-small"}
    once, again = (build(small, training=False, channels=1) for _ in range(2))
    images = draw(1)
    np.testing.assert_array_equal(once(images), again(images))
    probabilities = np.asarray(once(images))
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    trained = build(small, channels=1)
    again.set_weights([weight + 0.01 for weight in trained.get_weights()])
    assert np.abs(np.asarray(again(images)) - probabilities).max() > 1e-6


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28, 1), "at least 32x32, and these are 28x28: set params.input_size = 96"),
        ((64, 64, 2), "1 or 3 channels, not 2"),
    ],
)
@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_what_does_not_fit_is_refused(
    shape: tuple[int, int, int], message: str, weights: str
) -> None:
    params = {**BASE, "weights": weights}
    with pytest.raises(StudyError, match=message):
        build_model(FAMILY, params, shape, 4, training=True)
    labels = np.arange(4, dtype=np.int32)
    split = Split(np.zeros((4, *shape), np.uint8), labels)
    data = Dataset("black", split, split, ("a", "b", "c", "d"), "black")
    with pytest.raises(StudyError, match=message):
        fit(FitRequest("pretrained", params, TrainingSettings(batch_size=4, max_epochs=1), 1), data)


def test_a_small_input_size_does_not_fit_and_a_right_one_lets_small_images_in() -> None:
    assert "expected at least 32, or 0" in str(
        FAMILY.explain_misfit({**BASE, "input_size": 31}, (64, 64, 3))
    )
    assert FAMILY.explain_misfit({**BASE, "input_size": 32}, (28, 28, 1)) is None


def test_input_size_brings_images_to_the_size_that_the_backbone_sees(tmp_path: Path) -> None:
    given = build({"input_size": 64, "weights": "imagenet"}, training=False)
    images = draw()
    resized = keras.ops.image.resize(images, (64, 64))
    own = build_model(
        FAMILY, {**BASE, "weights": "imagenet"}, (64, 64, 3), 4, training=False, seed=3
    )
    weights = given.get_weights()
    own.set_weights(weights)
    np.testing.assert_allclose(np.asarray(given(images)), np.asarray(own(resized)), rtol=1e-5)
    # A call that says nothing of training is not taken for training.
    for weight, after in zip(weights, given.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)
    given.save(tmp_path / "model.keras")
    again = load_saved(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(again(images)), np.asarray(given(images)), rtol=1e-5)


def test_a_hidden_layer_lies_before_the_output() -> None:
    model = build({"hidden_units": 16}, training=True)
    shapes = [tuple(weight.shape) for weight in model.trainable_variables]
    assert shapes == [(1280, 16), (16,), (16, 4), (4,)]


PRETRAINED: dict[str, Value] = {**BASE, "weights": "imagenet"}


@pytest.mark.parametrize(
    ("change", "is_once", "views"),
    [
        ({}, True, 1),
        ({"weights": "none"}, False, 0),
        ({"views": 4}, True, 4),
        ({"zoom_range": 0.1}, False, 0),
        ({"zoom_range": 0.1, "views": 4}, True, 4),
        ({"num_trainable_blocks": 2}, True, 1),
        ({"num_trainable_blocks": 15}, True, 1),
        ({"num_trainable_blocks": 16}, False, 0),
    ],
)
def test_what_is_the_same_in_every_epoch_is_a_frozen_part(
    change: dict[str, Value], is_once: bool, views: int
) -> None:
    part = FAMILY.freeze({**PRETRAINED, **change}, (32, 40, 3))
    assert (part is not None) == is_once
    if part is not None:
        assert part.views == views


def test_the_identity_of_a_frozen_part_names_all_that_it_depends_on() -> None:
    changes: list[dict[str, Value]] = [
        {},
        {"input_size": 64},
        {"num_trainable_blocks": 1},
        {"num_trainable_blocks": 2},
    ]
    parts = [FAMILY.freeze({**PRETRAINED, **change}, (32, 40, 3)) for change in changes]
    parts.append(FAMILY.freeze(PRETRAINED, (32, 40, 1)))
    identities = [part.identity for part in parts if part is not None]
    assert len(set(identities)) == 5
    heads: list[dict[str, Value]] = [
        {"hidden_units": 8}, {"dropout_rate": 0.5}, {"views": 3}, {"learning_rate": 1.0},
        {"weight_decay": 0.1}, {"label_smoothing": 0.1}, {"backbone_rate": 0.5},
    ]  # fmt: skip
    for change in heads:
        part = FAMILY.freeze({**PRETRAINED, **change}, (32, 40, 3))
        assert part is not None
        assert part.identity == identities[0]


@pytest.mark.parametrize("num_blocks", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_layers_behind_the_frozen_part_are_the_last_of_the_whole(
    num_blocks: int, channels: int
) -> None:
    params = {**PRETRAINED, "num_trainable_blocks": num_blocks, "hidden_units": 8}
    shape = (48, 48, channels)
    part = FAMILY.freeze(params, shape)
    assert part is not None
    whole = build_model(FAMILY, params, shape, 4, training=False)
    images = cut_photographs(2, 48)[..., :channels].astype(np.float32)
    activations = np.asarray(part.build()(images))
    activations = activations.reshape(2, *activations.shape[1:] if num_blocks else (1, 1, -1))
    behind = build_model(FAMILY, params, shape, 4, training=False, behind=activations.shape[1:])
    own = behind.get_weights()
    behind.set_weights(whole.get_weights()[-len(own) :])
    np.testing.assert_allclose(
        np.asarray(behind(activations)), np.asarray(whole(images)), rtol=1e-4, atol=1e-6
    )
    training = build_model(FAMILY, params, shape, 4, training=True, behind=activations.shape[1:])
    assert [w.shape for w in training.get_weights()] == [w.shape for w in own]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {"num_trainable_blocks": 2}, None),
        ({"num_trainable_blocks": 2}, {"num_trainable_blocks": 2}, None),
        ({}, {"input_size": 96}, None),
        (
            {"num_trainable_blocks": 3},
            {"num_trainable_blocks": 2},
            "has trained its last 3 blocks, of which only 2 would stay open; set "
            "num_trainable_blocks = 3, or more",
        ),
        ({"hidden_units": 8}, {}, "has hidden_units = 8, not 0"),
        ({"backbone": "convnext-tiny"}, {}, "has backbone = 'convnext-tiny', not"),
        ({"weights": "none"}, {}, "has weights = 'none', not 'imagenet'"),
    ],
)
def test_which_weights_a_fit_can_start_from(
    before: dict[str, Value], after: dict[str, Value], why: str | None
) -> None:
    said = FAMILY.explain_start(
        FAMILY.structure({**PRETRAINED, **before}), FAMILY.structure({**PRETRAINED, **after})
    )
    if why is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith(why)


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
    small: dict[str, Value] = {"backbone": "mobilenet-v3-small", "dropout_rate": 0.0}
    params: dict[str, Value] = {**BASE, **small, "learning_rate": 0.01}
    result = Fit(FitRequest("pretrained", params, settings, 1), stripes).run(lambda progress: None)
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.num_parameters > 900_000
