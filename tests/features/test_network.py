from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from burnish.backend import keras
from burnish.features.network import FrozenNetwork
from burnish.models import default_params, find_family
from burnish.models.backbones import NONE, load_backbone
from burnish.models.family import FrozenPart
from burnish.space import Value

from ..support.photographs import cut_photographs

FAMILY = find_family("pretrained")
IMAGES = cut_photographs(6, 64).astype(np.float32)


def freeze(change: dict[str, Value], channels: int = 3) -> FrozenPart:
    part = FAMILY.freeze({**default_params(FAMILY), **change}, (64, 64, channels))
    assert part is not None
    return part


@pytest.mark.parametrize(
    ("change", "channels", "shape"),
    [
        ({}, 3, (1, 1, 1280)),
        ({"num_trainable_blocks": 2, "input_size": 96}, 3, (3, 3, 192)),
        ({"input_size": 96}, 1, (1, 1, 1280)),
    ],
)
def test_what_onnxruntime_gives_is_what_keras_gives(
    tmp_path: Path, change: dict[str, Value], channels: int, shape: tuple[int, int, int]
) -> None:
    part = freeze(change, channels)
    images = IMAGES[..., :channels]
    found = FrozenNetwork(part, tmp_path).run(images)
    assert found.shape == (6, *shape)
    expected = np.asarray(part.build()(images)).reshape(found.shape)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert expected.std(axis=0).max() > 0.1


def test_the_network_is_written_once_and_again_where_it_is_damaged(tmp_path: Path) -> None:
    built: list[int] = []

    def build() -> object:
        built.append(1)
        initializer = keras.initializers.GlorotUniform(seed=4)
        inputs = keras.Input((64, 64, 3))
        x = keras.layers.Conv2D(5, 3, 16, kernel_initializer=initializer)(inputs)
        return keras.Model(inputs, x)

    counted = FrozenPart("small", build)
    expected = FrozenNetwork(counted, tmp_path).run(IMAGES)
    np.testing.assert_array_equal(FrozenNetwork(counted, tmp_path).run(IMAGES), expected)
    assert len(built) == 1
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1000])
    np.testing.assert_array_equal(FrozenNetwork(counted, tmp_path).run(IMAGES), expected)
    assert len(built) == 2
    FrozenNetwork(FrozenPart("another", build), tmp_path)
    assert len(built) == 3


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "mobilenet-v3-small"])
@pytest.mark.parametrize("num_blocks", [0, 2])
@pytest.mark.parametrize("input_size", [0, 75])
def test_the_shape_that_is_foretold_is_the_one_that_comes(
    backbone: str, num_blocks: int, input_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.models.pretrained.describe_weights", lambda name, weights: "none")
    change: dict[str, Value] = {
        "backbone": backbone,
        "num_trainable_blocks": num_blocks,
        "input_size": input_size,
    }
    part = freeze(change | {"weights": "a file that is not read"})
    assert part.find_shape is not None
    monkeypatch.setattr(
        "burnish.models.pretrained.load_backbone", lambda name, weights: load_backbone(name, NONE)
    )
    assert part.find_shape() == part.build().output_shape


MEASURE = """
import sys, threading, time
import subprocess
import sys
from pathlib import Path
from burnish.features.network import FrozenNetwork
from burnish.models import default_params, find_family

def own():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))

def watch():
    while True:
        seen.append(own())
        time.sleep(0.01)

family = find_family("pretrained")
part = family.freeze(default_params(family), (256, 256, 3))
before, seen = own(), []
threading.Thread(target=watch, daemon=True).start()
FrozenNetwork(part, Path(sys.argv[1]))
print(max(seen) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by /proc")
def test_writing_a_network_of_14_megabytes_takes_no_gigabyte(tmp_path: Path) -> None:
    # In a process of its own: what another test had freed would be taken again unseen.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 600
