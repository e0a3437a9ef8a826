"""burnish.load, and what a loaded model takes, gives and refuses."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import burnish
from burnish.bundle import write_bundle
from burnish.bundle.archive import pack
from burnish.bundle.model import Model, load
from burnish.data import load_source, prepare
from burnish.errors import BundleError, ImageError
from burnish.image import NO_INK, InputSpec
from burnish.runfolder.predictions import read_predictions
from burnish.runfolder.store import RunFolder
from burnish.study.parse import parse_study

from . import STUDY, make_facts

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def write_toy(
    folder: Path,
    *,
    takes: Any = (None, 4, 6, 3),
    num_outputs: int = 3,
    type_: int = TensorProto.FLOAT,
    network: bytes | None = None,
) -> Path:
    """Write a bundle of 4x6 colour images in 3 classes: which channel is brightest on average."""
    mean = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0)
    scaled = helper.make_node("MatMul", ["mean", "weights"], ["logits"])
    weights = np.eye(3, num_outputs, dtype="f4" if type_ == TensorProto.FLOAT else "f8")
    graph = helper.make_graph(
        [mean, scaled, helper.make_node("Softmax", ["logits"], ["probabilities"])],
        "toy",
        [helper.make_tensor_value_info("image", type_, takes)],
        [helper.make_tensor_value_info("probabilities", type_, (None, num_outputs))],
        [numpy_helper.from_array(weights, "weights")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir()
    (folder / "toy.keras").write_bytes(b"weights")
    (folder / "model.onnx").write_bytes(network or made.SerializeToString())
    facts = make_facts(spec=InputSpec(4, 6, "rgb"), class_names=("red", "green", "blue"))
    write_bundle(folder / "model", folder / "toy.keras", facts, [folder / "model.onnx"])
    return folder / "model"


@pytest.fixture
def toy(tmp_path: Path) -> Model:
    return load(write_toy(tmp_path / "toy"))


def paint(color: str, size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, color)


def test_a_run_its_bundle_and_a_zip_file_give_the_same_model(
    run: RunFolder, tmp_path: Path
) -> None:
    pack(run.model, tmp_path / "tiny.zip")
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 2:7, 3] = 255
    given = [
        burnish.load(path).predict_arrays(image)
        for path in (run.path, str(run.model), tmp_path / "tiny.zip")
    ]
    np.testing.assert_array_equal(given[0], given[1])
    np.testing.assert_array_equal(given[0], given[2])


def test_the_model_says_what_the_final_stage_said(run: RunFolder, tiny: Model) -> None:
    study, _ = parse_study(STUDY, "tiny")
    _, sealed = prepare(load_source("digits", None), study.data.split.sizes(), study.seed)
    expected = read_predictions(run.path / "stages/02-final/predictions.parquet").probabilities
    found = tiny.predict_arrays(sealed.open().images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (tiny.name, tiny.class_names) == ("tiny", tuple("0123456789"))
    assert tiny.spec == InputSpec(8, 8, "grey", recipe="digit")
    assert tiny.contract["metrics"]["test"]["num_images"] == 200


def test_paths_contents_images_and_arrays_give_the_same(toy: Model, tmp_path: Path) -> None:
    images = [paint("red"), paint("lime"), paint("blue"), paint("red")]
    arrays = np.stack([np.asarray(image) for image in images])
    paths = []
    for place, image in enumerate(images):
        paths.append(tmp_path / f"{place}.png")
        image.save(paths[-1])
    ways: list[Any] = [
        images,
        iter(images),
        list(arrays),
        arrays,
        paths,
        [str(path) for path in paths],
        [path.read_bytes() for path in paths],
        [images[0], arrays[1], paths[2], paths[3].read_bytes()],
    ]
    for way in ways:
        labels, probabilities = toy.predict(way, batch_size=3)
        assert labels == ["red", "green", "blue", "red"]
        assert probabilities.shape == (4, 3)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_an_image_without_ink_has_no_label_a_row_of_nan_and_a_reason(tiny: Model) -> None:
    drawn = np.zeros((40, 40), np.uint8)
    drawn[5:35, 18:22] = 255
    empty = np.full((40, 40), 255, np.uint8)
    found = tiny.predict([empty, drawn, np.zeros((1, 1), np.uint8)], batch_size=2)
    labels, probabilities = found
    assert [labels[0], labels[2]] == [None, None]
    assert labels[1] in tiny.class_names
    assert np.isnan(probabilities).all(axis=1).tolist() == [True, False, True]
    assert found.reasons == [NO_INK, None, NO_INK]
    # Whoever has prepared images asks for what is blank, and gets the network's own answer.
    prepared = np.stack([tiny.prepare(empty), tiny.prepare(drawn)])
    assert tiny.find_blank(prepared).tolist() == [True, False]
    assert np.isfinite(tiny.predict_arrays(prepared)).all()


def test_with_another_recipe_a_black_image_is_an_image_like_any(toy: Model) -> None:
    labels, probabilities = toy.predict(np.zeros((6, 6, 3), np.uint8))
    assert labels[0] in toy.class_names
    assert np.isfinite(probabilities).all()


def test_one_image_needs_no_list(toy: Model, tmp_path: Path) -> None:
    paint("blue").save(tmp_path / "blue.png")
    one: list[Any] = [
        tmp_path / "blue.png",
        str(tmp_path / "blue.png"),
        (tmp_path / "blue.png").read_bytes(),
        paint("blue"),
        np.asarray(paint("blue")),
    ]
    for image in one:
        assert toy.predict(image).labels == ["blue"]


def test_no_image_is_no_error(toy: Model) -> None:
    assert toy.predict([]).labels == []
    assert toy.predict([]).probabilities.shape == (0, 3)
    assert toy.predict_arrays(np.zeros((0, 4, 6, 3), np.uint8)).shape == (0, 3)


def test_more_images_than_a_batch_come_back_in_their_order(toy: Model) -> None:
    colors = np.eye(3, dtype=np.uint8)[np.arange(700) % 3] * 200
    images = np.broadcast_to(colors[:, None, None, :], (700, 4, 6, 3))
    np.testing.assert_array_equal(toy.predict_arrays(images).argmax(axis=1), np.arange(700) % 3)
    assert toy.predict(images, batch_size=64).labels == [
        toy.class_names[place % 3] for place in range(700)
    ]


def test_images_of_all_modes_and_a_turned_one_are_brought_to_the_right_form(toy: Model) -> None:
    for mode in ("I;16", "I", "F", "P", "1", "LA", "RGBA", "CMYK"):
        assert toy.prepare(Image.new(mode, (5, 7))).shape == (4, 6, 3)
    # Red above, blue below; its EXIF says that it is to be turned upside down.
    image = Image.new("RGB", (60, 40), "red")
    image.paste("blue", (0, 20, 60, 40))
    exif = Image.Exif()
    exif[0x0112] = 3
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    prepared = toy.prepare(buffer.getvalue())
    assert prepared[0, 0].tolist() == [0, 0, 255]
    assert toy.prepare(Image.open(buffer))[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((5, 5)), "float64; the model was trained on images of 8 bits, and expects"),
        (np.zeros((5, 5)), "uint8 from 0 to 255: (array * 255).round().astype('uint8')"),
        (np.full((5, 5), 99.0, np.float32), "array.round().astype('uint8')"),
        (np.full((5, 5), 4095), "has values from 4095 to 4095; map those that were black and"),
        (np.zeros((5, 5), "U1"), "numbers are needed"),
        (np.zeros((5, 5, 5), np.uint8), "shape (5, 5, 5); expected (height, width)"),
        (np.zeros((7, 28, 28), np.uint8), "(num_images, height, width, channels)"),
        (np.zeros((0, 5), np.uint8), "shape (0, 5)"),
        (np.zeros(5, np.uint8), "shape (5,)"),
        (np.zeros((1, 1, 5, 5, 1), np.uint8), "shape (1, 1, 5, 5, 1)"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "100,000,000 pixels; at most 64,000,000"),
        (b"", "is empty"),
        (b"not an image", "is not an image of a known format"),
        (3, "is a int; expected a path"),
        (None, "is a NoneType; expected a path"),
    ],
)
def test_what_is_no_image_is_refused_with_the_mend(toy: Model, image: Any, told: str) -> None:
    with pytest.raises(ImageError) as caught:
        toy.prepare(image)
    assert told in str(caught.value)
    assert str(caught.value).startswith("the image ")
    with pytest.raises(ImageError, match=r"^image 1 "):
        toy.predict([paint("red"), image])


def test_a_file_that_is_no_image_is_named(toy: Model, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    paint("red").save(good)
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    for path in (bad, str(bad), tmp_path / "absent.png", tmp_path):
        with pytest.raises(ImageError) as caught:
            toy.predict([good, path])
        assert str(caught.value).startswith(f"{path} ")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 6, 3), np.float32),
        np.zeros((2, 4, 6, 1), np.uint8),
        np.zeros((2, 6, 4, 3), np.uint8),
        np.zeros((4, 6, 3), np.uint8),
    ],
)
def test_prepared_arrays_must_have_the_models_own_shape(
    toy: Model, images: NDArray[np.uint8]
) -> None:
    with pytest.raises(ImageError, match=r"expected uint8 of shape \(num_images, 4, 6, 3\)"):
        toy.predict_arrays(images)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"takes": (None, 4, 5, 3)}, "takes tensor(float) of shape [None, 4, 5, 3]; by"),
        ({"takes": (None, 6, 4, 3)}, "should be tensor(float) of shape ['num_images', 4, 6, 3]"),
        ({"takes": (1, 4, 6, 3)}, "should be tensor(float) of shape ['num_images', 4, 6, 3]"),
        ({"num_outputs": 10}, "should be tensor(float) of shape ['num_images', 3]"),
        ({"type_": TensorProto.DOUBLE}, "takes tensor(double)"),
        ({"network": b"nonsense"}, "model.onnx is no ONNX file, or damaged"),
        ({"network": b"\x18\0\0\0ORTM" + bytes(16)}, "model.onnx is in onnxruntime's own format"),
        ({"network": b"\x08\x09"}, "model.onnx cannot be loaded by onnxruntime"),
    ],
)
def test_a_network_that_does_not_keep_the_contract_is_refused(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    folder = write_toy(tmp_path / "toy", **changed)
    with pytest.raises(BundleError) as caught:
        load(folder)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{folder}: model.onnx ")


def hide(tensor: TensorProto, place: str) -> None:
    """Say of a tensor that its numbers are in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place


@pytest.mark.parametrize("where", ["initializer", "constant", "branch", "sparse", "function"])
def test_a_network_that_keeps_its_weights_in_another_file_is_refused(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the file the tensor is, and before onnxruntime sees any of it."""
    folder = write_toy(tmp_path / "toy")
    network = onnx.load(folder / "model.onnx")
    secret = tmp_path / "toy" / "secret"
    secret.write_bytes(bytes(4 * 9))
    tensor = onnx.numpy_helper.from_array(np.zeros(9, np.float32), "hidden")
    hide(tensor, str(secret))
    constant = onnx.helper.make_node("Constant", [], ["hidden"], value=tensor)
    if where == "initializer":
        hide(network.graph.initializer[0], str(secret))
    elif where == "constant":
        network.graph.node.insert(0, constant)
    elif where == "branch":
        branch = onnx.helper.make_graph([constant], "branch", [], [])
        network.graph.node.append(
            onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
        )
    elif where == "sparse":
        network.graph.sparse_initializer.add().values.CopyFrom(tensor)
    else:
        function = onnx.helper.make_function(
            "own", "f", [], ["hidden"], [constant], [onnx.helper.make_opsetid("", 17)]
        )
        network.functions.append(function)
    toy = write_toy(tmp_path / "other", network=network.SerializeToString())

    def never(*_: object, **__: object) -> None:
        raise AssertionError("onnxruntime was given the file")

    monkeypatch.setattr("onnxruntime.InferenceSession", never)
    with pytest.raises(BundleError, match=r"model\.onnx keeps weights in another file"):
        load(toy)


def test_the_number_of_threads_may_be_given(run: RunFolder, tiny: Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    one = load(run.path, threads=1).predict_arrays(images)
    np.testing.assert_allclose(one, tiny.predict_arrays(images), atol=1e-6)
    with pytest.raises(ValueError, match="threads = 0"):
        load(run.path, threads=0)


WHAT_IS_IMPORTED = """
import sys
import burnish
model = burnish.load(sys.argv[1])
image = sys.argv[2]
assert len(model.predict([image]).labels) == 1
heavy = {"tensorflow", "keras", "sklearn", "scipy", "onnx", "matplotlib", "optuna", "pydantic"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_model_in_use_needs_no_tensorflow(run: RunFolder, tmp_path: Path) -> None:
    paint("white").save(tmp_path / "white.png")
    command = [sys.executable, "-c", WHAT_IS_IMPORTED, str(run.path), str(tmp_path / "white.png")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_import_burnish_alone_imports_next_to_nothing() -> None:
    code = "import sys, burnish; print({'numpy', 'PIL', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        burnish.lode  # noqa: B018
