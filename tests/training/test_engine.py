from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.backend import keras
from burnish.data import Dataset, Split
from burnish.errors import BurnishError
from burnish.models import build_model, default_params, find_family
from burnish.space import Params
from burnish.training.engine import PREDICTION_BATCH, cached_tensor, make_predictor, make_trainer
from burnish.training.optimizer import make_optimizer

BATCH = 48
SMALL_CNN: Params = {
    "num_filters_first_layer": 4,
    "num_filters_sub_layers": 4,
    "dense_layer_size": 16,
    "batch_normalization": True,
    "l2_strength": 0.1,
}


def build(dataset: Dataset, name: str, change: Params, *, training: bool) -> Any:
    family = find_family(name)
    params = {**default_params(family), **change}
    shape, num_classes = dataset.image_shape, dataset.num_classes
    return build_model(family, params, shape, num_classes, training=training, seed=1)


def pick(num_steps: int, num_images: int, seed: int = 0) -> NDArray[np.int32]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, num_images, (num_steps, BATCH)).astype(np.int32)


def repeat(rate: float, num_steps: int) -> NDArray[np.float32]:
    return np.full(num_steps, rate, np.float32)


MOVES = {
    "rotation_range": 0.05,
    "zoom_range": 0.1,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
}


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_sums_of_steps_that_change_nothing_are_those_of_keras_and_numpy(
    digits: Dataset, augmented: bool, num_steps: int
) -> None:
    model = build(digits, "cnn", SMALL_CNN, training=True)
    augmentation = Augmentation(MOVES if augmented else {})
    trainer = make_trainer(
        model,
        make_optimizer({"learning_rate": 0.1}),
        digits.train,
        batch_size=BATCH,
        augmentation=augmentation,
    )
    before = [np.array(weight.numpy()) for weight in model.trainable_weights]
    indices = pick(num_steps, len(digits.train))
    drawn = augmentation.draw(np.random.default_rng(0), indices.size, digits.image_shape)
    drawn = drawn.reshape(num_steps, BATCH, augmentation.width)
    loss, right = trainer.run(indices, drawn if augmented else None, repeat(0.0, num_steps))

    # The stock model, whose normalisation takes the statistics of the batch in training.
    stock = build(digits, "cnn", SMALL_CNN, training=False)
    stock.set_weights(model.get_weights())
    expected_loss = expected_right = 0.0
    for step in range(num_steps):
        images = digits.train.images[indices[step]].astype(np.float32)
        if augmented:
            images = np.asarray(augmentation.apply(images, drawn[step]))
        labels = digits.train.labels[indices[step]]
        probabilities = np.asarray(stock(images, training=True), np.float64)
        expected_loss -= np.log(probabilities[np.arange(BATCH), labels]).sum()
        expected_right += (probabilities.argmax(axis=1) == labels).sum()
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert right == expected_right
    for weight, expected in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)


def test_steps_are_those_of_stock_keras(digits: Dataset) -> None:
    """Five steps with an L2 penalty against `train_on_batch` of a model written out here."""
    change: Params = {"dropout_rate": 0.0, "l2_strength": 0.01}
    model = build(digits, "fnn", change, training=True)
    stock = keras.Sequential(
        [
            keras.layers.Input(digits.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(64, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(64, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(10),
        ]
    )
    stock.set_weights(model.get_weights())
    stock.compile(
        keras.optimizers.Adam(0.003),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    indices = pick(5, len(digits.train))
    trainer = make_trainer(
        model,
        make_optimizer({"learning_rate": 0.1}),
        digits.train,
        batch_size=BATCH,
        augmentation=Augmentation({}),
    )
    trainer.run(indices, None, repeat(0.003, 5))
    for row in indices:
        stock.train_on_batch(digits.train.images[row].astype(np.float32), digits.train.labels[row])
    for weight, expected in zip(model.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_a_network_with_normalisation_trains_as_in_stock_keras(digits: Dataset) -> None:
    change = {**SMALL_CNN, "l2_strength": 0.0, "activation": "tanh"}
    model = build(digits, "cnn", change, training=True)
    stock = build(digits, "cnn", change, training=False)
    stock.set_weights(model.get_weights())
    stock.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy())
    indices = pick(3, len(digits.train))
    trainer = make_trainer(
        model,
        make_optimizer({"learning_rate": 0.1}),
        digits.train,
        batch_size=BATCH,
        augmentation=Augmentation({}),
    )
    trainer.run(indices, None, repeat(0.003, 3))
    for row in indices:
        stock.train_on_batch(digits.train.images[row].astype(np.float32), digits.train.labels[row])
    # Adam moves by the gradient's sign at first, so that rounding shows in weights without one.
    for weight, expected in zip(model.get_weights(), stock.get_weights(), strict=True):
        assert np.abs(weight - expected).mean() < 1e-4
        assert np.abs(weight - expected).max() < 3 * 0.003


def test_each_step_has_its_own_learning_rate(digits: Dataset) -> None:
    indices = pick(3, len(digits.train))
    weights = []
    for num_steps in (1, 3):
        model = build(digits, "fnn", {}, training=True)
        trainer = make_trainer(
            model,
            make_optimizer({"learning_rate": 0.1}),
            digits.train,
            batch_size=BATCH,
            augmentation=Augmentation({}),
        )
        rates = np.array([0.01, 0.0, 0.0], np.float32)
        trainer.run(indices[:num_steps], None, rates[:num_steps])
        weights.append(model.get_weights())
    for weight, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_steps_in_one_call_are_the_same_as_in_several(digits: Dataset) -> None:
    indices = pick(6, len(digits.train))
    rates = np.linspace(0.001, 0.01, 6, dtype=np.float32)
    weights, sums = [], []
    for cuts in ([0, 6], [0, 1, 4, 6]):
        model = build(digits, "cnn", {**SMALL_CNN, "dropout_rate": 0.3}, training=True)
        trainer = make_trainer(
            model,
            make_optimizer({"learning_rate": 0.1}),
            digits.train,
            batch_size=BATCH,
            augmentation=Augmentation({}),
        )
        parts = [
            trainer.run(indices[begin:end], None, rates[begin:end]) for begin, end in pairwise(cuts)
        ]
        weights.append(model.get_weights())
        sums.append(np.sum(parts, axis=0))
    for weight, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-6)


def test_steps_train(digits: Dataset) -> None:
    model = build(digits, "fnn", {"dropout_rate": 0.0}, training=True)
    trainer = make_trainer(
        model,
        make_optimizer({"learning_rate": 0.1}),
        digits.train,
        batch_size=BATCH,
        augmentation=Augmentation({}),
    )
    indices = pick(40, len(digits.train))
    first, _ = trainer.run(indices, None, repeat(0.003, 40))
    second, right = trainer.run(indices, None, repeat(0.003, 40))
    assert second < first / 2
    assert right / indices.size > 0.8


@pytest.mark.parametrize("name", ["fnn", "cnn"])
def test_the_predictor_predicts_as_keras_does(digits: Dataset, name: str) -> None:
    model = build(digits, name, {}, training=False)
    images = digits.train.images
    assert len(images) > 2 * PREDICTION_BATCH
    assert len(images) % PREDICTION_BATCH != 0
    predictor = make_predictor(model, digits.train)
    expected = model.predict(images.astype(np.float32), batch_size=64, verbose=0)
    probabilities = predictor.predict()
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(predictor.predict(), probabilities)


def test_the_predictor_predicts_with_the_weights_of_the_moment(digits: Dataset) -> None:
    model = build(digits, "fnn", {}, training=False)
    predictor = make_predictor(model, digits.val)
    before = predictor.predict()
    model.set_weights([weight * 2 for weight in model.get_weights()])
    after = predictor.predict()
    assert np.abs(after - before).max() > 1e-3
    expected = model.predict(digits.val.images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def map_split(split: Split, path: Path) -> Split:
    """The same split in a mapped file, in another order of the file's rows."""
    turned = np.arange(len(split), dtype=np.int64)[::-1]
    np.save(path, split.images[turned])
    return Split(np.load(path, mmap_mode="r"), split.labels, turned)


@pytest.mark.parametrize("steps_read", [1, 3])
def test_a_split_too_large_to_hold_is_read_from_its_file_with_the_same_result(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_read: int
) -> None:
    indices, rates = pick(7, len(digits.train)), repeat(0.003, 7)
    mapped = map_split(digits.train, tmp_path / "train.npy")

    def train(split: Split) -> tuple[tuple[float, float], list[Any], NDArray[np.float32]]:
        model = build(digits, "fnn", {}, training=True)
        trainer = make_trainer(
            model,
            make_optimizer({"learning_rate": 0.1}),
            split,
            batch_size=BATCH,
            augmentation=Augmentation({}),
        )
        figures = trainer.run(indices, None, rates)
        inference = build(digits, "fnn", {}, training=False)
        inference.set_weights(model.get_weights())
        return figures, model.get_weights(), make_predictor(inference, split).predict()

    held, held_weights, held_probabilities = train(digits.train)
    monkeypatch.setattr("burnish.data.split.HELD_BYTES", 0)
    monkeypatch.setattr("burnish.training.engine.PIECE_BYTES", steps_read * BATCH * 64)
    read, weights, probabilities = train(mapped)
    assert read == pytest.approx(held, rel=1e-6)
    for one, other in zip(held_weights, weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(held_probabilities, probabilities)


def test_images_of_a_whole_mapped_file_are_held_without_memory_of_their_own(
    tmp_path: Path,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (160_000, 32, 32, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    labels = np.zeros(len(images), np.int32)
    split = Split(np.load(tmp_path / "images.npy", mmap_mode="r"), labels)

    def measure_kept() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(dict(line.split(":", 1) for line in lines)["RssAnon"].split()[0])

    cached_tensor(Split(images[:10], labels[:10]))  # TensorFlow's own start.
    before = measure_kept()
    held = cached_tensor(split)
    # As they are used: a batch at a time.
    for start in range(0, len(images), 1_000):
        picked = range(start, start + 1_000)
        taken = tf.gather(held, picked).numpy()
        np.testing.assert_array_equal(taken, images[start : start + 1_000])
    assert measure_kept() - before < split.num_bytes / 2
    assert cached_tensor(split) is held


def test_class_weights_scale_the_loss_of_each_image(digits: Dataset) -> None:
    indices = pick(4, len(digits.train))

    def first_loss(class_weights: NDArray[np.float32] | None) -> float:
        model = build(digits, "fnn", {"dropout_rate": 0.0}, training=True)
        trainer = make_trainer(
            model,
            make_optimizer({"learning_rate": 0.1}),
            digits.train,
            batch_size=BATCH,
            augmentation=Augmentation({}),
            class_weights=class_weights,
        )
        loss, _ = trainer.run(indices, None, repeat(0.0, 4))
        return loss

    plain = first_loss(None)
    assert first_loss(np.full(10, 2.0, np.float32)) == pytest.approx(2 * plain, rel=1e-5)
    parts = [first_loss(np.eye(10, dtype=np.float32)[label]) for label in range(10)]
    assert sum(parts) == pytest.approx(plain, rel=1e-5)
    assert min(parts) > 0


def test_another_backend_is_refused_with_what_to_do(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other backend is installed with burnish: the name alone is changed here."""
    model = build(digits, "fnn", {}, training=False)
    monkeypatch.setattr("burnish.training.engine.BACKEND", "jax")
    with pytest.raises(BurnishError, match=r"KERAS_BACKEND is 'jax'.* set it to 'tensorflow'"):
        make_predictor(model, digits.val)
    with pytest.raises(BurnishError, match=r"KERAS_BACKEND is 'jax'.* set it to 'tensorflow'"):
        make_trainer(
            model,
            make_optimizer({"learning_rate": 0.1}),
            digits.train,
            batch_size=BATCH,
            augmentation=Augmentation({}),
        )
