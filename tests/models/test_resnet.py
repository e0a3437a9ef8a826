"""Family ``resnet``: its graph, its sizes, its two makes, and its exports."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from burnish.backend import keras
from burnish.bundle.export import export_model
from burnish.bundle.formats.format import NetworkFormat
from burnish.bundle.formats.litert import LITERT
from burnish.bundle.formats.onnx import ONNX
from burnish.bundle.formats.savedmodel import SAVED_MODEL
from burnish.data import Dataset, Split, load_source, prepare
from burnish.errors import StudyError
from burnish.image import InputSpec
from burnish.models import build_model, count_operations, count_weights, default_params, find_family
from burnish.models.layers import FusedBatchNormalization
from burnish.space import Params
from burnish.training import FitRequest, TrainingSettings, fit, restore_model
from tests.models.test_families import (
    build,
    check_family,
    complete,
    count_trainable,
    draw_images,
    scatter_weights,
)

RESNET = find_family("resnet")

SMALL: Params = {"width": 4, "num_stages": 2, "downsampling": "pool"}

VARIANTS: list[Params] = [
    {},
    {"num_blocks": 0, "dropout_rate": 0.3},
    {"num_blocks": 2, "downsampling": "stride", "activation": "silu"},
    {"num_stages": 4, "width": 5, "downsampling": "pool"},
]


def count_resnet(params: Params, shape: tuple[int, int, int], stem: int = 3) -> int:
    """Trainable numbers: kernels, two numbers a normalised channel, and the classifier."""
    width = int(params["width"])
    count = stem**2 * shape[2] * width + 2 * width
    for _ in range(int(params["num_stages"])):
        count += 9 * width * 2 * width + 2 * 2 * width
        width *= 2
        count += int(params["num_blocks"]) * 2 * (9 * width**2 + 2 * width)
    return count + width * 10 + 10


@pytest.mark.parametrize("change", VARIANTS)
def test_it_keeps_what_every_family_promises(change: Params) -> None:
    check_family(RESNET, change)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"width": 5},
        {"num_stages": 1},
        {"num_stages": 3},
        {"num_blocks": 0},
        {"num_blocks": 3},
        {"downsampling": "stride"},
    ],
)
@pytest.mark.parametrize("shape", [(28, 28, 1), (33, 40, 3)])
def test_each_hyperparameter_of_its_structure_acts(
    change: Params, shape: tuple[int, int, int]
) -> None:
    params = complete(RESNET, {**SMALL, **change})
    model = build("resnet", params, shape)
    assert count_trainable(model) == count_resnet(params, shape)
    assert model.count_params() == count_weights(RESNET, params, shape, 10)
    pools = sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers)
    assert pools == (0 if params["downsampling"] == "stride" else int(params["num_stages"]))
    adds = sum(isinstance(layer, keras.layers.Add) for layer in model.layers)
    assert adds == int(params["num_stages"]) * int(params["num_blocks"])


def test_it_computes_what_its_layers_say() -> None:
    """One stage with one block, written out with NumPy."""
    shape = (6, 4, 2)
    model = build("resnet", {"width": 2, "num_stages": 1, "downsampling": "pool"}, shape)
    scatter_weights(model)
    values = {w.path.split("/")[-2] + "/" + w.name: np.asarray(w) for w in model.weights}
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    normalisations = [
        layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(convolutions) == len(normalisations) == 4

    def convolve(number: int, x: Any) -> Any:
        kernel = values[f"{convolutions[number].name}/kernel"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1:3]
        return sum(
            padded[:, y : y + height, z : z + width] @ kernel[y, z]
            for y in range(3)
            for z in range(3)
        )

    def activate(number: int, x: Any) -> Any:
        layer = normalisations[number]
        gamma, beta, mean, variance = (np.asarray(w) for w in layer.get_weights())
        return np.maximum((x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta, 0)

    images = draw_images(3, shape)
    x = activate(0, convolve(0, images / 255))
    x = convolve(1, x).reshape(3, 3, 2, 2, 2, 4).max(axis=(2, 4))
    x = activate(1, x)
    x = x + activate(3, convolve(3, activate(2, convolve(2, x))))
    kernel, bias = values["logits/kernel"], values["logits/bias"]
    expected = softmax(x.mean(axis=(1, 2)) @ kernel + bias, axis=1)
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((8, 8, 1), 1),
        ((28, 28, 1), 1),
        ((32, 32, 3), 1),
        ((48, 300, 3), 1),
        ((64, 64, 3), 2),
        ((200, 190, 3), 4),
        ((256, 256, 1), 8),
    ],
)
def test_it_takes_images_of_any_size_which_the_stem_divides(
    shape: tuple[int, int, int], strides: int
) -> None:
    params = complete(RESNET, {"width": 4})
    models = [
        build_model(RESNET, params, shape, 10, training=training, seed=3)
        for training in (True, False)
    ]
    stem = next(layer for layer in models[1].layers if isinstance(layer, keras.layers.Conv2D))
    assert stem.strides == (strides, strides)
    assert stem.output.shape[1:3] == tuple(-(-side // strides) for side in shape[:2])
    models[1].set_weights(scatter_weights(models[0]))
    images = draw_images(2, shape)
    logits = np.asarray(models[0](images, training=False))
    np.testing.assert_allclose(softmax(logits, axis=1), models[1](images), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        ((8, 8, 1), 3),
        ((15, 40, 3), 3),
        ((28, 28, 1), 4),
        ((50, 50, 3), 4),
        ((97, 98, 1), 4),
        ((256, 256, 3), 5),
    ],
)
def test_too_many_stages_are_refused_with_how_many_fit(
    shape: tuple[int, int, int], most: int
) -> None:
    change: Params = {"width": 1, "num_blocks": 0, "num_stages": most, "downsampling": "pool"}
    deepest = complete(RESNET, change)
    deeper = {**deepest, "num_stages": most + 1}
    message = f"num_stages = {most + 1} does not fit images of {shape[0]}x{shape[1]}"
    with pytest.raises(StudyError, match=f"{message}: .*, so at most {most} fit; or set"):
        build("resnet", deeper, shape)
    for params in (deepest, {**deeper, "downsampling": "stride"}):
        assert build("resnet", params, shape)(draw_images(1, shape)).shape == (1, 10)
    # It is right: more pooling leaves nothing.
    last = [
        layer
        for layer in build("resnet", deepest, shape).layers
        if isinstance(layer, keras.layers.MaxPooling2D)
    ][-1]
    assert min(last.output.shape[1:3]) == 1


def test_too_wide_a_network_says_how_many_weights_it_has() -> None:
    params = complete(RESNET, {"width": 512, "num_stages": 4, "num_blocks": 2})
    misfit = RESNET.explain_misfit(params, (32, 32, 3))
    assert misfit is not None
    kernels = sum(9 * n * n // 2 + 4 * 9 * n * n for n in (1024, 2048, 4096, 8192))
    assert f"makes {kernels:,} weights, more than 100,000,000" in misfit


def test_training_is_fused_and_inference_is_stock_keras() -> None:
    trained = build("resnet", SMALL, training=True)
    normalisations = [
        layer for layer in trained.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(normalisations) == 7
    assert all(isinstance(layer, FusedBatchNormalization) for layer in normalisations)
    stock = build("resnet", {**SMALL, "dropout_rate": 0.2})
    assert {type(layer).__module__.split(".")[0] for layer in stock.layers} == {"keras"}


def test_in_bfloat16_its_weights_are_float32_and_its_probabilities_close() -> None:
    trained = build("resnet", SMALL, training=True, bfloat16=True)
    inference = build("resnet", SMALL)
    assert all(weight.dtype == "float32" for weight in trained.weights)
    adds = [layer for layer in trained.layers if isinstance(layer, keras.layers.Add)]
    assert {layer.output.dtype for layer in adds} == {"bfloat16"}
    inference.set_weights(scatter_weights(trained))
    logits = np.asarray(trained(draw_images(8), training=False))
    np.testing.assert_allclose(
        softmax(logits, axis=1), np.asarray(inference(draw_images(8))), atol=0.1
    )


@pytest.mark.parametrize("shape", [(28, 28, 1), (70, 90, 3)])
def test_its_operations_are_those_that_tensorflow_counts(shape: tuple[int, int, int]) -> None:
    """TensorFlow's profiler counts two a multiplication and addition of a kernel, too."""
    params = complete(RESNET, {"width": 4, "num_blocks": 2})
    model = build("resnet", params, shape)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, *shape))).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    options = options.with_empty_output().with_node_names(
        show_name_regexes=[".*(convolution|MatMul).*"]
    )
    counted = profiler.profile(graph, options=options.build()).total_float_ops
    assert count_operations(RESNET, params, shape, 10) == counted


@pytest.fixture(scope="module")
def digits() -> Dataset:
    study, _ = prepare(load_source("digits", None), None, 0)
    return study


@pytest.fixture(scope="module")
def fitted(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network that has learnt digits of 8x8, saved."""
    params = {**default_params(RESNET), "width": 8, "num_stages": 2, "learning_rate": 0.01}
    settings = TrainingSettings(
        batch_size=32, max_epochs=3, learning_rate_schedule="one-cycle", prediction_shift=0
    )
    request = FitRequest("resnet", params, settings, seed=0)
    result = fit(request, digits)
    assert result.val_accuracy > 0.9
    path = tmp_path_factory.mktemp("resnet") / "model.keras"
    restore_model(request, result.weights, digits).save(path)
    return path


@pytest.mark.parametrize("export_format", [ONNX, LITERT, SAVED_MODEL], ids=lambda f: f.name)
def test_it_learns_and_every_export_of_it_is_certified(
    fitted: Path, digits: Dataset, tmp_path: Path, export_format: NetworkFormat
) -> None:
    target = tmp_path / f"exported{export_format.ending}"
    certificate = export_model(fitted, target, export_format, digits)
    assert certificate["label_agreement"] == 1.0


@pytest.mark.parametrize("export_format", [ONNX, LITERT], ids=lambda f: f.name)
def test_it_is_quantized(
    fitted: Path, digits: Dataset, tmp_path: Path, export_format: NetworkFormat
) -> None:
    target = tmp_path / f"exported{export_format.ending}"
    certificate = export_model(fitted, target, export_format, digits, quantize=True)
    assert certificate["precision"] == "int8"
    assert certificate["accuracy"]["change"] > -0.03


def test_colour_and_a_size_that_does_not_halve_are_exported(
    digits: Dataset, tmp_path: Path
) -> None:
    shape = (51, 62, 3)
    build("resnet", SMALL, shape).save(tmp_path / "odd.keras")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, *shape), dtype=np.uint8)
    split = Split(images, digits.train.labels[:40])
    odd = dataclasses.replace(digits, train=split, val=split, input=InputSpec(51, 62, "rgb"))
    certificate = export_model(tmp_path / "odd.keras", tmp_path / "odd.onnx", ONNX, odd)
    assert certificate["num_images"] == 40
