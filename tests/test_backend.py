"""The surroundings of Keras: what a user's other work has set changes no study."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.backend import (
    collecting_often,
    describe_settings,
    keras,
    pin_settings,
    refuse_old_keras,
    refuse_other_backend,
)
from burnish.errors import SetupError

SETTINGS = """
import json, os
from burnish.backend import BACKEND, describe_settings, keras
config = keras.config
print(json.dumps([BACKEND, describe_settings(), config.max_epochs(), config.dtype_policy().name]))
"""


def import_backend(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "KERAS_HOME": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-c", SETTINGS], env=env, capture_output=True, text=True, check=False
    )


def test_neither_keras_json_nor_variables_change_what_is_computed(tmp_path: Path) -> None:
    other = {
        "floatx": "float16",
        "epsilon": 1e-3,
        "backend": "jax",
        "image_data_format": "channels_first",
        "nnx_enabled": True,
    }
    (tmp_path / "keras.json").write_text(json.dumps(other), encoding="utf-8")
    variables = {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "x", "KERAS_NNX_ENABLED": "1"}
    done = import_backend(tmp_path, TF_USE_LEGACY_KERAS="1", **variables)
    assert done.returncode == 0, done.stderr
    backend, settings, max_epochs, policy = json.loads(done.stdout)
    assert settings == describe_settings()
    assert (backend, max_epochs, policy) == ("tensorflow", None, "float32")
    assert settings["floatx"] == "float32"
    assert settings["epsilon"] == 1e-7
    assert settings["image_data_format"] == "channels_last"


@pytest.mark.parametrize("content", ['{"epsilon": 1}', "[]", '{"floatx": "float99"}'])
def test_a_keras_json_that_keras_cannot_read_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(content, encoding="utf-8")
    done = import_backend(tmp_path)
    assert f"SetupError: Keras cannot read its settings file {tmp_path}/keras.json" in done.stderr
    assert "set KERAS_HOME to another folder" in done.stderr


def test_a_user_without_a_home_folder_gets_no_folder_of_that_name(tmp_path: Path) -> None:
    """TensorFlow would make one that is called ``~``."""
    nobody = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if shutil.which("unshare") is None or subprocess.run([*nobody, "true"], check=False).returncode:
        pytest.skip("a user without an entry in the list of users cannot be made here")
    env = {name: v for name, v in os.environ.items() if name not in ("HOME", "KERAS_HOME")}
    program = SETTINGS + "import tensorflow.python.keras.backend"
    done = subprocess.run(
        [*nobody, sys.executable, "-c", program],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


WRAPPERS = """
import sys
from burnish.backend import keras
print([name for name in ("sklearn", "matplotlib") if name in sys.modules])
from keras.src.visualization.plot_image_gallery import plot_image_gallery
import sklearn.base, matplotlib.pyplot
assert issubclass(keras.wrappers.SKLearnClassifier, sklearn.base.BaseEstimator)
assert keras._tf_keras.keras.wrappers.SKLearnClassifier is keras.wrappers.SKLearnClassifier
assert keras.visualization.plot_image_gallery is plot_image_gallery
assert plot_image_gallery.__globals__["plt"] is matplotlib.pyplot
print(getattr(keras, "absent", "absent"))
"""


def test_keras_comes_without_what_only_its_wrappers_need_and_they_come_when_asked() -> None:
    """Without scikit-learn and matplotlib its import takes two thirds of the time."""
    done = subprocess.run([sys.executable, "-c", WRAPPERS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\nabsent\n"), done.stderr


def test_what_a_program_has_set_since_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = describe_settings()
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    assert describe_settings() != before
    pin_settings()
    assert describe_settings() == before
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    assert describe_settings() == {**before, "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}


def test_another_backend_and_an_old_keras_are_refused_with_what_to_do() -> None:
    refuse_other_backend("tensorflow")
    with pytest.raises(SetupError, match=r"runs on jax .* set KERAS_BACKEND=tensorflow before"):
        refuse_other_backend("jax")
    with pytest.raises(SetupError, match=r"Keras 3\.9\.0 is installed"):
        refuse_old_keras("3.9.0")


class Heavy:
    """A circle of references, as a copied network is: only the collector frees it."""

    alive = 0

    def __init__(self) -> None:
        self.parts = [[self] for _ in range(3_000)]
        Heavy.alive += 1

    def __del__(self) -> None:
        Heavy.alive -= 1


def make_circles(count: int) -> int:
    """Return how many were there at once, at most."""
    most = 0
    for _ in range(count):
        Heavy()
        most = max(most, Heavy.alive)
    return most


def test_circles_are_collected_before_many_have_piled_up() -> None:
    crowd = [[number] for number in range(1_000_000)]  # As the imports are, for the collector.
    gc.collect()
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    piled_up = make_circles(100)
    with collecting_often():
        most = make_circles(100)
    assert gc.get_threshold() == thresholds
    assert (gc.get_freeze_count() > 0) == (frozen > 0)
    assert most < 20 < piled_up
    del crowd
