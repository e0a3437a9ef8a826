"""Heads solved on all images at once, against scikit-learn's logistic regression."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from burnish.data import Dataset, Split
from burnish.metrics import balance_classes
from burnish.models import default_params, find_family
from burnish.space import Params
from burnish.training import FitRequest, TrainingSettings, fit
from burnish.training.lbfgs import MEMORY, DenseLbfgs

FAMILY = find_family("pretrained")
LENGTH = 20


@pytest.fixture(scope="module")
def features() -> Dataset:
    """Vectors of uneven classes, two views of each training image."""
    generator = np.random.default_rng(2)

    def make(num_images: int, views: int) -> Split:
        labels = np.repeat(np.minimum(np.arange(num_images) % 5, 2).astype(np.int32), views)
        rows = (
            generator.normal(size=(len(labels), 1, 1, LENGTH)) + 0.4 * labels[:, None, None, None]
        )
        return Split(np.maximum(rows, 0).astype(np.float16), labels)

    return Dataset(
        "vectors", make(90, 2), make(45, 1), ("a", "b", "c"), "made", views=2, frozen="vectors"
    )


def ask(params: Params, **settings: Any) -> FitRequest:
    solved: Params = {
        "dropout_rate": 0.0,
        "learning_rate": 0.01,
        "solver": "lbfgs",
        "l2_strength": 0.01,
    }
    full = {**default_params(FAMILY), **solved, **params}
    chosen = {"batch_size": 16, "max_epochs": 20, "patience": 50, **settings}
    return FitRequest("pretrained", full, TrainingSettings(**chosen), 5)


@pytest.mark.parametrize("strength", [0.001, 0.03])
@pytest.mark.parametrize("balanced", [False, True])
def test_one_layer_is_logistic_regression(
    features: Dataset, strength: float, balanced: bool
) -> None:
    request = ask({"l2_strength": strength}, class_weight="balanced" if balanced else "none")
    found = fit(request, replace(features, val=features.train))
    x, y = features.train.images.reshape(-1, LENGTH).astype(np.float64), features.train.labels
    peer = LogisticRegression(
        C=1 / (2 * strength * len(y)),
        class_weight="balanced" if balanced else None,
        tol=1e-8,
        max_iter=1000,
    ).fit(x, y)
    weights = balance_classes(y, 3)[y] if balanced else np.ones(len(y))

    def measure(kernel: NDArray[Any], bias: NDArray[Any]) -> float:
        """Return what both make small, and what no weights make smaller than the peer's."""
        logits = x @ kernel + bias
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
        return float((weights * losses).mean() + strength * (kernel**2).sum())

    least = measure(peer.coef_.T, peer.intercept_)
    assert least <= measure(*found.weights) < 1.003 * least
    assert found.val_accuracy == pytest.approx(peer.score(x, y), abs=0.02)


def test_all_views_and_smoothed_labels_count(features: Dataset) -> None:
    plain = fit(ask({}), features)
    smoothed = fit(ask({"label_smoothing": 0.3}), features)
    first_views = features.train.take(np.arange(0, len(features.train), 2))
    fewer = fit(ask({}), replace(features, train=first_views, views=1))
    assert np.abs(plain.weights[0] - fewer.weights[0]).max() > 0.01
    assert np.linalg.norm(smoothed.weights[0]) < np.linalg.norm(plain.weights[0])


def test_a_hidden_layer_is_trained_too(features: Dataset) -> None:
    found = fit(ask({"hidden_units": 8, "l2_strength": 0.0001}), features)
    losses = [epoch.train_loss for epoch in found.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.7 * losses[0]


def test_the_seed_and_the_learning_rate_do_not_matter_to_one_layer(features: Dataset) -> None:
    one = fit(ask({}), features)
    other = fit(replace(ask({"learning_rate": 0.3}), seed=9), features)
    for weight, wanted in zip(one.weights, other.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("hidden_units", [0, 8])
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(
    features: Dataset, tmp_path: Path, hidden_units: int
) -> None:
    request = ask({"hidden_units": hidden_units, "l2_strength": 0.0001})
    undisturbed = fit(request, features)
    kept = replace(request, checkpoint=tmp_path / "checkpoint.npz")

    def stop(progress: Any) -> None:
        if progress.step >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(kept, features, stop)
    steps: list[int] = []
    resumed = fit(kept, features, lambda progress: steps.append(progress.step))
    assert steps[0] >= 12, "it began anew: this shows nothing"
    for weight, wanted in zip(resumed.weights, undisturbed.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    for ours, theirs in zip(resumed.history, undisturbed.history, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


def test_a_quadratic_is_solved_within_its_memory() -> None:
    generator = np.random.default_rng(1)
    factor = generator.normal(size=(MEMORY - 2, MEMORY - 2))
    hessian = factor @ factor.T + np.eye(len(factor))
    point = generator.normal(size=len(factor)).astype(np.float32)
    optimizer = DenseLbfgs(len(point), 0.0)
    for _ in range(len(factor)):
        gradient = (hessian @ point).astype(np.float32)
        direction = optimizer.find_direction(gradient)
        length = -(direction @ gradient) / (direction @ hessian @ direction)
        move = (length * direction).astype(np.float32)
        point = point + move
        optimizer.remember(move, (hessian @ point).astype(np.float32) - gradient)
    assert np.abs(point).max() < 1e-3
