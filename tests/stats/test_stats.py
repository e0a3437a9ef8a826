"""Statistics against published values, and against scipy and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, norm
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from burnish.stats.bootstrap import bca_interval, bootstrap_p_value, mean_interval, resample_means
from burnish.stats.calibration import apply_temperature, calibrate, fit_temperature
from burnish.stats.class_rates import count_confusions, rate_classes
from burnish.stats.intervals import NORMAL_95, wilson_interval
from burnish.stats.label_errors import suspect_labels
from burnish.stats.paired_tests import compare_means, correct_holm, mcnemar


def skewed(num: int, seed: int = 3) -> Any:
    """Losses as a good classifier has them: nearly all small, few large."""
    return np.random.default_rng(seed).exponential(0.02, num) ** 1.5


# Wilson


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


# Bootstrap


def test_the_interval_of_a_mean_is_scipys() -> None:
    losses = skewed(300)
    theirs = bootstrap(
        (losses,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = mean_interval(losses, num_resamples=20_000)
    width = theirs.high - theirs.low
    assert low == pytest.approx(theirs.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.high, abs=0.03 * width)
    assert low < losses.mean() < high
    # The few large losses make it reach further up than down.
    assert high - losses.mean() > losses.mean() - low


def test_the_interval_of_a_weighted_mean_is_scipys_of_the_ratio() -> None:
    losses = skewed(200)
    weights = np.where(np.arange(200) % 5 == 0, 4.0, 0.25)
    theirs = bootstrap(
        (losses, weights),
        lambda x, w, axis: (x * w).sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    width = theirs.high - theirs.low
    ends = mean_interval(losses, weights, num_resamples=20_000)
    assert ends == pytest.approx((theirs.low, theirs.high), abs=0.04 * width)


def test_such_intervals_hold_the_true_mean_about_as_often_as_they_claim() -> None:
    held = 0
    for seed in range(200):
        low, high = mean_interval(
            np.random.default_rng(seed).exponential(1.0, 60), num_resamples=400, seed=seed
        )
        held += low <= 1.0 <= high
    assert 180 <= held <= 198


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    losses = skewed(50)
    assert mean_interval(losses, num_resamples=200) == mean_interval(losses, num_resamples=200)
    assert mean_interval(losses, num_resamples=200) != mean_interval(
        losses, num_resamples=200, seed=1
    )


@pytest.mark.parametrize("losses", [[0.5], [0.25, 0.25], [0.0] * 9])
def test_without_spread_the_interval_is_the_mean(losses: list[float]) -> None:
    assert mean_interval(np.array(losses), num_resamples=50) == (losses[0], losses[0])


def test_of_two_images_the_interval_spans_both_losses() -> None:
    low, high = mean_interval(np.array([0.1, 0.9]), num_resamples=2_000)
    assert (low, high) == pytest.approx((0.1, 0.9))


def test_of_no_image_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="no image"):
        resample_means(np.zeros((0, 1)))


def test_resamples_without_weight_do_not_count() -> None:
    # Every second draw of these two takes the image of weight 0 twice or not at all.
    weights = np.array([0.0, 1.0])
    means = resample_means(np.array([[5.0], [7.0]]), weights, num_resamples=400)[:, 0]
    assert np.isnan(means).any()
    assert set(means[np.isfinite(means)]) == {7.0}
    assert bca_interval(np.array([5.0, 7.0]), means, weights) == (7.0, 7.0)


def test_a_paired_difference_is_shown_where_unpaired_intervals_overlap() -> None:
    first = skewed(400)
    second = 0.9 * first
    ends, better = (mean_interval(losses, num_resamples=500) for losses in (first, second))
    assert better[1] > ends[0]
    found = compare_means(first, second, num_resamples=2_000)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert found.interval[0] < found.difference < found.interval[1] < 0
    assert found.p_value == pytest.approx(2 / 2_001)


def test_two_models_of_the_same_losses_show_no_difference() -> None:
    found = compare_means(skewed(30), skewed(30), num_resamples=100)
    assert (found.difference, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_the_bootstraps_p_value_counts_both_sides() -> None:
    assert bootstrap_p_value(np.array([-1.0] * 3 + [1.0] * 96)) == pytest.approx(2 * 4 / 100)
    assert bootstrap_p_value(np.array([-1.0, 1.0])) == 1.0


# McNemar, Holm


def of_counts(both: int, only_first: int, only_second: int, neither: int) -> tuple[Any, Any]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first, bool), np.array(second, bool)


def test_mcnemar_is_the_published_one() -> None:
    # A. Agresti, 2002, "Categorical data analysis", table 10.1: of those who changed their mind
    # on a prime minister 150 no longer approve and 86 now do; z = 4.17.
    found = mcnemar(*of_counts(794, 150, 86, 570))
    assert (found.only_first, found.only_second) == (150, 86)
    assert found.p_value == pytest.approx(2 * norm.sf(4.17), rel=0.3)
    assert found.p_value == pytest.approx(binomtest(86, 236).pvalue)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (3, 12), (7, 7), (0, 6)])
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    found = mcnemar(*of_counts(5, only_first, only_second, 2))
    fewer, num = min(only_first, only_second), only_first + only_second
    tail = sum(math.comb(num, k) for k in range(fewer + 1)) / 2**num
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_without_an_error_or_a_disagreement_shows_nothing() -> None:
    assert mcnemar(*of_counts(2, 0, 0, 0)).p_value == 1.0
    assert mcnemar(*of_counts(3, 0, 0, 4)).p_value == 1.0


def test_holm_is_the_published_procedure() -> None:
    # Fifteen p-values of Y. Benjamini & Y. Hochberg, 1995, "Controlling the false discovery
    # rate", section 4.1; by step-down procedures three hypotheses are rejected at 5 %.
    given = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    given += [0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    corrected = correct_holm(given)
    assert sum(p < 0.05 for p in corrected) == 3
    assert corrected[:5] == pytest.approx([0.0015, 0.0056, 0.0247, 0.1140, 0.2211])
    # The sixth is 0.278, the seventh 0.2682 by itself: what was not rejected stays so.
    assert corrected[5:7] == pytest.approx([0.278, 0.278])
    assert correct_holm(given[::-1]) == pytest.approx(corrected[::-1])
    assert correct_holm([0.8, 0.9]) == [1.0, 1.0]
    assert correct_holm([]) == []


# Calibration


def test_calibration_of_a_known_case() -> None:
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.35, 0.65], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])
    found = calibrate(probabilities, labels, num_bins=5)
    assert [(b.num_images, b.accuracy) for b in found.bins] == [(1, 1.0), (1, 1.0), (2, 0.5)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.6, 0.65, 0.925])
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx((0.4, 0.6))
    assert found.error == pytest.approx((0.4 + 0.35 + 2 * 0.425) / 4)


def test_what_is_sure_and_right_is_calibrated() -> None:
    assert calibrate(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])).error == 0.0


def test_the_temperature_of_logits_that_were_scaled_is_found() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(4, p=row) for row in honest])
    for scale in (0.5, 1.0, 3.0):
        sure = np.exp(scale * logits)
        sure /= sure.sum(axis=1, keepdims=True)
        temperature = fit_temperature(sure, labels)
        assert temperature == pytest.approx(scale, rel=0.05)
        recalibrated = apply_temperature(sure, temperature)
        np.testing.assert_allclose(recalibrated.sum(axis=1), 1.0)
        assert (recalibrated.argmax(axis=1) == sure.argmax(axis=1)).all()
        assert log_loss(labels, recalibrated) <= log_loss(labels, sure) + 1e-9
        assert calibrate(recalibrated, labels).error < 0.02


def test_without_a_mistake_the_temperature_stays_within_its_bounds() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    assert fit_temperature(probabilities, np.array([0, 1])) == pytest.approx(0.05, rel=0.01)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert 0.05 <= fit_temperature(certain, np.array([0, 1])) <= 20
    np.testing.assert_allclose(apply_temperature(certain, 2.0), certain, atol=1e-9)


# Classes and labels


def test_rates_are_scikit_learns_also_where_a_class_is_missing() -> None:
    generator = np.random.default_rng(1)
    labels = generator.choice([0, 1, 3], 200)  # No image of class 2, class 4 is nowhere.
    predicted = np.where(generator.random(200) < 0.7, labels, generator.integers(0, 4, 200))
    counts = count_confusions(labels, predicted, 5)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, predicted, labels=range(5)))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=0
    )
    for number, rates in enumerate(rate_classes(counts)):
        assert rates.num_images == support[number]
        assert rates.num_wrong == support[number] - counts[number, number]
        if number == 4:
            assert (rates.precision, rates.recall, rates.f1) == (None, None, None)
            continue
        assert rates.precision == pytest.approx(precision[number])
        assert rates.f1 == pytest.approx(f1[number])
        if number == 2:
            assert rates.recall is None
        else:
            assert rates.recall == pytest.approx(recall[number])


def test_labels_that_were_changed_are_suspected_first() -> None:
    generator = np.random.default_rng(2)
    true = generator.integers(0, 3, 300)
    probabilities = np.full((300, 3), 0.05)
    probabilities[np.arange(300), true] = 0.9 - 0.1 * generator.random(300)
    labels = true.copy()
    changed = [7, 80, 211]
    labels[changed] = (labels[changed] + 1) % 3
    found = suspect_labels(probabilities, labels)
    assert set(found.rows[:3]) == set(changed)
    assert found.suggested[:3].tolist() == true[found.rows[:3]].tolist()
    assert len(suspect_labels(probabilities, true)) == 0


def test_no_label_is_suspected_for_a_class_without_images() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    assert suspect_labels(probabilities, np.array([0, 0])).rows.tolist() == []
