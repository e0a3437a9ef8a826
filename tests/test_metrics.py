from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from burnish.metrics import (
    accuracy,
    balance_classes,
    balanced_accuracy,
    cross_entropy,
    cross_entropy_per_image,
)

PROBABILITIES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]], np.float32)
LABELS = np.array([0, 1, 0], np.int32)


def draw(num_images: int, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    generator = np.random.default_rng(1)
    raw = generator.random((num_images, num_classes)) ** 3
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities, generator.integers(0, num_classes, num_images).astype(np.int32)


def test_cross_entropy_is_minus_the_log_of_the_true_class() -> None:
    expected = [math.log(2), -math.log(0.75), math.log(4)]
    assert cross_entropy_per_image(PROBABILITIES, LABELS) == pytest.approx(expected, rel=1e-12)
    assert cross_entropy(PROBABILITIES, LABELS) == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_accuracy_is_the_share_of_images_whose_top_class_is_true() -> None:
    assert accuracy(PROBABILITIES, LABELS) == pytest.approx(2 / 3)
    assert accuracy(PROBABILITIES[:2], LABELS[:2]) == 1.0
    assert accuracy(PROBABILITIES[2:], LABELS[2:]) == 0.0


def test_both_agree_with_scikit_learn() -> None:
    probabilities, labels = draw(2000, 10)
    # In double precision scikit-learn wants rows that sum to one in double precision.
    doubled = probabilities.astype(np.float64)
    doubled /= doubled.sum(axis=1, keepdims=True)
    expected = log_loss(labels, doubled, labels=range(10))
    assert cross_entropy(probabilities, labels) == pytest.approx(expected, rel=1e-6)
    top = probabilities.argmax(axis=1)
    assert accuracy(probabilities, labels) == pytest.approx(accuracy_score(labels, top), abs=0)


def test_the_mean_is_taken_in_double_precision() -> None:
    probabilities = np.full((1_000_000, 2), 0.9, np.float32)
    labels = np.zeros(1_000_000, np.int32)
    expected = -math.log(float(np.float32(0.9)))
    assert cross_entropy(probabilities, labels) == pytest.approx(expected, rel=1e-10)


def test_a_sure_and_right_prediction_costs_nothing() -> None:
    assert cross_entropy(np.array([[1.0, 0.0]], np.float32), np.array([0], np.int32)) == 0.0


def test_a_probability_of_zero_costs_a_finite_amount() -> None:
    cost = cross_entropy(np.array([[1.0, 0.0]], np.float32), np.array([1], np.int32))
    assert cost == pytest.approx(87.3365, abs=1e-4)


def test_not_a_number_is_never_scored_as_a_number() -> None:
    probabilities = np.array([[0.5, 0.5], [math.nan, math.nan]], np.float32)
    assert math.isnan(cross_entropy(probabilities, np.array([0, 0], np.int32)))


def test_balanced_weights_and_accuracy_are_scikit_learns() -> None:
    probabilities, labels = draw(300, 4)
    labels[labels == 2] = 0
    labels[:3] = 2
    present = np.unique(labels)
    expected = compute_class_weight("balanced", classes=present, y=labels)
    weights = balance_classes(labels, 5)
    np.testing.assert_allclose(weights[present], expected, rtol=1e-6)
    assert weights[4] == 0
    score = balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    assert balanced_accuracy(probabilities, labels) == pytest.approx(score)


def test_weighted_cross_entropy_counts_images_by_their_class() -> None:
    probabilities, labels = draw(200, 3)
    weights = np.array([0.5, 2.0, 7.0], np.float32)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    expected = log_loss(labels, exact, sample_weight=weights[labels])
    assert cross_entropy(probabilities, labels, weights) == pytest.approx(expected, rel=1e-5)
