"""Exports: each in its own runtime against Keras, certified, or not written at all."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.bundle.export import (
    TOLERANCE,
    certificate_file,
    compare_probabilities,
    export_model,
    labels_file,
)
from burnish.bundle.formats import EXPORT_FORMATS, BundleFormat, NetworkFormat
from burnish.bundle.formats.format import Probabilities
from burnish.bundle.formats.keras import KERAS
from burnish.bundle.formats.litert import LITERT
from burnish.bundle.formats.onnx import ONNX
from burnish.bundle.formats.savedmodel import SAVED_MODEL
from burnish.data import Dataset, Split, load_source, prepare
from burnish.errors import ExportError
from burnish.files import hash_file
from burnish.image import InputSpec
from burnish.metrics import accuracy
from burnish.models import build_model, default_params, find_family
from burnish.onnx_runtime import onnxruntime
from burnish.runfolder.store import RunFolder
from burnish.study.parse import parse_study

from . import STUDY, read_json

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """What the tiny run was trained on and judged by."""
    study, _ = parse_study(STUDY, "tiny")
    data, _ = prepare(load_source("digits", None), study.data.split.sizes(), study.seed)
    return data


@pytest.fixture(scope="module")
def model_file(run: RunFolder) -> Path:
    return run.model / "model.keras"


def name_target(folder: Path, export_format: NetworkFormat) -> Path:
    return folder / f"exported{export_format.ending}"


def predict(export_format: NetworkFormat, path: Path, split: Split) -> Probabilities:
    assert export_format.predict is not None
    return export_format.predict(path, split)


def by_name(export_format: NetworkFormat) -> str:
    return export_format.name


NETWORKS = [f for f in EXPORT_FORMATS if isinstance(f, NetworkFormat)]


def test_the_formats_that_ship() -> None:
    assert [f.name for f in NETWORKS] == ["keras", "onnx", "litert", "savedmodel"]
    assert [f.name for f in EXPORT_FORMATS if isinstance(f, BundleFormat)] == ["zip", "folder"]


@pytest.mark.parametrize("export_format", NETWORKS, ids=by_name)
def test_every_format_agrees_with_keras_and_says_so(
    model_file: Path, data: Dataset, tmp_path: Path, export_format: NetworkFormat
) -> None:
    target = name_target(tmp_path, export_format)
    certificate = export_model(model_file, target, export_format, data)
    assert certificate == read_json(certificate_file(target))
    assert set(tmp_path.iterdir()) == {target, certificate_file(target), labels_file(target)}
    assert labels_file(target).read_text("utf-8").splitlines() == list(data.class_names)
    assert certificate["class_names"] == list(data.class_names)
    assert (certificate["format"], certificate["precision"]) == (export_format.name, "float32")
    assert certificate["num_images"] == 200
    assert certificate["label_agreement"] == 1.0
    assert certificate["max_probability_difference"] < TOLERANCE == certificate["tolerance"]
    assert certificate["model_sha256"] == hash_file(model_file)
    assert certificate["data"]["fingerprint"] == data.fingerprint
    assert {"burnish", "keras", "tensorflow"} <= set(certificate["versions"])
    files = [path for path in (target, *target.rglob("*")) if path.is_file()]
    assert certificate["sha256"] == {
        path.relative_to(tmp_path).as_posix(): hash_file(path) for path in files
    }
    assert certificate["bytes"] == sum(path.stat().st_size for path in files)

    # The certificate's word is checked, on images that it was not made with, of other batch sizes.
    reference = keras.saving.load_model(model_file)
    for num in (1, 7, 201):
        some = data.train.take(np.arange(num))
        expected = np.asarray(reference(some.images.astype(np.float32), training=False))
        np.testing.assert_allclose(predict(export_format, target, some), expected, atol=1e-4)


@pytest.mark.parametrize("export_format", [ONNX, LITERT], ids=by_name)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu", "elu"])
def test_colour_odd_sizes_and_every_kind_of_layer_are_exported(
    data: Dataset, tmp_path: Path, activation: str, export_format: NetworkFormat
) -> None:
    family = find_family("cnn" if activation in ("gelu", "elu") else "fnn")
    params = {**default_params(family), "dropout_rate": 0.5, "activation": activation}
    params |= {"l2_strength": 0.1}
    if family.name == "cnn":
        params |= {"subsample_type": "5x5stride2", "batch_normalization": activation == "gelu"}
        params |= {"num_filters_first_layer": 5, "num_filters_sub_layers": 6}
    shape = (11, 14, 3)
    model = build_model(family, params, shape, 10, training=False)
    model.save(tmp_path / "odd.keras")
    random = np.random.default_rng(0)

    def make_split(num: int) -> Split:
        images = random.integers(0, 256, (num, *shape), dtype=np.uint8)
        return Split(images, data.train.labels[:num])

    spec = InputSpec(11, 14, "rgb")
    odd = dataclasses.replace(data, train=make_split(100), val=make_split(203), input=spec)
    target = name_target(tmp_path, export_format)
    certificate = export_model(tmp_path / "odd.keras", target, export_format, odd)
    assert certificate["num_images"] == 203


NAMES = ("Käse", "a, b", "猫", *map(str, range(3, 10)))


@pytest.mark.parametrize("quantize", [False, True])
def test_onnx_and_litert_files_carry_the_names_of_the_classes(
    model_file: Path, data: Dataset, tmp_path: Path, quantize: bool
) -> None:
    named = dataclasses.replace(data, class_names=NAMES)
    for export_format in (ONNX, LITERT):
        target = name_target(tmp_path, export_format)
        export_model(model_file, target, export_format, named, quantize=quantize)
        assert labels_file(target).read_text("utf-8").splitlines() == list(NAMES)
    # As somebody finds them who has these files alone.
    session = onnxruntime.InferenceSession(str(tmp_path / "exported.onnx"))
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["class_names"]) == list(NAMES)
    with zipfile.ZipFile(tmp_path / "exported.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(NAMES)


def test_the_onnx_network_takes_pixels_in_batches_of_any_size_and_holds_no_training(
    run: RunFolder,
) -> None:
    network = onnx.load(run.model / "model.onnx")
    onnx.checker.check_model(network, full_check=True)
    (taken,), (given,) = network.graph.input, network.graph.output
    assert (taken.name, given.name) == ("image", "probabilities")
    assert [d.dim_value for d in taken.type.tensor_type.shape.dim] == [0, 8, 8, 1]
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [0, 10]
    operators = {node.op_type for node in network.graph.node}
    assert not operators & {"Dropout", "RandomUniform", "RandomNormal", "Loop", "If"}
    types = {tensor.data_type for tensor in network.graph.initializer}
    assert onnx.TensorProto.FLOAT in types
    assert types <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    certificate = read_json(certificate_file(run.model / "model.onnx"))
    assert certificate["sha256"] == {"model.onnx": hash_file(run.model / "model.onnx")}
    assert certificate["model_sha256"] == hash_file(run.model / "model.keras")
    assert certificate["label_agreement"] == 1.0


@pytest.mark.parametrize("export_format", [ONNX, LITERT], ids=by_name)
def test_int8_is_calibrated_smaller_and_its_loss_is_told(
    model_file: Path, data: Dataset, tmp_path: Path, export_format: NetworkFormat
) -> None:
    target = name_target(tmp_path, export_format)
    certificate = export_model(model_file, target, export_format, data, quantize=True)
    assert certificate == read_json(certificate_file(target))
    assert set(tmp_path.iterdir()) == {target, certificate_file(target), labels_file(target)}
    assert certificate["precision"] == "int8"
    assert certificate["num_calibration_images"] == 400
    assert certificate["bytes"]["int8"] == target.stat().st_size
    assert certificate["bytes"]["int8"] < 0.5 * certificate["bytes"]["float32"]
    assert certificate["microseconds_per_image"]["int8"] > 0
    told = certificate["accuracy"]
    given = predict(export_format, target, data.val)
    assert told["int8"] == accuracy(given, data.val.labels)
    assert told["change"] == told["int8"] - told["float32"]
    assert told["change"] > -0.05
    assert told["float32"] > 0.5
    # Some of it is really in int8: its probabilities are not those of float32.
    exact = predict(KERAS, model_file, data.val)
    assert 1e-4 < np.abs(given - exact).max() < 0.5


# What does not agree


def spoil(change: Callable[[Any], Any]) -> NetworkFormat:
    """Return ONNX with a runtime that gives something else."""
    return dataclasses.replace(ONNX, predict=lambda p, i: change(predict(ONNX, p, i)))


def add_little(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities[17, 3] += 2e-4
    return probabilities


def swap_labels(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities[5] = np.roll(probabilities[5], 1)
    return probabilities


def fail(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    raise RuntimeError("no such operator\nand much more")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (add_little, "100.0000% of the labels are the same, and the largest difference"),
        (swap_labels, "99.5000% of the labels are the same"),
        (lambda given: given * np.nan, "difference of a probability is nan"),
        (lambda given: given[:, :9], "shape (200, 9), and Keras of (200, 10)"),
        (fail, "cannot be written or run in format onnx: RuntimeError: no such operator"),
    ],
)
def test_an_export_that_does_not_agree_is_an_error_and_leaves_nothing(
    model_file: Path,
    data: Dataset,
    tmp_path: Path,
    change: Callable[[Any], Any],
    told: str,
) -> None:
    with pytest.raises(ExportError) as caught:
        export_model(model_file, tmp_path / "new" / "model.onnx", spoil(change), data)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.name != "new"] == []


def test_ties_may_change_places_and_nothing_else_may() -> None:
    expected = np.array([[0.5, 0.499999, 0], [0.3, 0.7, 0]], np.float32)
    tied = np.array([[0.499999, 0.5, 0], [0.3, 0.7, 0]], np.float32)
    agreement = compare_probabilities(expected, tied)
    assert (agreement["label_agreement"], agreement["num_ties"]) == (1.0, 1)
    assert agreement["max_probability_difference"] == pytest.approx(1e-6, rel=0.1)
    other = compare_probabilities(np.array([[0.6, 0.4]]), np.array([[0.4, 0.6]]))
    assert (other["label_agreement"], other["num_ties"]) == (0.0, 0)


def test_what_is_there_is_not_overwritten(model_file: Path, data: Dataset, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    for there in (certificate_file(target), target):
        there.write_text("mine")
        with pytest.raises(ExportError, match=f"{there.name} is there already"):
            export_model(model_file, target, ONNX, data)
        assert there.read_text() == "mine"
        there.unlink()


@pytest.mark.parametrize(
    ("export_format", "quantize", "told"),
    [
        (SAVED_MODEL, True, "int8 is for onnx, litert, not for savedmodel"),
        (KERAS, True, "int8 is for onnx, litert, not for keras"),
        (
            dataclasses.replace(KERAS, packages=("keras", "no-such-thing")),
            False,
            "the format keras needs no-such-thing: pip install no-such-thing",
        ),
        (dataclasses.replace(KERAS, predict=None), False, "nothing runs the format keras"),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(
    model_file: Path,
    data: Dataset,
    tmp_path: Path,
    export_format: NetworkFormat,
    quantize: bool,
    told: str,
) -> None:
    with pytest.raises(ExportError) as caught:
        export_model(model_file, tmp_path / "x.keras", export_format, data, quantize=quantize)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_must_have_the_suffix_by_which_its_runtime_knows_it(
    model_file: Path, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"give one that ends in \.tflite"):
        export_model(model_file, tmp_path / "network.lite", LITERT, data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(
    model_file: Path, data: Dataset, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="cannot write"):
        export_model(model_file, tmp_path / "model.onnx", ONNX, data)
