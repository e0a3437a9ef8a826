"""Model files that would run code, read other files or take memory: refused with a clear error."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from burnish.backend import keras, refuse_old_keras
from burnish.errors import BundleError, SetupError, StudyError
from burnish.models.backbones import BACKBONES
from burnish.models.efficientnet_lite import LITES
from burnish.models.pretrained import PRETRAINED
from burnish.models.saved import load_saved, refuse_unsafe_weights


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A small model, as Keras saves it."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="relu")])
    model.save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    other = path.with_name("bad.keras")
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return other


def with_layer(**changed: Any) -> Callable[[dict[str, bytes]], None]:
    """Change what the description says of the last layer."""

    def change(members: dict[str, bytes]) -> None:
        description = json.loads(members["config.json"])
        description["config"]["layers"][-1] |= changed
        members["config.json"] = json.dumps(description).encode()

    return change


def with_weights(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def rewrite_weights(members: dict[str, bytes]) -> None:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            change(file)
        members["model.weights.h5"] = buffer.getvalue()

    return rewrite_weights


def test_what_keras_saves_is_loaded_and_gives_the_same(good: Path) -> None:
    model = load_saved(good)
    reference = keras.saving.load_model(good)
    given = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(given), reference.predict_on_batch(given))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}},
            r"names os\.system, which is not Keras's",
        ),
        (
            {"module": "builtins", "class_name": "exec", "config": "print(1)"},
            r"names builtins\.exec, which is not Keras's",
        ),
        ({"module": "keras_nlp.evil", "class_name": "X"}, r"names keras_nlp\.evil\.X"),
        ({"module": ["keras"], "class_name": "Dense"}, "which is not Keras's"),
        ({"class_name": "Lambda"}, "has a layer 'Lambda', which runs code"),
        ({"class_name": "TFSMLayer"}, "has a layer 'TFSMLayer', which runs code"),
        ({"class_name": "TorchModuleWrapper"}, "which runs code"),
        ({"class_name": "NoSuchLayer"}, "Keras cannot load it"),
    ],
)
def test_layers_that_run_code_or_come_from_elsewhere_are_refused(
    good: Path, changed: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    with pytest.raises(BundleError, match=told) as caught:
        load_saved(rewrite(good, with_layer(**changed)))
    assert "bad.keras: " in str(caught.value)
    assert not (good.parent / "pwned").exists()


def test_a_lambda_layer_as_keras_saves_it_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(BundleError, match=r"lambda\.keras: has a layer 'Lambda', which runs code"):
        load_saved(tmp_path / "lambda.keras")


def test_a_class_that_this_process_has_registered_is_its_own(tmp_path: Path) -> None:
    class Doubling(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return 2 * x

    name = "tests>Doubling"
    model = keras.Sequential([keras.Input((3,)), Doubling()])
    keras.saving.register_keras_serializable("tests")(Doubling)
    try:
        model.save(tmp_path / "own.keras")
        given = np.ones((1, 3), np.float32)
        assert load_saved(tmp_path / "own.keras").predict_on_batch(given).tolist() == [[2, 2, 2]]
    finally:
        keras.saving.get_custom_objects().pop(name)
    with pytest.raises(BundleError, match="registered nowhere here"):
        load_saved(tmp_path / "own.keras")


def test_models_in_hdf5_and_pickles_are_refused_by_any_name(good: Path) -> None:
    folder = good.parent
    model = keras.saving.load_model(good)
    (folder / "model.pkl").write_bytes(pickle.dumps(model.get_weights()))
    for suffix in (".h5", ".pkl", ".pt", ""):
        path = folder / f"model{suffix}"
        path.touch()
        with pytest.raises(BundleError, match=r"read from \.keras files alone"):
            load_saved(path)
    with h5py.File(folder / "disguised.keras", "w") as file:
        file.attrs["model_config"] = "{}"
    with pytest.raises(BundleError, match="Keras cannot load it"):
        load_saved(folder / "disguised.keras")


def add_external_storage(file: Any) -> None:
    file.create_dataset("stolen", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def add_external_link(file: Any) -> None:
    file["stolen"] = h5py.ExternalLink("/etc/passwd", "/")


def add_soft_link(file: Any) -> None:
    file["loop"] = h5py.SoftLink("/loop")


def add_virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("stolen", layout)


def add_bomb(file: Any) -> None:
    file.create_dataset("bomb", (2**40,), "f4", chunks=(2**20,))


BAD_ARRAYS = [
    (add_external_storage, "in another file"),
    (add_external_link, "to elsewhere"),
    (add_soft_link, "to elsewhere"),
    (add_virtual, "in another file"),
    (add_bomb, r"announces 4,398,\d{3},\d{3},\d{3} bytes of weights"),
]


@pytest.mark.parametrize(("add", "told"), BAD_ARRAYS)
def test_weights_that_lead_elsewhere_or_to_too_much_are_refused(
    good: Path, add: Callable[[Any], None], told: str
) -> None:
    with pytest.raises(BundleError, match=told):
        load_saved(rewrite(good, with_weights(add)))
    weights = good.parent / "some.weights.h5"
    keras.saving.load_model(good).save_weights(weights)
    refuse_unsafe_weights(weights)
    with h5py.File(weights, "r+") as file:
        add(file)
    with pytest.raises(BundleError, match=told):
        refuse_unsafe_weights(weights)


def add_member(members: dict[str, bytes]) -> None:
    members["assets/run.sh"] = b"rm"


def forget_weights(members: dict[str, bytes]) -> None:
    del members["model.weights.h5"]


def nest(members: dict[str, bytes]) -> None:
    members["config.json"] = b'{"a":' * 100_000


def blow_up(members: dict[str, bytes]) -> None:
    members["config.json"] = bytes(2**25 + 1)


def break_weights(members: dict[str, bytes]) -> None:
    members["model.weights.h5"] = b"no weights"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (add_member, "holds assets/run.sh"),
        (forget_weights, "a .keras file of burnish holds"),
        (nest, "Keras cannot load it"),
        (blow_up, "config.json in it has 33,554,433 bytes"),
        (break_weights, "Keras cannot load it"),
    ],
)
def test_files_of_another_make_are_refused(
    good: Path, change: Callable[[dict[str, bytes]], None], told: str
) -> None:
    with pytest.raises(BundleError) as caught:
        load_saved(rewrite(good, change))
    assert told in str(caught.value)


@pytest.mark.parametrize("cut", [0, 10, 500, -1, -200])
def test_a_file_that_is_cut_off_is_refused(good: Path, cut: int) -> None:
    good.write_bytes(good.read_bytes()[:cut])
    with pytest.raises(BundleError, match=r"good\.keras: Keras cannot load it"):
        load_saved(good)


# Weights that a study's author gives for a pretrained network.

PARAMS = {**PRETRAINED.defaults, "backbone": "mobilenet-v3-small"}


def test_local_weights_are_arrays_in_hdf5_and_nothing_else(good: Path) -> None:
    folder = good.parent
    with h5py.File(folder / "whole.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    with h5py.File(folder / "away.h5", "w") as file:
        add_external_storage(file)
    (folder / "weights.pkl").write_bytes(pickle.dumps([1]))
    shutil.copy(good, folder / "weights.keras")
    for name, told in (
        ("whole.h5", "holds a whole model, which can run code"),
        ("away.h5", "in another file"),
        ("weights.pkl", r"is no \.h5 file"),
        ("weights.keras", r"is no \.h5 file"),
    ):
        with pytest.raises(StudyError, match=told) as caught:
            PRETRAINED.find_files({**PARAMS, "weights": str(folder / name)})
        assert "as keras.applications downloads" in str(caught.value)


def test_nothing_is_downloaded_without_a_known_hash() -> None:
    """Keras's own table has a hash of each of its backbones but MobileNetV2, which is refused."""
    from keras.src.applications import convnext, mobilenet_v3, resnet

    known = {
        "mobilenet-v3-small": mobilenet_v3.WEIGHTS_HASHES["small_224_1.0_float"],
        "mobilenet-v3-large": mobilenet_v3.WEIGHTS_HASHES["large_224_1.0_float"],
        "resnet50-v2": resnet.WEIGHTS_HASHES["resnet50v2"],
        "convnext-tiny": convnext.WEIGHTS_HASHES["convnext_tiny"],
    }
    for name, backbone in BACKBONES.items():
        # Those without an application come by pip, and burnish has their hashes.
        assert bool(backbone.application) == (name not in LITES)
        assert backbone.has_hash == (name in known or name in LITES), name
    for lite in LITES.values():
        assert len(lite.sha256) == 64
    for hashes in known.values():
        assert all(len(one) in (32, 64) and int(one, 16) for one in hashes)
    with pytest.raises(StudyError, match="fetches nothing without a known hash"):
        PRETRAINED.find_files({**PARAMS, "backbone": "mobilenet-v2", "weights": "imagenet"})


# Keras itself.


@pytest.mark.parametrize("version", ["3.15.1", "3.15.2", "3.16", "4.0.0.dev1"])
def test_a_keras_that_is_new_enough_is_taken(version: str) -> None:
    refuse_old_keras(version)


@pytest.mark.parametrize("version", ["3.15.0", "3.9.2", "2.15.0", "3.15"])
def test_an_old_keras_is_refused_with_what_to_do(version: str) -> None:
    with pytest.raises(SetupError, match=rf"Keras {version} .*at least 3\.15\.1.*pip install"):
        refuse_old_keras(version)


def test_an_old_keras_on_the_path_ends_the_command_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text('__version__ = "3.14.0"\n', encoding="utf-8")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.argv[1:] = ['run', 'digits'];"
        "from burnish.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Keras 3.14.0 is installed; burnish needs at least 3.15.1")
    assert "Traceback" not in done.stderr
