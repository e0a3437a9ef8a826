from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from burnish.data import Dataset, SealedTest, Split
from burnish.evaluation import read_test_split
from burnish.models import build_model, default_params, find_family
from burnish.stats.intervals import wilson_interval


@pytest.fixture(scope="module")
def model(digits: Dataset) -> Any:
    """An untrained network: wrong on most images, by differing amounts."""
    family = find_family("fnn")
    params = default_params(family)
    return build_model(
        family, params, digits.image_shape, digits.num_classes, training=False, seed=3
    )


@pytest.fixture(scope="module")
def probabilities(model: Any, digits: Dataset) -> NDArray[np.float32]:
    """What Keras itself predicts for the images that stand in for the test split."""
    return np.asarray(model.predict(digits.val.images.astype(np.float32), verbose=0))


def test_a_reading_holds_the_models_predictions_and_their_counts(
    model: Any, probabilities: NDArray[np.float32], digits: Dataset
) -> None:
    reading = read_test_split(model, SealedTest(digits.val))
    np.testing.assert_allclose(reading.probabilities, probabilities, atol=1e-6)
    np.testing.assert_array_equal(reading.labels, digits.val.labels)
    right = [
        row.argmax() == label for row, label in zip(probabilities, reading.labels, strict=True)
    ]
    num_correct = sum(right)
    assert 0 < num_correct < len(digits.val)
    assert reading.num_correct == num_correct
    predicted = probabilities.argmax(axis=1)
    summary = reading.summary()
    assert summary == {
        "accuracy": pytest.approx(num_correct / len(digits.val)),
        "loss": pytest.approx(
            -np.log(probabilities[np.arange(len(right)), reading.labels]).mean(), rel=1e-5
        ),
        "num_images": len(digits.val),
        "num_correct": num_correct,
        "balanced_accuracy": pytest.approx(balanced_accuracy_score(reading.labels, predicted)),
        "accuracy_interval": list(wilson_interval(num_correct, len(digits.val))),
    }


def test_mistakes_are_the_most_confidently_wrong_images_worst_first(
    model: Any, probabilities: NDArray[np.float32], digits: Dataset
) -> None:
    labels = digits.val.labels
    confidence = [
        (-row.max(), place)
        for place, (row, label) in enumerate(zip(probabilities, labels, strict=True))
        if row.argmax() != label
    ]
    expected = [place for _, place in sorted(confidence)][:24]
    mistakes = read_test_split(model, SealedTest(digits.val)).mistakes
    assert mistakes.index.tolist() == expected
    np.testing.assert_array_equal(mistakes.images, digits.val.images[expected])
    assert mistakes.images.dtype == np.uint8


def test_as_many_mistakes_are_kept_as_asked_for_and_no_more_than_there_are(
    model: Any, digits: Dataset
) -> None:
    sealed = SealedTest(digits.val)
    reading = read_test_split(model, sealed, num_mistakes=100_000)
    assert len(reading.mistakes.index) == len(digits.val) - reading.num_correct
    assert len(set(reading.mistakes.index.tolist())) == len(reading.mistakes.index)
    few = read_test_split(model, sealed, num_mistakes=3).mistakes
    assert few.index.tolist() == reading.mistakes.index[:3].tolist()


def test_a_model_without_mistakes_has_an_empty_list_of_them(
    model: Any, probabilities: NDArray[np.float32], digits: Dataset
) -> None:
    predicted = probabilities.argmax(axis=1).astype(np.int32)
    reading = read_test_split(model, SealedTest(Split(digits.val.images, predicted)))
    assert reading.summary()["accuracy"] == 1.0
    assert reading.mistakes.index.shape == (0,)
    assert reading.mistakes.images.shape == (0, *digits.image_shape)
