from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.training.optimizer import FusedAdam, make_optimizer

SHAPES = [(20, 30), (30,), (3, 3, 2, 4), ()]


def make_variables() -> list[Any]:
    generator = np.random.default_rng(0)
    return [keras.Variable(generator.normal(0, 1, shape).astype(np.float32)) for shape in SHAPES]


def draw_gradients(step: int) -> list[NDArray[np.float32]]:
    """Gradients of very different sizes, and some that are zero."""
    generator = np.random.default_rng((1, step))
    gradients = []
    for shape in SHAPES:
        size = 10.0 ** generator.uniform(-8, 3, shape)
        gradient = generator.normal(0, 1, shape) * size * (generator.random(shape) > 0.1)
        gradients.append(np.asarray(gradient, np.float32))
    return gradients


def train(optimizer: Any, rates: list[float]) -> list[list[NDArray[np.float32]]]:
    variables = make_variables()
    optimizer.build(variables)
    path = []
    for step, rate in enumerate(rates):
        optimizer.learning_rate.assign(rate)
        gradients = [keras.ops.convert_to_tensor(g) for g in draw_gradients(step)]
        optimizer.apply(gradients, variables)
        path.append([np.array(variable.numpy()) for variable in variables])
    return path


@pytest.mark.parametrize(
    "rates", [[0.001] * 30, [0.001, 0.01, 0.0, 0.1, 0.05, 1e-7, 0.02]], ids=["constant", "changing"]
)
def test_fused_adam_goes_where_keras_adam_goes(rates: list[float]) -> None:
    fused, stock = FusedAdam(0.001), keras.optimizers.Adam(0.001)
    start = [np.array(variable.numpy()) for variable in make_variables()]
    ours, expected = train(fused, rates), train(stock, rates)
    for step, (a, b) in enumerate(zip(ours, expected, strict=True)):
        for value, wanted in zip(a, b, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-6, err_msg=str(step))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(ours[-1], start, strict=True))
    for variable, wanted in zip(fused.variables, stock.variables, strict=True):
        assert (variable.shape, variable.dtype) == (wanted.shape, wanted.dtype)
        # The kernel takes 1 - beta_2 in float32, Keras in double precision: they differ by 1.3e-5.
        # Means of gradients of both signs cancel: what is lost is measured by the largest.
        rounding = 1e-6 * float(np.abs(wanted.numpy()).max())
        np.testing.assert_allclose(variable.numpy(), wanted.numpy(), rtol=2e-5, atol=rounding)


def test_fused_adam_follows_the_formula_of_its_paper() -> None:
    """Kingma & Ba 2015, algorithm 1, in double precision."""
    rates = [0.01] * 10
    values = [np.array(variable.numpy(), np.float64) for variable in make_variables()]
    means = [np.zeros(shape) for shape in SHAPES]
    squares = [np.zeros(shape) for shape in SHAPES]
    for step, rate in enumerate(rates):
        for i, gradient in enumerate(draw_gradients(step)):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient.astype(np.float64) ** 2
            t = step + 1
            corrected = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            values[i] = values[i] - corrected * means[i] / (np.sqrt(squares[i]) + 1e-7)
    for value, wanted in zip(train(FusedAdam(0.01), rates)[-1], values, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5)


def test_the_optimizer_of_a_fit_is_fused_with_keras_defaults() -> None:
    optimizer = make_optimizer({"learning_rate": 0.003})
    assert isinstance(optimizer, FusedAdam)
    stock = keras.optimizers.Adam(0.003)
    for name in ("beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay", "clipnorm"):
        assert getattr(optimizer, name) == getattr(stock, name), name
    assert float(optimizer.learning_rate) == pytest.approx(0.003)
