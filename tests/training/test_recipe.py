"""Hyperparameters of training that every family has: optimizer, decay, averages, mixed labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.backend import keras
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.metrics import cross_entropy
from burnish.models import build_model, default_params, find_family
from burnish.models.families import check_params
from burnish.recipe import RECIPE, RECIPE_LIMITS, recipe_number
from burnish.space import Params
from burnish.training import FitRequest, TrainingSettings, fit, restore_model
from burnish.training.averaging import WeightAverage
from burnish.training.engine import make_predictor, make_trainer
from burnish.training.optimizer import FusedSGD, make_optimizer

SHAPES = [(4, 5), (5,), (3, 3, 2, 4), ()]


def make_variables() -> list[Any]:
    generator = np.random.default_rng(0)
    return [keras.Variable(generator.normal(0, 1, shape).astype(np.float32)) for shape in SHAPES]


def train(optimizer: Any, rates: list[float]) -> list[NDArray[np.float32]]:
    variables = make_variables()
    optimizer.build(variables)
    for step, rate in enumerate(rates):
        generator = np.random.default_rng((1, step))
        gradients = [np.asarray(generator.normal(0, 1, shape), np.float32) for shape in SHAPES]
        optimizer.learning_rate.assign(rate)
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    return [np.array(variable.numpy()) for variable in variables]


def ask(
    change: Params, *, family: str = "fnn", checkpoint: Path | None = None, **settings: Any
) -> FitRequest:
    params = {**default_params(find_family(family)), "learning_rate": 0.01, **change}
    return FitRequest(family, params, TrainingSettings(**settings), 1, checkpoint)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fused_sgd_goes_where_keras_sgd_with_nesterov_momentum_goes(momentum: float) -> None:
    rates = [0.1, 0.01, 0.0, 0.3, 0.05]
    fused = FusedSGD(0.1, momentum)
    stock = keras.optimizers.SGD(0.1, momentum=momentum, nesterov=momentum > 0)
    for value, wanted in zip(train(fused, rates), train(stock, rates), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    assert [v.shape for v in fused.variables] == [v.shape for v in stock.variables]


def test_momentum_follows_its_formula() -> None:
    """Sutskever et al. 2013, equations 3 and 4, moved to the weights at which gradients are."""
    values = [np.array(v.numpy(), np.float64) for v in make_variables()]
    speeds = [np.zeros(shape) for shape in SHAPES]
    for step in range(4):
        generator = np.random.default_rng((1, step))
        for i, shape in enumerate(SHAPES):
            gradient = np.asarray(generator.normal(0, 1, shape), np.float32)
            speeds[i] = 0.8 * speeds[i] - 0.1 * gradient
            values[i] = values[i] + 0.8 * speeds[i] - 0.1 * gradient
    for value, wanted in zip(train(FusedSGD(0.1, 0.8), [0.1] * 4), values, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_weight_decay_shrinks_kernels_alone_by_rate_times_decay(name: str) -> None:
    params: Params = {"learning_rate": 0.1, "optimizer": name, "momentum": 0.0}
    variables = make_variables()
    before = [np.array(v.numpy()) for v in variables]
    optimizer = make_optimizer({**params, "weight_decay": 0.5})
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(shape) for shape in SHAPES], variables)
    for variable, start in zip(variables, before, strict=True):
        factor = 0.95 if start.ndim > 1 else 1.0
        np.testing.assert_allclose(np.array(variable.numpy()), start * factor, rtol=1e-6)


def test_no_fit_names_what_is_off_and_every_family_takes_it() -> None:
    for name in ("fnn", "cnn", "pretrained"):
        family = find_family(name)
        check_params(family, dict(RECIPE))
        assert not {"optimizer", "momentum", "weight_averaging"} & set(default_params(family))
    assert {*RECIPE, "learning_rate"} == RECIPE_LIMITS.ranges.keys()
    assert all(value in RECIPE_LIMITS.ranges[name] for name, value in RECIPE.items())
    with pytest.raises(StudyError, match=r"optimizer = 'adagrad' is out of range.*adam.*sgd"):
        check_params(find_family("cnn"), {"optimizer": "adagrad"})
    assert recipe_number({}, "momentum") == 0.9
    assert recipe_number({"momentum": 0.5}, "momentum") == 0.5


def test_settings_that_came_later_are_in_no_checkpoint_where_they_are_off() -> None:
    assert set(ask({}).identity()["settings"]) == {
        "batch_size",
        "max_epochs",
        "patience",
        "learning_rate_schedule",
        "precision",
        "class_weight",
        "prediction_shift",
    }
    assert ask({}, prediction_flip=True).identity()["settings"]["prediction_flip"] is True


def test_an_average_of_weights_is_that_of_its_formula() -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    average = WeightAverage(model, 0.5)
    expected = model.get_weights()  # It starts from the first weights.
    generator = np.random.default_rng(0)
    for step in range(1, 21):
        weights = [generator.normal(0, 1, w.shape).astype(np.float32) for w in expected]
        model.set_weights(weights)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
    for value, wanted in zip(average.get_weights(), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


ALL: Params = {
    "optimizer": "sgd",
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "weight_averaging": 0.9,
    "alternating_flip": True,
    "cutout_size": 0.3,
    "elastic_range": 0.05,
    "contrast_range": 0.2,
    "mixup_alpha": 0.2,
    "cutmix_alpha": 0.5,
}


def test_a_fit_with_all_of_it_goes_on_to_the_bit_and_keeps_the_average(
    digits: Dataset, tmp_path: Path
) -> None:
    change: Params = {
        **ALL,
        "num_filters_first_layer": 4,
        "num_filters_sub_layers": 4,
        "batch_normalization": True,
    }
    settings: dict[str, Any] = {"batch_size": 64, "learning_rate_schedule": "one-cycle"}
    request = ask(change, family="cnn", max_epochs=3, **settings)
    whole = fit(request, digits)
    kept = replace(request, checkpoint=tmp_path / "checkpoint.npz")

    class KilledError(Exception):
        pass

    def kill(progress: Any) -> None:
        if progress.step >= progress.steps_per_epoch:
            raise KilledError

    with pytest.raises(KilledError):
        fit(kept, digits, kill)
    steps: list[int] = []
    resumed = fit(kept, digits, lambda progress: steps.append(progress.step))
    assert steps[0] > 0
    for weight, wanted in zip(resumed.weights, whole.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    assert resumed.val_loss == whole.val_loss
    # What is kept is what was validated.
    model = restore_model(request, whole.weights, digits)
    probabilities = make_predictor(model, digits.val).predict()
    assert cross_entropy(probabilities, digits.val.labels, None) == pytest.approx(whole.val_loss)
    without = fit(
        ask({**change, "weight_averaging": 0.0}, family="cnn", max_epochs=3, **settings), digits
    )
    assert without.val_loss != whole.val_loss


def test_the_loss_of_mixed_images_is_to_the_mixed_labels(digits: Dataset) -> None:
    batch = 32
    family = find_family("fnn")
    params = {**default_params(family), "dropout_rate": 0.0, "mixup_alpha": 1.0}
    shape = digits.image_shape
    model = build_model(family, params, shape, digits.num_classes, training=True, seed=1)
    augmentation = Augmentation(params)
    class_weights = np.linspace(0.5, 1.5, digits.num_classes).astype(np.float32)
    trainer = make_trainer(
        model,
        make_optimizer({"learning_rate": 0.1}),
        digits.train,
        batch_size=batch,
        augmentation=augmentation,
        class_weights=class_weights,
    )
    picked = np.arange(batch, dtype=np.int32)[None]
    drawn = augmentation.draw(np.random.default_rng(0), batch, shape)
    loss, _ = trainer.run(picked, drawn[None], np.zeros(1, np.float32))
    images = digits.train.images[:batch].astype(np.float32)
    share = drawn[:, :1]
    own = np.eye(digits.num_classes)[digits.train.labels[:batch]]
    targets = share * own + (1 - share) * np.roll(own, 1, axis=0)
    mixed = share[:, :, None, None] * images + (1 - share)[:, :, None, None] * np.roll(
        images, 1, axis=0
    )
    logits = np.asarray(model(mixed, training=False), np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = (-(targets * logs).sum(axis=1) * (targets @ class_weights)).sum()
    assert loss == pytest.approx(expected, rel=1e-4)
