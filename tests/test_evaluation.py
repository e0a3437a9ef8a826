from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import balanced_accuracy_score

from burnish.data import Dataset, SealedTest, Split
from burnish.evaluation import NORMAL_95, read_test_split, wilson_interval
from burnish.models import build_model, default_params, find_family


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


# R. G. Newcombe, 1998, "Two-sided confidence intervals for the single proportion", table I,
# method 3 (Wilson's score, no continuity correction).
@pytest.mark.parametrize(
    ("num_correct", "num_images", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(
    num_correct: int, num_images: int, low: float, high: float
) -> None:
    assert wilson_interval(num_correct, num_images) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("num_images", [1, 2, 7, 360, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9946, 1.0])
def test_the_interval_agrees_with_scipy(num_images: int, share: float) -> None:
    num_correct = round(share * num_images)
    expected = binomtest(num_correct, num_images).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(num_correct, num_images)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0.0 <= low < high <= 1.0
    assert low - 1e-12 <= num_correct / num_images <= high + 1e-12


def test_the_interval_holds_all_shares_that_a_score_test_does_not_reject() -> None:
    """Its definition: at each end the observed share lies 1.96 standard errors off."""
    num_correct, num_images = 9946, 10_000
    for end in wilson_interval(num_correct, num_images):
        error = math.sqrt(end * (1 - end) / num_images)
        assert abs(num_correct / num_images - end) / error == pytest.approx(NORMAL_95, rel=1e-9)


def test_the_normal_quantile_is_the_right_one() -> None:
    assert pytest.approx(norm.ppf(0.975), rel=1e-14) == NORMAL_95


def test_without_an_error_the_interval_ends_at_one_and_is_not_empty() -> None:
    low, high = wilson_interval(10, 10)
    assert high == pytest.approx(1.0, abs=1e-12)
    # With no error the lower end is n / (n + z^2).
    assert low == pytest.approx(10 / (10 + NORMAL_95**2), rel=1e-12)


def test_with_nothing_right_the_interval_begins_at_zero_and_is_not_empty() -> None:
    low, high = wilson_interval(0, 10)
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(NORMAL_95**2 / (10 + NORMAL_95**2), rel=1e-12)


@pytest.mark.parametrize(("num_correct", "num_images"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_proportion_is_refused(num_correct: int, num_images: int) -> None:
    with pytest.raises(ValueError, match=f"{num_correct} of {num_images} is no proportion"):
        wilson_interval(num_correct, num_images)


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
    summary = reading.summary()
    assert summary == {
        "accuracy": pytest.approx(num_correct / len(digits.val)),
        "loss": pytest.approx(
            -np.log(probabilities[np.arange(len(right)), reading.labels]).mean(), rel=1e-5
        ),
        "num_images": len(digits.val),
        "num_correct": num_correct,
        "balanced_accuracy": pytest.approx(
            balanced_accuracy_score(reading.labels, probabilities.argmax(axis=1))
        ),
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
