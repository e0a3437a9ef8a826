from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from burnish.augmentation import augmentation_defaults, augmentation_limits
from burnish.backend import keras
from burnish.errors import StudyError
from burnish.models import (
    FAMILIES,
    Family,
    build_model,
    check_params,
    default_params,
    find_family,
    limits_of,
)
from burnish.models.family import Layers
from burnish.models.layers import FusedDropout, LayerFactory
from burnish.recipe import RECIPE
from burnish.space import Choice, Int, Params, SearchSpace

MNIST = (28, 28, 1)

PUBLISHED_TUNED_CNN: Params = {
    "num_conv_layers": 3,
    "num_filters_first_layer": 16,
    "num_filters_sub_layers": 32,
    "kernel_size": 5,
    "subsample_type": "5x5stride2",
    "dense_layer_size": 256,
    "activation": "relu",
    "batch_normalization": True,
    "dropout_rate": 0.2,
}
"""STUDY.md, section 5, with the dropout of section 6."""

VARIANTS: list[tuple[str, Params]] = [
    ("fnn", {}),
    ("fnn", {"num_hidden_layers": 0}),
    ("fnn", {"num_hidden_layers": 3, "hidden_layer_size": 7, "activation": "tanh"}),
    ("fnn", {"dropout_rate": 0.0, "l2_strength": 0.01, "activation": "gelu"}),
    ("cnn", {}),
    ("cnn", PUBLISHED_TUNED_CNN),
    ("cnn", {"num_conv_layers": 1, "kernel_size": 5, "dropout_rate": 0.3, "activation": "elu"}),
    ("cnn", {"subsample_type": "5x5stride2", "l2_strength": 0.01, "num_filters_sub_layers": 9}),
    ("cnn", {"batch_normalization": True, "dense_layer_size": 11, "activation": "silu"}),
]


def complete(family: Family, params: Params) -> Params:
    full = {**default_params(family), **params}
    check_params(family, full)
    return full


def build(name: str, params: Params, shape: tuple[int, int, int] = MNIST, **arguments: Any) -> Any:
    family = find_family(name)
    arguments = {"training": False, **arguments}
    return build_model(family, complete(family, params), shape, 10, **arguments)


def count_trainable(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def count_dense(inputs: int, units: int, *, bias: bool = True) -> int:
    return inputs * units + (units if bias else 0)


def count_fnn(params: Params, shape: tuple[int, int, int] = MNIST) -> int:
    size, count = int(np.prod(shape)), 0
    for _ in range(int(params["num_hidden_layers"])):
        count += count_dense(size, int(params["hidden_layer_size"]))
        size = int(params["hidden_layer_size"])
    return count + count_dense(size, 10)


def count_cnn(params: Params, shape: tuple[int, int, int] = MNIST) -> int:
    """Trainable numbers: each layer has a bias, or two numbers a feature to normalise it."""
    height, width, channels = shape
    a_feature = 2 if params["batch_normalization"] else 1
    count = 0
    for block in range(int(params["num_conv_layers"])):
        name = "num_filters_sub_layers" if block else "num_filters_first_layer"
        filters = int(params[name])
        count += int(params["kernel_size"]) ** 2 * channels * filters + a_feature * filters
        if params["subsample_type"] == "5x5stride2":
            count += 25 * filters**2 + a_feature * filters
            height, width = -(-height // 2), -(-width // 2)
        else:
            height, width = height // 2, width // 2
        channels = filters
    units = int(params["dense_layer_size"])
    count += height * width * channels * units + a_feature * units
    return count + count_dense(units, 10)


def scatter_weights(model: Any, seed: int = 0) -> list[NDArray[np.float32]]:
    """Set all weights at random, so that none stands at an initial value that hides it."""
    generator = np.random.default_rng(seed)
    weights = []
    for weight in model.weights:
        value = generator.normal(0, 0.1, weight.shape)
        if weight.name in {"gamma", "moving_variance"}:
            value = np.abs(value) + 0.5
        weights.append(value.astype(np.float32))
    model.set_weights(weights)
    return weights


def draw_images(count: int, shape: tuple[int, int, int] = MNIST) -> NDArray[np.float32]:
    pixels = np.random.default_rng(5).integers(0, 256, (count, *shape))
    return pixels.astype(np.float32)


def test_the_baseline_fnn_has_the_weights_of_its_structure() -> None:
    model = build("fnn", {})
    # 784 x 64 + 64, 64 x 64 + 64, 64 x 10 + 10.
    assert count_trainable(model) == 50_240 + 4_160 + 650
    assert model.count_params() == 55_050


def test_the_baseline_cnn_has_the_weights_of_its_structure() -> None:
    model = build("cnn", {})
    # 3x3x1x32 + 32, 3x3x32x64 + 64, 7x7x64 x 64 + 64, 64 x 10 + 10.
    assert count_trainable(model) == 320 + 18_496 + 200_768 + 650
    assert model.count_params() == 220_234


def test_the_published_tuned_cnn_has_231_thousand_trainable_weights() -> None:
    model = build("cnn", PUBLISHED_TUNED_CNN)
    kernels = [5 * 5 * 1 * 16, 5 * 5 * 16 * 16, 5 * 5 * 16 * 32, 3 * (5 * 5 * 32 * 32)]
    normalisations = 2 * (2 * 16 + 4 * 32)
    dense = 4 * 4 * 32 * 256 + 2 * 256
    output = 256 * 10 + 10
    assert sum(kernels) + normalisations + dense + output == 230_874
    assert count_trainable(model) == 230_874
    # The moving mean and variance of each normalised feature are not trained.
    assert model.count_params() == 230_874 + 2 * (2 * 16 + 4 * 32 + 256)


@pytest.mark.parametrize("layers", [0, 1, 3, 16])
@pytest.mark.parametrize("size", [1, 32, 256])
def test_depth_and_width_of_the_fnn_act(layers: int, size: int) -> None:
    params = complete(find_family("fnn"), {"num_hidden_layers": layers, "hidden_layer_size": size})
    model = build("fnn", params)
    assert count_trainable(model) == count_fnn(params)
    assert sum("Dropout" in type(layer).__name__ for layer in model.layers) == layers


@pytest.mark.parametrize(
    "change",
    [
        {"num_conv_layers": 1},
        {"num_conv_layers": 3},
        {"num_conv_layers": 4},
        {"num_filters_first_layer": 5},
        {"num_filters_sub_layers": 5},
        {"kernel_size": 1},
        {"kernel_size": 5},
        {"subsample_type": "5x5stride2"},
        {"subsample_type": "5x5stride2", "num_conv_layers": 5, "num_filters_sub_layers": 4},
        {"dense_layer_size": 11},
        {"batch_normalization": True},
        {"batch_normalization": True, "subsample_type": "5x5stride2"},
    ],
)
@pytest.mark.parametrize("shape", [MNIST, (33, 40, 3)])
def test_each_hyperparameter_of_the_cnns_structure_acts(
    change: Params, shape: tuple[int, int, int]
) -> None:
    params = complete(find_family("cnn"), change)
    assert count_cnn(params, shape) != count_cnn(complete(find_family("cnn"), {}), shape)
    assert count_trainable(build("cnn", params, shape)) == count_cnn(params, shape)


@pytest.mark.parametrize("name", ["fnn", "cnn"])
def test_the_activation_acts_on_all_but_the_output(name: str) -> None:
    images = draw_images(4)
    outputs = []
    for activation in ("relu", "tanh", "gelu", "silu", "elu"):
        model = build(name, {"activation": activation})
        scatter_weights(model)
        outputs.append(np.asarray(model(images)))
        used = [
            layer.activation.__name__
            for layer in model.layers
            if isinstance(layer, keras.layers.Activation)
        ]
        assert used == [activation] * len(used)
        assert len(used) == (2 if name == "fnn" else 3)
    for i, first in enumerate(outputs):
        for second in outputs[i + 1 :]:
            assert np.abs(first - second).max() > 1e-4


def test_a_pooling_cnn_without_normalisation_computes_what_its_layers_say() -> None:
    """Convolution, pooling and dense layer of one block, written out with NumPy."""
    change: Params = {"num_conv_layers": 1, "num_filters_first_layer": 3, "dense_layer_size": 4}
    shape = (6, 6, 2)
    model = build("cnn", change, shape)
    kernel, bias, dense, dense_bias, out, out_bias = scatter_weights(model)
    images = draw_images(2, shape)
    padded = np.pad(images / 255, ((0, 0), (1, 1), (1, 1), (0, 0)))
    convolved = np.zeros((2, 6, 6, 3))
    for y in range(3):
        for x in range(3):
            convolved += padded[:, y : y + 6, x : x + 6] @ kernel[y, x]
    activated = np.maximum(convolved + bias, 0)
    pooled = activated.reshape(2, 3, 2, 3, 2, 3).max(axis=(2, 4))
    hidden = np.maximum(pooled.reshape(2, -1) @ dense + dense_bias, 0)
    np.testing.assert_allclose(model(images), softmax(hidden @ out + out_bias, axis=1), atol=1e-5)


@pytest.mark.parametrize("name", ["fnn", "cnn"])
def test_dropout_acts_in_training_alone(name: str) -> None:
    images = draw_images(4)
    model = build(name, {"dropout_rate": 0.5}, training=True)
    rates = [layer.rate for layer in model.layers if isinstance(layer, FusedDropout)]
    assert rates == [0.5] * (2 if name == "fnn" else 1)
    still = np.asarray(model(images, training=False))
    np.testing.assert_array_equal(model(images, training=False), still)
    first, second = (np.asarray(model(images, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-4
    without = build(name, {"dropout_rate": 0.0}, training=True)
    np.testing.assert_array_equal(without(images, training=True), without(images, training=False))


@pytest.mark.parametrize(("name", "num_kernels"), [("fnn", 2), ("cnn", 3)], ids=["fnn", "cnn"])
def test_the_l2_strength_penalises_every_kernel_but_the_outputs(
    name: str, num_kernels: int
) -> None:
    model = build(name, {"l2_strength": 0.01}, training=True)
    weights = scatter_weights(model)
    kernels = [
        weight
        for weight, variable in zip(weights, model.weights, strict=True)
        if variable.name == "kernel" and "logits" not in variable.path
    ]
    assert len(kernels) == num_kernels
    expected = [0.01 * float(np.square(kernel.astype(np.float64)).sum()) for kernel in kernels]
    assert [float(loss) for loss in model.losses] == pytest.approx(expected, rel=1e-5)
    assert build(name, {"l2_strength": 0.0}, training=True).losses == []


def test_the_seed_gives_the_initial_weights() -> None:
    first, same, other = (build("cnn", {}, training=True, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(first.get_weights(), same.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not a.any() or not np.array_equal(a, c)


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_training_and_inference_models_share_their_weights_and_probabilities(
    name: str, params: Params
) -> None:
    check_family(find_family(name), params)


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_a_bfloat16_training_model_has_the_same_weights_in_float32(
    name: str, params: Params
) -> None:
    trained = build(name, params, training=True, bfloat16=True)
    inference = build(name, params)
    assert [w.shape for w in trained.weights] == [w.shape for w in inference.weights]
    assert all(weight.dtype == "float32" for weight in trained.weights)
    inference.set_weights(scatter_weights(trained))
    logits = np.asarray(trained(draw_images(8), training=False))
    assert logits.dtype == np.float32
    probabilities = np.asarray(inference(draw_images(8)))
    np.testing.assert_allclose(softmax(logits, axis=1), probabilities, atol=0.1)


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_the_inference_model_is_stock_keras_without_penalties(name: str, params: Params) -> None:
    model = build(name, {**params, "l2_strength": 0.01})
    assert type(model).__module__.split(".")[0] == "keras"
    for layer in model.layers:
        assert type(layer).__module__.split(".")[0] == "keras", layer
        assert layer.dtype_policy.name == "float32", layer
        assert getattr(layer, "kernel_regularizer", None) is None, layer
    assert model.losses == []


# Keras 3.15.1 under NumPy 2.4, when it saves: its variables' __array__ takes no copy argument.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_the_saved_model_loads_with_keras_alone_in_safe_mode(tmp_path: Path) -> None:
    images = draw_images(5)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for number, (name, params) in enumerate([VARIANTS[0], VARIANTS[5], VARIANTS[7]]):
        model = build(name, params)
        scatter_weights(model)
        model.save(tmp_path / f"{number}.keras")
        expected[number] = np.asarray(model(images))
    script = """
import sys
import keras, numpy as np
images = np.load("images.npy")
for number in range(3):
    model = keras.saving.load_model(f"{number}.keras", safe_mode=True)
    np.save(f"{number}.npy", model(images))
assert not any(name.split(".")[0] == "burnish" for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for number, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.npy"), probabilities, atol=1e-6)


def test_an_unknown_family_says_which_exist() -> None:
    with pytest.raises(
        StudyError, match=r"unknown model 'cmn'; did you mean 'cnn'\? There are: cnn, fnn"
    ):
        find_family("cmn")


def test_the_defaults_of_every_family_are_complete_and_within_the_limits() -> None:
    for family in FAMILIES:
        params = default_params(family)
        # The others are off unless they are named.
        optional = {*RECIPE, *(set(augmentation_limits().ranges) - set(augmentation_defaults()))}
        assert set(params) | optional == set(limits_of(family).ranges)
        check_params(family, params)


def test_the_published_spaces_lie_within_the_limits() -> None:
    for rate in (0.0001, 0.01):
        check_params(find_family("fnn"), {"learning_rate": rate, "l2_strength": 0.0001})
    check_params(find_family("cnn"), PUBLISHED_TUNED_CNN)
    check_params(
        find_family("cnn"),
        {
            "rotation_range": 0.3,
            "zoom_range": 0.1,
            "width_shift_range": 0.2,
            "height_shift_range": 0.2,
        },
    )


def test_an_unknown_hyperparameter_says_which_exist() -> None:
    with pytest.raises(StudyError) as caught:
        check_params(find_family("fnn"), {"dropout": 0.1})
    assert str(caught.value) == (
        "model 'fnn': unknown hyperparameter 'dropout'; did you mean 'dropout_rate'? There are: "
        "activation, alternating_flip, color_brightness_range, contrast_range, crop_range, "
        "cutmix_alpha, cutout_size, dropout_rate, elastic_range, grey_rate, height_shift_range, "
        "hidden_layer_size, horizontal_flip, hue_range, l2_strength, label_smoothing, "
        "learning_rate, mixup_alpha, momentum, num_hidden_layers, optimizer, rotation_range, "
        "saturation_range, weight_averaging, weight_decay, width_shift_range, zoom_range"
    )


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "fnn",
            {"num_hidden_layers": 17},
            "num_hidden_layers = 17 is out of range: expected a whole number from 0 to 16",
        ),
        (
            "fnn",
            {"hidden_layer_size": 64.0},
            "hidden_layer_size = 64.0 is out of range: expected a whole number from 1 to 8192",
        ),
        (
            "fnn",
            {"num_hidden_layers": True},
            "num_hidden_layers = True is out of range: expected a whole number from 0 to 16",
        ),
        (
            "fnn",
            {"dropout_rate": 1.0},
            "dropout_rate = 1.0 is out of range: expected a number from 0 to 0.95",
        ),
        (
            "cnn",
            {"kernel_size": 4},
            "kernel_size = 4 is out of range: expected a whole number from 1 to 15, step 2",
        ),
        (
            "cnn",
            {"subsample_type": "3x3pool"},
            'subsample_type = \'3x3pool\' is out of range: expected one of "2x2pool", "5x5stride2"',
        ),
        (
            "cnn",
            {"batch_normalization": 1},
            "batch_normalization = 1 is out of range: expected one of false, true",
        ),
        (
            "cnn",
            {"learning_rate": 0},
            "learning_rate = 0 is out of range: expected a number from 1e-07 to 10",
        ),
        (
            "cnn",
            {"rotation_range": -0.1},
            "rotation_range = -0.1 is out of range: expected a number from 0 to 0.5",
        ),
    ],
)
def test_a_value_out_of_range_says_what_was_expected(
    name: str, params: Params, message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        check_params(find_family(name), params)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "subsample_type", "most"),
    [
        ((28, 28, 1), "2x2pool", 4),
        ((28, 28, 1), "5x5stride2", 5),
        ((8, 8, 1), "2x2pool", 3),
        ((8, 40, 3), "2x2pool", 3),
        ((40, 8, 3), "2x2pool", 3),
        ((9, 9, 1), "2x2pool", 3),
        ((9, 9, 1), "5x5stride2", 4),
        ((1, 1, 1), "2x2pool", 0),
    ],
)
def test_a_cnn_too_deep_for_the_images_says_how_deep_it_may_be(
    shape: tuple[int, int, int], subsample_type: str, most: int
) -> None:
    params: dict[str, Any] = {
        "subsample_type": subsample_type,
        "num_filters_first_layer": 2,
        "num_filters_sub_layers": 2,
        "dense_layer_size": 2,
    }
    with pytest.raises(StudyError) as caught:
        build("cnn", {**params, "num_conv_layers": most + 1}, shape)
    assert str(caught.value) == (
        f"num_conv_layers = {most + 1} does not fit images of {shape[0]}x{shape[1]}: "
        f"each layer halves them, so at most {most} fit"
    )
    if most:
        deepest = build("cnn", {**params, "num_conv_layers": most}, shape)
        assert deepest(draw_images(1, shape)).shape == (1, 10)


def test_a_cnn_too_shallow_for_the_images_says_what_it_would_cost() -> None:
    with pytest.raises(StudyError) as caught:
        build("cnn", {"num_conv_layers": 1, "dense_layer_size": 256}, (256, 256, 3))
    assert str(caught.value) == (
        "num_conv_layers = 1 does not fit images of 256x256: it leaves 128x128x32 values, of which "
        "dense_layer_size = 256 makes 134,217,728 weights, more than 100,000,000; "
        "take more layers (up to 8), or fewer filters or units"
    )


@pytest.mark.parametrize(
    ("shape", "depth", "num_classes"),
    [((8, 8, 1), 1, 2), ((8, 8, 3), 3, 1000), ((256, 256, 3), 6, 1000), ((256, 200, 1), 7, 2)],
)
def test_a_cnn_takes_images_from_8x8_to_256x256_and_up_to_a_thousand_classes(
    shape: tuple[int, int, int], depth: int, num_classes: int
) -> None:
    family = find_family("cnn")
    change: Params = {"num_conv_layers": depth, "num_filters_first_layer": 4}
    params = {**default_params(family), **change, "num_filters_sub_layers": 4}
    model = build_model(family, params, shape, num_classes, training=False)
    probabilities = np.asarray(model(draw_images(2, shape)))
    assert probabilities.shape == (2, num_classes)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_an_fnn_takes_images_of_any_size() -> None:
    assert build("fnn", {}, (1, 1, 1))(draw_images(1, (1, 1, 1))).shape == (1, 10)


def check_family(family: Family, change: Params | None = None) -> None:
    """What every family promises, one from outside included."""
    assert set(family.defaults) == set(family.limits.ranges)
    assert family.defaults in family.limits
    assert not set(family.limits.ranges) & {*augmentation_limits().ranges, "learning_rate"}
    assert family.description
    params = complete(family, change or {})
    shape = MNIST
    assert family.explain_misfit(params, shape) is None

    trained = build_model(family, params, shape, 10, training=True, seed=1)
    inference = build_model(family, params, shape, 10, training=False)
    described = [[(w.name, w.shape, w.trainable) for w in m.weights] for m in (trained, inference)]
    assert described[0] == described[1]
    inference.set_weights(scatter_weights(trained))

    images = draw_images(8)
    probabilities = np.asarray(inference(images))
    assert probabilities.shape == (8, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    logits = np.asarray(trained(images, training=False))
    np.testing.assert_allclose(softmax(logits, axis=1), probabilities, atol=1e-5)


def _build_widening(params: Params, factory: LayerFactory) -> Layers:
    layers: Layers = [factory.flatten()]
    for number in range(int(params["depth"])):
        layers += [factory.dense(8 * 2**number, l2=0.01), factory.batch_normalization()]
        layers += [factory.activation("tanh"), factory.dropout(0.1)]
    return layers


WIDENING = Family(
    name="widening",
    description="a family from outside: each layer has twice the units of the one before",
    defaults={"depth": 2, "mood": "good"},
    limits=SearchSpace({"depth": Int(1, 4), "mood": Choice(("good", "bad"))}),
    build=_build_widening,
    convolutional=False,
    explain_misfit=lambda params, shape: None,
)


def test_a_family_from_outside_is_registered_found_and_conforms(
    plug_in: Callable[[Any, Any], None],
) -> None:
    plug_in(FAMILIES, WIDENING)
    assert find_family("widening") is WIDENING
    check_family(find_family("widening"))
    with pytest.raises(StudyError, match="There are: cnn, fnn, pretrained, resnet, widening"):
        find_family("other")


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (replace(WIDENING, name="cnn"), "the model 'cnn' is registered already"),
        (replace(WIDENING, defaults={"depth": 2}), "name different hyperparameters"),
        (
            replace(WIDENING, defaults={"depth": 2, "mood": "good", "x": 1}),
            "name different hyperparameters",
        ),
        (
            replace(WIDENING, defaults={"depth": 5, "mood": "good"}),
            "a default of 'widening' lies outside its limits",
        ),
    ],
)
def test_a_family_that_breaks_the_contract_is_not_registered(family: Family, message: str) -> None:
    before = FAMILIES.names()
    with pytest.raises(ValueError, match=message):
        FAMILIES.register(family)
    assert before == FAMILIES.names()
