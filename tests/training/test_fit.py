from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.backend import has_bfloat16
from burnish.data import Dataset, Split
from burnish.errors import RunFolderError, StudyError, TrainingError
from burnish.metrics import accuracy, cross_entropy
from burnish.models import default_params, find_family
from burnish.space import Params
from burnish.training import (
    Epoch,
    FitRequest,
    FitResult,
    Progress,
    TrainingSettings,
    fit,
    restore_model,
)
from burnish.training.engine import make_predictor
from burnish.training.fit import choose_precision
from burnish.training.learning_rate import learning_rates
from burnish.training.pace import MOST_STEPS_AT_A_TIME

FULL_CNN: Params = {
    "num_filters_first_layer": 6,
    "num_filters_sub_layers": 6,
    "dense_layer_size": 24,
    "batch_normalization": True,
    "dropout_rate": 0.3,
    "l2_strength": 0.0001,
    "learning_rate": 0.01,
    "rotation_range": 0.03,
    "zoom_range": 0.05,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
}
"""Everything at once: normalisation, dropout, penalty, augmentation."""

LEARNS: Params = {"learning_rate": 0.003}
RESTLESS: Params = {"learning_rate": 0.03}
"""So high a rate that the validation loss rises now and then."""

FROZEN: Params = {"learning_rate": 1e-7, "dropout_rate": 0.0}
"""So low a rate that the network stays what it was."""

EXPLODES: Params = {"num_hidden_layers": 16, "dropout_rate": 0.0, "learning_rate": 10.0}
"""Within the limits. Each step moves each weight by 10; 17 layers deep the logits overflow."""


def ask(
    model: str,
    params: Params,
    *,
    seed: int = 1,
    checkpoint: Path | None = None,
    **settings: Any,
) -> FitRequest:
    full = {**default_params(find_family(model)), **params}
    return FitRequest(model, full, TrainingSettings(**settings), seed, checkpoint)


def without_seconds(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in history]


def assert_same(result: FitResult, expected: FitResult) -> None:
    """Equal to the bit in all but the time it took."""
    assert without_seconds(result.history) == without_seconds(expected.history)
    for weight, wanted in zip(result.weights, expected.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    for field in dataclasses.fields(FitResult):
        if field.name not in {"history", "weights", "seconds"}:
            assert getattr(result, field.name) == getattr(expected, field.name), field.name


def count_waits(history: tuple[Epoch, ...]) -> list[int]:
    """Epochs since the lowest validation loss so far, after each epoch."""
    waits: list[int] = []
    best = math.inf
    for epoch in history:
        waits.append(0 if epoch.val_loss < best else waits[-1] + 1)
        best = min(best, epoch.val_loss)
    return waits


def test_a_feed_forward_network_learns_the_digits(digits: Dataset) -> None:
    result = fit(ask("fnn", LEARNS, batch_size=32, max_epochs=10), digits)
    assert result.val_accuracy > 0.93
    assert result.history[-1].train_loss < result.history[0].train_loss / 3
    assert result.history[-1].train_accuracy > 0.85
    assert result.num_parameters == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert result.precision == "float32"
    assert result.epochs == 10


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_convolutional_network_learns_the_digits_in_either_precision(
    digits: Dataset, precision: str
) -> None:
    params = {**FULL_CNN, "num_filters_first_layer": 16, "num_filters_sub_layers": 16}
    request = ask("cnn", params, batch_size=16, max_epochs=8, precision=precision)
    result = fit(request, digits)
    assert result.precision == precision
    assert result.val_accuracy > 0.9
    assert all(weight.dtype == np.float32 for weight in result.weights)
    # Validation is in float32 either way: the restored model gives its figures exactly.
    model = restore_model(request, result.weights, digits)
    probabilities = make_predictor(model, digits.val).predict()
    assert cross_entropy(probabilities, digits.val.labels) == result.val_loss
    assert accuracy(probabilities, digits.val.labels) == result.val_accuracy


def test_the_best_epochs_weights_come_back(digits: Dataset) -> None:
    request = ask("fnn", RESTLESS, batch_size=64, max_epochs=30, patience=100)
    result = fit(request, digits)
    losses = [epoch.val_loss for epoch in result.history]
    best = losses.index(min(losses))
    assert best < len(losses) - 1, "the last epoch is the best: this shows nothing"
    assert result.val_loss == losses[best]
    assert result.val_accuracy == result.history[best].val_accuracy
    assert result.best_epoch == result.history[best].epoch == best + 1
    model = restore_model(request, result.weights, digits)
    probabilities = make_predictor(model, digits.val).predict()
    assert cross_entropy(probabilities, digits.val.labels) == result.val_loss
    assert accuracy(probabilities, digits.val.labels) == result.val_accuracy
    keras_says = model.predict(digits.val.images.astype(np.float32), verbose=0)
    assert cross_entropy(keras_says, digits.val.labels) == pytest.approx(result.val_loss, rel=1e-5)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_early_stopping_stops_after_that_many_epochs_without_gain(
    digits: Dataset, patience: int
) -> None:
    result = fit(ask("fnn", RESTLESS, batch_size=64, max_epochs=60, patience=patience), digits)
    waits = count_waits(result.history)
    assert waits[-1] == patience
    assert max(waits[:-1]) < patience
    assert result.stopped_early
    assert result.epochs == len(result.history) < 60
    assert result.best_epoch == len(result.history) - patience


def test_one_cycle_runs_to_its_end_whatever_the_patience(digits: Dataset) -> None:
    result = fit(
        ask(
            "fnn",
            {"learning_rate": 0.1},
            batch_size=64,
            max_epochs=10,
            patience=1,
            learning_rate_schedule="one-cycle",
        ),
        digits,
    )
    assert max(count_waits(result.history)[:-1]) >= 1, "it never waited: this shows nothing"
    assert len(result.history) == 10
    assert result.epochs == 10
    assert not result.stopped_early
    steps_per_epoch = math.ceil(len(digits.train) / 64)
    rates = learning_rates("one-cycle", 0.1, [(0, 10 * steps_per_epoch, 100)])
    last_of_each = rates[steps_per_epoch - 1 :: steps_per_epoch]
    assert [epoch.learning_rate for epoch in result.history] == [float(r) for r in last_of_each]


@pytest.mark.parametrize(
    ("max_epochs", "epochs"),
    # 1,078 images in batches of 108: ten steps an epoch.
    [(2.5, [1, 2, 2.5]), (0.3, [0.3]), (1.04, [1]), (0.001, [0.1]), (1, [1])],
)
def test_a_budget_may_be_a_fraction_of_an_epoch(
    digits: Dataset, max_epochs: float, epochs: list[float]
) -> None:
    seen: list[Progress] = []
    for schedule in ("constant", "one-cycle"):
        request = ask(
            "fnn",
            LEARNS,
            batch_size=108,
            max_epochs=max_epochs,
            learning_rate_schedule=schedule,
        )
        result = fit(request, digits, seen.append)
        assert [epoch.epoch for epoch in result.history] == epochs
        assert not result.stopped_early
        assert {progress.num_steps for progress in seen} == {round(10 * epochs[-1])}
    # The cycle is fitted to the budget: its last step has the lowest rate of its descent.
    rates = learning_rates("one-cycle", 0.003, [(0, round(10 * epochs[-1]), 100)])
    assert result.history[-1].learning_rate == float(rates[-1])


@pytest.mark.parametrize(
    ("model", "params", "settings"),
    [
        ("fnn", LEARNS, {"batch_size": 64}),
        ("cnn", FULL_CNN, {"precision": "float32"}),
        ("cnn", FULL_CNN, {"precision": "bfloat16", "learning_rate_schedule": "one-cycle"}),
    ],
    ids=["fnn", "cnn-float32", "cnn-bfloat16"],
)
def test_the_seed_alone_decides_a_fit_to_the_bit(
    digits: Dataset, model: str, params: Params, settings: dict[str, Any]
) -> None:
    first, same, other = (
        fit(ask(model, params, seed=seed, max_epochs=2, **settings), digits) for seed in (1, 1, 2)
    )
    assert_same(same, first)
    assert without_seconds(first.history) != without_seconds(other.history)
    # All of it follows the seed: initial kernels, and so every later weight that is not constant.
    kernels = [weight.ndim > 1 for weight in first.weights]
    pairs = zip(first.weights, other.weights, kernels, strict=True)
    assert all(not np.array_equal(a, b) for a, b, is_kernel in pairs if is_kernel)


def test_the_initial_weights_follow_the_seed(digits: Dataset) -> None:
    first, other = (
        fit(ask("fnn", FROZEN, seed=seed, batch_size=539, max_epochs=1), digits).weights
        for seed in (1, 2)
    )
    for kernel, another in zip(first[0::2], other[0::2], strict=True):
        assert np.abs(kernel - another).mean() > 0.05


def test_a_fit_that_diverges_says_so_and_names_its_learning_rate(digits: Dataset) -> None:
    with pytest.raises(TrainingError) as caught:
        fit(ask("fnn", EXPLODES, batch_size=64, max_epochs=30), digits)
    message = str(caught.value)
    assert "learning_rate = 10.0" in message
    assert "diverged" in message
    assert "the loss is nan in epoch" in message or "the loss is inf in epoch" in message


def test_a_fit_that_diverges_in_its_last_step_gives_no_result(digits: Dataset) -> None:
    """With one step an epoch the training loss is still finite when the weights are not."""
    for budget in range(1, 30):
        try:
            result = fit(ask("fnn", EXPLODES, batch_size=2000, max_epochs=budget), digits)
        except TrainingError:
            break
        assert len(result.history) == budget
        assert all(
            math.isfinite(loss) for e in result.history for loss in (e.train_loss, e.val_loss)
        )
    else:
        pytest.fail("it never diverged: this shows nothing")


def test_a_batch_larger_than_the_data_takes_images_again(digits: Dataset) -> None:
    result = fit(ask("fnn", RESTLESS, batch_size=2000, max_epochs=12), digits)
    assert len(result.history) == 12
    assert result.epochs == 12
    assert result.val_accuracy > 0.5


@pytest.mark.parametrize("batch_size", [77, 539, 1078, 2156])
def test_an_epoch_visits_every_image_equally_often(digits: Dataset, batch_size: int) -> None:
    """Batches that divide 1,078 images: the training loss is that of all images, no others."""
    request = ask(
        "fnn",
        {**FROZEN, "l2_strength": 1.0},
        batch_size=batch_size,
        max_epochs=1,
    )
    result = fit(request, digits)
    model = restore_model(request, result.weights, digits)
    probabilities = make_predictor(model, digits.train).predict()
    (epoch,) = result.history
    # The penalty of 1.0 is no part of it: the sum of the squared weights is above 100.
    assert sum(float(np.square(weight).sum()) for weight in result.weights) > 100
    assert epoch.train_loss == pytest.approx(
        cross_entropy(probabilities, digits.train.labels), abs=1e-4
    )
    assert epoch.train_accuracy == pytest.approx(
        accuracy(probabilities, digits.train.labels), abs=2.5 / 1078
    )


def test_the_last_batch_of_an_epoch_is_filled_up_with_the_first_images_of_the_epoch(
    digits: Dataset,
) -> None:
    """1,078 images in batches of 100 leave 22 places; batches of 22 begin with the same 22."""
    filled = ask("fnn", FROZEN, batch_size=100, max_epochs=1)
    result = fit(filled, digits)
    first = fit(ask("fnn", FROZEN, batch_size=22, max_epochs=1 / 49), digits)
    model = restore_model(filled, result.weights, digits)
    probabilities = make_predictor(model, digits.train).predict()
    all_images = 1078 * cross_entropy(probabilities, digits.train.labels)
    expected = (all_images + 22 * first.history[0].train_loss) / 1100
    assert result.history[0].train_loss == pytest.approx(expected, abs=1e-4)


def test_each_epoch_has_its_own_order_and_its_own_augmentation(digits: Dataset) -> None:
    settings: dict[str, Any] = {"batch_size": 77, "max_epochs": 2.5}
    half = fit(ask("fnn", FROZEN, **{**settings, "max_epochs": 0.5}), digits).history[0]
    first, second, rest = fit(ask("fnn", FROZEN, **settings), digits).history
    # The same images whole, others in the first half.
    assert first.train_loss == pytest.approx(second.train_loss, abs=1e-4)
    assert abs(rest.train_loss - half.train_loss) > 1e-3
    # Of one image again and again the order shows nothing, and the augmentation alone is left.
    images = np.repeat(digits.train.images[:1], 4, axis=0)
    labels = np.repeat(digits.train.labels[:1], 4)
    same = dataclasses.replace(digits, train=Split(images, labels))
    for change, differ in ((FROZEN, False), ({**FROZEN, "width_shift_range": 0.3}, True)):
        result = fit(ask("fnn", change, batch_size=4, max_epochs=10, patience=100), same)
        losses = [epoch.train_loss for epoch in result.history]
        assert (np.ptp(losses) > 1e-3) == differ
        assert not differ or len(set(losses)) == 10


def test_augmentation_and_dropout_act_on_training_alone(digits: Dataset) -> None:
    """They change the training loss at the same weights, and leave validation the same."""
    plain, dropped, moved = (
        fit(ask("fnn", {**FROZEN, **change}, batch_size=77, max_epochs=1), digits)
        for change in ({}, {"dropout_rate": 0.5}, {"rotation_range": 0.5})
    )
    for result in (dropped, moved):
        assert result.history[0].train_loss != pytest.approx(plain.history[0].train_loss, abs=1e-3)
        assert result.val_loss == pytest.approx(plain.val_loss, abs=1e-4)


def test_progress_goes_forward_from_the_first_step_to_the_last(digits: Dataset) -> None:
    seen: list[Progress] = []
    result = fit(ask("fnn", LEARNS, batch_size=8, max_epochs=2.5), digits, seen.append)
    steps_per_epoch = math.ceil(len(digits.train) / 8)
    assert steps_per_epoch > MOST_STEPS_AT_A_TIME
    num_steps = round(2.5 * steps_per_epoch)
    # After every hundred steps of an epoch, and after the epoch.
    expected = [0, 100, 135, 235, 270, num_steps]
    assert steps_per_epoch == 135
    assert [progress.step for progress in seen] == expected
    assert {(p.num_steps, p.steps_per_epoch) for p in seen} == {(num_steps, 135)}
    assert [p.last for p in seen] == [
        None,
        None,
        result.history[0],
        result.history[0],
        result.history[1],
        result.history[2],
    ]


class KilledError(Exception):
    """What the tests below throw out of a fit."""


def interrupt(request: FitRequest, dataset: Dataset, at_step: int) -> int:
    """Run a fit until it reports a step of at least ``at_step``; give where it began."""
    seen: list[int] = []

    def kill(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step >= at_step:
            raise KilledError

    with pytest.raises(KilledError):
        fit(request, dataset, kill)
    return seen[0]


@pytest.mark.parametrize(
    ("schedule", "precision"), [("constant", "float32"), ("one-cycle", "bfloat16")]
)
def test_an_interrupted_fit_goes_on_to_the_bit(
    digits: Dataset, tmp_path: Path, schedule: str, precision: str
) -> None:
    settings: dict[str, Any] = {
        "batch_size": 64,
        "max_epochs": 4.5,
        "learning_rate_schedule": schedule,
        "precision": precision,
    }
    uninterrupted = fit(ask("cnn", FULL_CNN, **settings), digits)
    request = ask("cnn", FULL_CNN, checkpoint=tmp_path / "checkpoint.npz", **settings)
    steps_per_epoch = math.ceil(len(digits.train) / 64)
    assert interrupt(request, digits, at_step=2 * steps_per_epoch) == 0
    seen: list[Progress] = []
    result = fit(request, digits, seen.append)
    assert seen[0].step == 2 * steps_per_epoch
    assert seen[0].last is not None
    assert [progress.step for progress in seen] == sorted(progress.step for progress in seen)
    assert_same(result, uninterrupted)
    assert result.seconds == pytest.approx(sum(epoch.seconds for epoch in result.history))


def test_a_fit_killed_in_the_middle_of_an_epoch_does_that_epoch_again(
    digits: Dataset, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"batch_size": 8, "max_epochs": 2}
    uninterrupted = fit(ask("fnn", LEARNS, **settings), digits)
    request = ask("fnn", LEARNS, checkpoint=tmp_path / "checkpoint.npz", **settings)
    assert interrupt(request, digits, at_step=235) == 0
    seen: list[Progress] = []
    assert_same(fit(request, digits, seen.append), uninterrupted)
    assert [progress.step for progress in seen] == [135, 235, 270]


def test_a_fit_killed_after_every_epoch_still_stops_where_its_patience_ends(
    digits: Dataset, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"batch_size": 64, "max_epochs": 60, "patience": 2}
    uninterrupted = fit(ask("fnn", RESTLESS, **settings), digits)
    request = ask("fnn", RESTLESS, checkpoint=tmp_path / "checkpoint.npz", **settings)
    steps_per_epoch = math.ceil(len(digits.train) / 64)
    for epoch in range(len(uninterrupted.history)):
        begun = interrupt(request, digits, at_step=(epoch + 1) * steps_per_epoch)
        assert begun == epoch * steps_per_epoch
    assert_same(fit(request, digits), uninterrupted)
    assert uninterrupted.stopped_early


def test_a_finished_fit_is_not_run_again(digits: Dataset, tmp_path: Path) -> None:
    request = ask("fnn", LEARNS, batch_size=64, max_epochs=2, checkpoint=tmp_path / "c.npz")
    finished = fit(request, digits)
    before = (tmp_path / "c.npz").read_bytes()
    seen: list[Progress] = []
    again = fit(request, digits, seen.append)
    assert_same(again, finished)
    assert again.history == finished.history
    assert again.seconds == finished.seconds
    assert len(seen) == 1
    assert (tmp_path / "c.npz").read_bytes() == before


@pytest.mark.parametrize("smaller", [1, 2.4])
def test_a_promoted_fit_ends_where_one_of_the_larger_budget_does(
    digits: Dataset, tmp_path: Path, smaller: float
) -> None:
    settings: dict[str, Any] = {"batch_size": 108, "patience": 100}
    whole = fit(ask("cnn", FULL_CNN, max_epochs=3, **settings), digits)
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    fit(ask("cnn", FULL_CNN, max_epochs=smaller, checkpoint=small, **settings), digits)
    before = small.read_bytes()
    request = dataclasses.replace(
        ask("cnn", FULL_CNN, max_epochs=3, checkpoint=large, **settings), resume_from=small
    )
    seen: list[Progress] = []
    result = fit(request, digits, seen.append)
    assert seen[0].step == round(10 * smaller)
    assert small.read_bytes() == before
    # A budget that ends within an epoch is validated there too; what follows is the same.
    assert result.history[0].epoch == min(1, smaller)
    assert result.epochs == 3
    last, expected = (dataclasses.replace(r.history[-1], seconds=0.0) for r in (result, whole))
    assert (last.val_loss, last.val_accuracy) == (expected.val_loss, expected.val_accuracy)
    if smaller == 1:
        assert_same(result, whole)


def test_a_promoted_one_cycle_fit_adds_a_cycle_and_goes_on_with_it_after_a_crash(
    digits: Dataset, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"batch_size": 108, "learning_rate_schedule": "one-cycle"}
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    fit(ask("fnn", LEARNS, max_epochs=1, checkpoint=small, **settings), digits)
    request = dataclasses.replace(
        ask("fnn", LEARNS, max_epochs=4, **settings), resume_from=small, checkpoint=None
    )
    uninterrupted = fit(request, digits)
    rates = [
        rate for steps in (10, 30) for rate in learning_rates("one-cycle", 0.003, [(0, steps, 100)])
    ]
    assert [e.learning_rate for e in uninterrupted.history] == [float(r) for r in rates[9::10]]
    request = dataclasses.replace(request, checkpoint=large)
    assert interrupt(request, digits, at_step=20) == 10
    assert interrupt(request, digits, at_step=30) == 20
    assert_same(fit(request, digits), uninterrupted)


def test_a_fit_cannot_be_promoted_from_another(digits: Dataset, tmp_path: Path) -> None:
    small = tmp_path / "small.npz"
    request = ask("fnn", LEARNS, batch_size=108, max_epochs=2)
    fit(ask("fnn", LEARNS, seed=2, batch_size=108, max_epochs=1, checkpoint=small), digits)
    with pytest.raises(RunFolderError, match=r"small\.npz is not a checkpoint of this fit"):
        fit(dataclasses.replace(request, resume_from=small), digits)


@pytest.mark.parametrize(
    "other",
    [
        ask("fnn", LEARNS, seed=2, batch_size=64, max_epochs=2),
        ask("fnn", {**LEARNS, "hidden_layer_size": 32}, batch_size=64, max_epochs=2),
        ask("fnn", LEARNS, batch_size=64, max_epochs=3),
    ],
    ids=["seed", "width", "budget"],
)
def test_a_checkpoint_of_another_request_is_ignored_and_replaced(
    digits: Dataset, tmp_path: Path, other: FitRequest
) -> None:
    path = tmp_path / "checkpoint.npz"
    fit(ask("fnn", LEARNS, batch_size=64, max_epochs=2, checkpoint=path), digits)
    expected = fit(other, digits)
    request = dataclasses.replace(other, checkpoint=path)
    seen: list[Progress] = []
    assert_same(fit(request, digits, seen.append), expected)
    assert seen[0].step == 0
    seen.clear()
    assert_same(fit(request, digits, seen.append), expected)
    assert len(seen) == 1


def test_a_damaged_checkpoint_is_kept_aside_and_its_fit_starts_afresh(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoint.npz"
    request = ask("fnn", LEARNS, batch_size=64, max_epochs=2)
    expected = fit(request, digits)
    request = dataclasses.replace(request, checkpoint=path)
    interrupt(request, digits, at_step=1)
    damaged = path.read_bytes()[:-100]
    path.write_bytes(damaged)
    assert_same(fit(request, digits), expected)
    assert re.search(r"the checkpoint .*checkpoint\.npz is damaged", caplog.text)
    assert path.with_name("checkpoint.npz.damaged").read_bytes() == damaged


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    digits: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    path.mkdir()
    with pytest.raises(RunFolderError, match=r"checkpoint\.npz cannot be read: Is a directory"):
        fit(ask("fnn", LEARNS, batch_size=64, max_epochs=2, checkpoint=path), digits)
    assert path.is_dir()


def test_a_network_that_does_not_fit_the_images_is_refused_at_once(digits: Dataset) -> None:
    seen: list[Progress] = []
    with pytest.raises(StudyError, match="num_conv_layers = 4 does not fit images of 8x8"):
        fit(ask("cnn", {"num_conv_layers": 4}), digits, seen.append)
    assert seen == []


def test_precision_is_bfloat16_where_it_pays_and_as_asked_else() -> None:
    fnn, cnn = find_family("fnn"), find_family("cnn")
    assert choose_precision("auto", fnn) == "float32"
    assert choose_precision("auto", cnn) == ("bfloat16" if has_bfloat16() else "float32")
    for family in (fnn, cnn):
        assert choose_precision("float32", family) == "float32"
        assert choose_precision("bfloat16", family) == "bfloat16"
