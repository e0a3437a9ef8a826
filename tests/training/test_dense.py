"""Dense layers trained in NumPy, against the same fits by Keras and TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.data import Dataset, Split
from burnish.models import default_params, find_family
from burnish.space import Params
from burnish.training import FitRequest, FitResult, TrainingSettings, assembly, fit
from burnish.training.dense import (
    DenseAdam,
    DenseLayer,
    DenseNetwork,
    DensePredictor,
    DenseTrainer,
    Variable,
    find_dense,
)

FAMILY = find_family("pretrained")
CLASSES, LENGTH = 3, 20


@pytest.fixture(scope="module")
def features() -> Dataset:
    """Vectors as a frozen part gives them, two views of each image; classes are uneven."""
    generator = np.random.default_rng(2)

    def make(num_images: int, views: int) -> Split:
        labels = np.minimum(np.arange(num_images) % 5, 2).astype(np.int32)
        labels = np.repeat(labels, views)
        rows = (
            generator.normal(size=(len(labels), 1, 1, LENGTH)) + 0.4 * labels[:, None, None, None]
        )
        return Split(np.maximum(rows, 0).astype(np.float16), labels)

    return Dataset(
        "vectors", make(90, 2), make(45, 1), ("a", "b", "c"), "made", views=2, frozen="vectors"
    )


def ask(params: Params, **settings: Any) -> FitRequest:
    full = {**default_params(FAMILY), "dropout_rate": 0.0, "learning_rate": 0.01, **params}
    chosen = {"batch_size": 16, "max_epochs": 4, "patience": 50, **settings}
    return FitRequest("pretrained", full, TrainingSettings(**chosen), 5)


def assert_alike(one: FitResult, other: FitResult) -> None:
    assert len(one.history) == len(other.history) > 1
    for ours, theirs in zip(one.history, other.history, strict=True):
        given, expected = (dataclasses.asdict(replace(e, seconds=0.0)) for e in (ours, theirs))
        assert given == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for weight, wanted in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=1e-4)


PLAIN: list[tuple[Params, dict[str, Any]]] = [
    ({}, {}),
    ({"hidden_units": 8}, {}),
    ({"weight_decay": 1.0}, {}),
    ({"label_smoothing": 0.2}, {}),
    ({}, {"class_weight": "balanced"}),
    ({}, {"learning_rate_schedule": "one-cycle"}),
    (
        {"hidden_units": 8, "weight_decay": 0.5, "label_smoothing": 0.1},
        {"class_weight": "balanced", "learning_rate_schedule": "one-cycle"},
    ),
]


@pytest.mark.parametrize(("params", "settings"), PLAIN)
def test_a_fit_is_that_of_tensorflow(
    features: Dataset, monkeypatch: pytest.MonkeyPatch, params: Params, settings: dict[str, Any]
) -> None:
    request = ask(params, **settings)
    ours = fit(request, features)
    monkeypatch.setattr(assembly, "find_dense", lambda model: None)
    assert_alike(ours, fit(request, features))
    assert ours.history[-1].train_loss < ours.history[0].train_loss


def test_each_of_these_changes_the_fit(features: Dataset) -> None:
    losses = {fit(ask(p, **s), features).history[-1].val_loss for p, s in PLAIN}
    assert len(losses) == len(PLAIN)


@pytest.mark.parametrize("hidden_units", [0, 8])
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(
    features: Dataset, tmp_path: Path, hidden_units: int
) -> None:
    request = ask({"hidden_units": hidden_units, "dropout_rate": 0.4, "weight_decay": 0.1})
    undisturbed = fit(request, features)
    kept = replace(request, checkpoint=tmp_path / "checkpoint.npz")

    def stop(progress: Any) -> None:
        if progress.step >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(kept, features, stop)
    assert (tmp_path / "checkpoint.npz").exists()
    steps: list[int] = []
    resumed = fit(kept, features, lambda progress: steps.append(progress.step))
    assert steps[0] >= 6, "it began anew: this shows nothing"
    for weight, wanted in zip(resumed.weights, undisturbed.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    for ours, theirs in zip(resumed.history, undisturbed.history, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


class Noting(DenseAdam):
    """Notes gradients, and steps nowhere."""

    def __init__(self, network: DenseNetwork) -> None:
        super().__init__(network, 0.0)
        self.gradients: list[NDArray[np.float32]] = []

    def apply(self, gradients: list[NDArray[np.float32]], rate: float) -> None:
        self.gradients = gradients


def make_network(seed: int, sizes: tuple[int, ...], dropout: float) -> DenseNetwork:
    generator = np.random.default_rng(seed)
    layers = []
    for number, (before, after) in enumerate(pairwise(sizes)):
        kernel = generator.normal(size=(before, after)) / before**0.5
        bias = generator.normal(size=after) * 0.3
        relu = number < len(sizes) - 2
        layers.append(
            DenseLayer(
                dropout,
                Variable(kernel.astype(np.float32)),
                Variable(bias.astype(np.float32)),
                relu,
            )
        )
    return DenseNetwork(layers)


@given(
    seed=st.integers(0, 10_000),
    sizes=st.sampled_from([(6, 3), (6, 5, 3), (6, 5, 4, 3)]),
    dropout=st.sampled_from([0.0, 0.3, 0.6]),
    weighted=st.booleans(),
)
def test_gradients_are_those_of_finite_differences(
    seed: int, sizes: tuple[int, ...], dropout: float, weighted: bool
) -> None:
    network = make_network(seed, sizes, dropout)
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(8, 1, 1, sizes[0])).astype(np.float16)
    split = Split(rows, generator.integers(0, 3, 8).astype(np.int32))
    class_weights = np.array([0.5, 1.0, 3.0], np.float32) if weighted else None
    optimizer = Noting(network)
    trainer = DenseTrainer(
        network, optimizer, split, seed=9, class_weights=class_weights, label_smoothing=0.0
    )
    indices, rates = np.arange(8, dtype=np.int32)[None], np.zeros(1, np.float32)

    def measure() -> float:
        # Of one step, so that what is dropped is the same.
        return trainer.run(indices, None, rates)[0] / 8

    measure()
    gradients = [gradient.copy() for gradient in optimizer.gradients]
    size, total = 1e-3, 0
    right = 0
    for variable, gradient in zip(network.variables, gradients, strict=True):
        for place in np.ndindex(variable.value.shape):
            kept = variable.value[place]
            sums = []
            for change in (size, -size):
                variable.value[place] = kept + change
                sums.append(measure())
            variable.value[place] = kept
            slope = (sums[0] - sums[1]) / (2 * size)
            total += 1
            right += bool(abs(slope - gradient[place]) < 2e-3 + 0.02 * abs(slope))
    # Where ReLU bends within the difference, which is seldom, that is no slope.
    assert right >= 0.7 * total


def test_dropout_keeps_the_expectation_and_is_of_each_step_its_own(features: Dataset) -> None:
    network = make_network(1, (LENGTH, CLASSES), 0.5)
    optimizer = Noting(network)
    trainer = DenseTrainer(
        network, optimizer, features.train, seed=9, class_weights=None, label_smoothing=0.0
    )
    indices = np.arange(len(features.train), dtype=np.int32)[None]
    biases = []
    for step in range(200):
        optimizer.steps.assign(np.array(step, np.float32))
        trainer.run(indices, None, np.zeros(1, np.float32))
        biases.append(optimizer.gradients[0])
    assert len({gradient.tobytes() for gradient in biases}) == 200
    optimizer.steps.assign(np.array(0, np.float32))
    trainer.run(indices, None, np.zeros(1, np.float32))
    np.testing.assert_array_equal(optimizer.gradients[0], biases[0])


def test_splits_that_are_not_held_are_read_as_they_are_used(
    features: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = fit(ask({}), features)
    monkeypatch.setattr("burnish.training.dense.HELD_VECTORS", 0)
    fresh = replace(features, train=Split(features.train.stored, features.train.labels))
    read = fit(ask({}), fresh)
    for weight, wanted in zip(read.weights, held.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()


def make_model(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((4,)), *layers])


def test_which_models_are_dense_layers_alone() -> None:
    dense, relu = keras.layers.Dense, keras.layers.Activation
    drop = keras.layers.Dropout
    found = find_dense(
        make_model(drop(0.5), drop(0.5), dense(3), relu("relu"), drop(0.1), dense(2))
    )
    assert found is not None
    assert [layer.dropout for layer in found.layers] == pytest.approx([0.75, 0.1])
    assert [layer.relu for layer in found.layers] == [True, False]
    assert found.count_params() == 4 * 3 + 3 + 3 * 2 + 2
    others = [
        make_model(dense(3, activation="relu"), dense(2)),
        make_model(dense(3), relu("tanh"), dense(2)),
        make_model(dense(3), dense(2)),
        make_model(dense(3), relu("relu")),
        make_model(dense(3), drop(0.1), relu("relu"), dense(2)),
        make_model(dense(3, use_bias=False), relu("relu"), dense(2)),
        make_model(dense(3, kernel_regularizer="l2"), relu("relu"), dense(2)),
        make_model(keras.layers.BatchNormalization(), dense(2)),
        make_model(relu("relu"), dense(2)),
        make_model(drop(0.1)),
    ]
    assert [find_dense(model) for model in others] == [None] * len(others)


def test_it_predicts_what_keras_does(features: Dataset) -> None:
    model = keras.Sequential(
        [
            keras.Input((1, 1, LENGTH)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(6),
            keras.layers.Activation("relu"),
            keras.layers.Dense(CLASSES),
        ]
    )
    network = find_dense(model)
    assert network is not None
    expected = keras.ops.softmax(model(features.val.images.astype(np.float32), training=False))
    found = DensePredictor(network, features.val).predict()
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=1e-7)
    network.set_weights([weight * 2 for weight in network.get_weights()])
    assert np.abs(DensePredictor(network, features.val).predict() - found).max() > 0.01
