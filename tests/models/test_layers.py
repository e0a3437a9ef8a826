from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.models.layers import (
    FusedBatchNormalization,
    FusedDropout,
    FusedL2,
    LayerFactory,
    apply_layers,
)

# The last: one image or a batch of one feature vector, whose variance is 0.
SHAPES = [(32, 5), (8, 6, 5, 3), (1, 1, 1, 4), (1, 7)]


def make_pair(shape: tuple[int, ...], dtype: str = "float32") -> tuple[Any, Any]:
    """A fused and a stock layer with the same weights, none of them at its initial value."""
    generator = np.random.default_rng(1)
    size = shape[-1]
    weights = [
        generator.normal(1, 0.3, size),  # gamma
        generator.normal(0, 0.5, size),  # beta
        generator.normal(1, 2, size),  # moving mean
        generator.uniform(0.5, 4, size),  # moving variance
    ]
    pair = FusedBatchNormalization(dtype=dtype), keras.layers.BatchNormalization(dtype=dtype)
    for layer in pair:
        layer.build((None, *shape[1:]))
        layer.set_weights([weight.astype(np.float32) for weight in weights])
    return pair


def draw(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(2, 3, shape).astype(np.float32)


def apply(layer: Any, x: NDArray[np.float32], training: bool) -> tuple[Any, list[Any]]:
    """Output, and the gradients of a weighted sum of it by the input, gamma and beta."""
    factors = draw(x.shape, seed=99)
    inputs = tf.constant(x)
    gamma, beta = layer.gamma.value, layer.beta.value
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs, training=training)
        objective = tf.reduce_sum(tf.cast(y, tf.float32) * factors)
    return y, [np.asarray(g) for g in tape.gradient(objective, [inputs, gamma, beta])]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_fused_normalisation_gives_the_stock_layers_output_and_gradients(
    shape: tuple[int, ...], training: bool
) -> None:
    fused, stock = make_pair(shape)
    for number in range(3):
        x = draw(shape, seed=number)
        y, gradients = apply(fused, x, training)
        expected, expected_gradients = apply(stock, x, training)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(gradient / scale, wanted / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_normalisation_moves_the_statistics_as_the_stock_layer_does(
    shape: tuple[int, ...],
) -> None:
    fused, stock = make_pair(shape)
    before = stock.get_weights()
    for number in range(5):
        x = draw(shape, seed=number)
        fused(x, training=True)
        stock(x, training=True)
    for weight, expected in zip(fused.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(before[2] - fused.get_weights()[2]).max() > 0.01
    assert np.abs(before[3] - fused.get_weights()[3]).max() > 0.01


def test_fused_normalisation_leaves_the_statistics_alone_in_inference() -> None:
    fused, _ = make_pair((8, 5))
    before = fused.get_weights()
    fused(draw((8, 5), seed=0), training=False)
    fused(draw((8, 5), seed=0))
    for weight, expected in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_fused_and_stock_normalisation_have_the_same_weights_by_name_and_order() -> None:
    fused, stock = make_pair((8, 5))
    names = [(weight.name, weight.shape, weight.trainable) for weight in stock.weights]
    assert [(weight.name, weight.shape, weight.trainable) for weight in fused.weights] == names


@pytest.mark.parametrize("shape", [(64, 5), (16, 6, 5, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_fused_normalisation_runs_in_bfloat16_with_float32_weights(
    shape: tuple[int, ...], training: bool
) -> None:
    fused, stock = make_pair(shape, "mixed_bfloat16")
    x = draw(shape, seed=0)
    y, gradients = apply(fused, x, training)
    expected, expected_gradients = apply(stock, x, training)
    assert y.dtype == tf.bfloat16
    # bfloat16 has 8 significant bits: 2 ** -8 = 0.004 of values up to about 4.
    np.testing.assert_allclose(tf.cast(y, tf.float32), tf.cast(expected, tf.float32), atol=0.04)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(gradient / scale, wanted / scale, atol=0.03)
    assert all(weight.dtype == "float32" for weight in fused.weights)
    for weight, wanted in zip(fused.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=1e-3, atol=1e-3)


def test_fused_normalisation_works_where_the_batch_size_is_not_known() -> None:
    for shape in [(6, 5), (6, 4, 3, 5)]:
        fused, stock = make_pair(shape)
        traced = tf.function(
            lambda x, layer=fused: layer(x, training=True),
            input_signature=[tf.TensorSpec((None, *shape[1:]), tf.float32)],
        )
        x = draw(shape, seed=0)
        np.testing.assert_allclose(traced(x), stock(x, training=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [0.05, 0.4, 0.9])
def test_dropout_keeps_its_share_and_scales_it_up(rate: float) -> None:
    y = np.asarray(FusedDropout(rate, seed=1)(tf.ones((1000, 1000)), training=True))
    kept = y != 0
    # Five standard errors of a share of a million draws.
    assert kept.mean() == pytest.approx(1 - rate, abs=5 * np.sqrt(rate * (1 - rate) / 1e6))
    exact = 65536 / (65536 - round(rate * 65536))
    np.testing.assert_allclose(y[kept], exact, rtol=1e-6)
    assert exact == pytest.approx(1 / (1 - rate), rel=2e-4)


def test_dropout_draws_each_value_on_its_own() -> None:
    """Two neighbours share a random word: they must not share their fate."""
    y = np.asarray(FusedDropout(0.5, seed=1)(tf.ones((1000, 1000)), training=True))
    kept = (y != 0).ravel() * 2.0 - 1.0
    for lag in (1, 2, 3, 1000):
        assert abs((kept[:-lag] * kept[lag:]).mean()) < 0.006, lag
    assert abs((kept[0::2] * kept[1::2]).mean()) < 0.008


def test_dropout_passes_gradients_through_what_it_kept() -> None:
    x = tf.constant(draw((20, 30), seed=0))
    layer = FusedDropout(0.4, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_allclose(tape.gradient(y, x) * x, y, rtol=1e-6)


def test_dropout_does_nothing_in_inference_or_at_rate_zero() -> None:
    x = draw((20, 30), seed=0)
    np.testing.assert_array_equal(FusedDropout(0.4, seed=1)(x, training=False), x)
    np.testing.assert_array_equal(FusedDropout(0.4, seed=1)(x), x)
    np.testing.assert_array_equal(FusedDropout(0.0, seed=1)(x, training=True), x)


def test_dropout_is_reproducible_by_its_seed_and_new_in_every_call() -> None:
    x = tf.ones((20, 30))
    first, same, other = (FusedDropout(0.4, seed=seed) for seed in (1, 1, 2))
    calls = [np.asarray(first(x, training=True)) for _ in range(3)]
    again = [np.asarray(same(x, training=True)) for _ in range(3)]
    np.testing.assert_array_equal(calls, again)
    assert not np.array_equal(calls[0], calls[1])
    assert not np.array_equal(calls[1], calls[2])
    assert not np.array_equal(calls[0], other(x, training=True))


def test_dropout_goes_on_where_the_state_of_its_generator_says() -> None:
    x = tf.ones((20, 30))
    first, second = FusedDropout(0.4, seed=1), FusedDropout(0.4, seed=1)
    first(x, training=True)
    (state,) = first.variables
    (other_state,) = second.variables
    other_state.assign(np.asarray(state))
    np.testing.assert_array_equal(first(x, training=True), second(x, training=True))


@pytest.mark.parametrize("shape", [(3,), (7, 3), (5, 3, 3, 3)])
def test_dropout_takes_an_odd_number_of_values_and_an_unknown_batch(shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    known = np.asarray(FusedDropout(0.4, seed=1)(x, training=True))
    layer = FusedDropout(0.4, seed=1)
    traced = tf.function(
        lambda x: layer(x, training=True),
        input_signature=[tf.TensorSpec((None, *shape[1:]), tf.float32)],
    )
    unknown = np.asarray(traced(x))
    assert known.shape == shape
    np.testing.assert_array_equal(known, unknown)


def test_dropout_runs_in_bfloat16() -> None:
    y = FusedDropout(0.4, seed=1, dtype="mixed_bfloat16")(tf.ones((100, 100)), training=True)
    assert y.dtype == tf.bfloat16
    kept = np.asarray(tf.cast(y, tf.float32)).ravel()
    kept = kept[kept != 0]
    assert len(kept) / 10_000 == pytest.approx(0.6, abs=0.025)
    np.testing.assert_allclose(kept, 1 / 0.6, rtol=2**-8)


@pytest.mark.parametrize("strength", [0.0001, 0.5])
@pytest.mark.parametrize("shape", [(20, 30), (3, 3, 4, 5)])
def test_the_fused_penalty_has_keras_value_and_gradient(
    strength: float, shape: tuple[int, ...]
) -> None:
    weights = tf.constant(draw(shape, seed=0))
    values, gradients = [], []
    for penalty in (FusedL2(strength), keras.regularizers.L2(strength)):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = penalty(weights)
        values.append(float(value))
        gradients.append(np.asarray(tape.gradient(value, weights)))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert values[0] == pytest.approx(strength * float(np.square(weights).sum()), rel=1e-5)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)
    np.testing.assert_allclose(gradients[0], 2 * strength * np.asarray(weights), rtol=1e-6)


def every_layer(factory: LayerFactory) -> list[Any]:
    return [
        factory.rescaling(),
        factory.conv(4, 3, l2=0.1),
        factory.batch_normalization(),
        factory.activation("relu"),
        factory.max_pooling(),
        factory.flatten(),
        factory.dense(5, l2=0.1),
        factory.dropout(0.3),
        *factory.output(3),
    ]


def test_the_kit_for_inference_makes_stock_float32_layers_without_penalties() -> None:
    layers = every_layer(LayerFactory(training=False, bfloat16=False, seed=0))
    assert all(type(layer).__module__.split(".")[0] == "keras" for layer in layers)
    assert all(layer.dtype_policy.name == "float32" for layer in layers)
    assert all(getattr(layer, "kernel_regularizer", None) is None for layer in layers)
    assert [type(layer).__name__ for layer in layers[-2:]] == ["Dense", "Softmax"]


def test_the_kit_for_training_makes_fused_layers_and_gives_logits_in_float32() -> None:
    layers = every_layer(LayerFactory(training=True, bfloat16=True, seed=0))
    kinds = [type(layer) for layer in layers]
    assert FusedBatchNormalization in kinds
    assert FusedDropout in kinds
    assert isinstance(layers[1].kernel_regularizer, FusedL2)
    assert isinstance(layers[6].kernel_regularizer, FusedL2)
    assert layers[-1].name == "logits"
    assert layers[-1].dtype_policy.name == "float32"
    assert all(layer.dtype_policy.name == "mixed_bfloat16" for layer in layers[:-1])


def test_the_kit_draws_initial_weights_by_its_seed_and_each_layers_on_their_own() -> None:
    def draw_kernels(seed: int) -> list[NDArray[np.float32]]:
        factory = LayerFactory(training=True, bfloat16=False, seed=seed)
        layers = [factory.dense(6), factory.dense(6)]
        for layer in layers:
            layer.build((None, 6))
        return [np.asarray(layer.kernel) for layer in layers]

    np.testing.assert_array_equal(draw_kernels(1), draw_kernels(1))
    assert not np.array_equal(draw_kernels(1), draw_kernels(2))
    first, second = draw_kernels(1)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("training", [False, True])
def test_branches_of_branches_are_brought_together(training: bool) -> None:
    factory = LayerFactory(training=training, bfloat16=False, seed=0)
    scaled = [factory.rescaling(2.0)]
    inner = factory.add([], scaled, [factory.activation("relu")])
    outer = factory.concatenate([inner, factory.rescaling(10.0)], [])
    x = draw((3, 4, 5, 2), seed=1)
    given = keras.Input(x.shape[1:])
    model = keras.Model(given, apply_layers([outer], given))
    summed = 10 * (3 * x + np.maximum(x, 0))
    np.testing.assert_allclose(model(x), np.concatenate([summed, x], axis=-1), rtol=1e-5, atol=1e-4)


def test_global_pooling_gives_a_vector_of_maps_of_any_size() -> None:
    factory = LayerFactory(training=False, bfloat16=False, seed=0)
    x = draw((3, 4, 5, 2), seed=1)
    mean = factory.global_average_pooling()(x)
    np.testing.assert_allclose(mean, x.mean(axis=(1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(factory.global_max_pooling()(x), x.max(axis=(1, 2)))
