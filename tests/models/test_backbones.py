from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.backend import keras
from burnish.errors import StudyError
from burnish.models.backbones import (
    BACKBONES,
    cut_before_blocks,
    describe_weights,
    find_weights,
    has_all_open,
    load_backbone,
    open_last_blocks,
)
from burnish.models.efficientnet_lite import LITES

from ..support.photographs import cut_photographs

IMAGES = cut_photographs(2, 48).astype(np.float32)
SMALL = "mobilenet-v3-small"


def restless(network: Any) -> Any:
    """Give batch normalisation statistics by which no map comes to nothing."""
    generator = np.random.default_rng(1)
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            weights = layer.get_weights()
            low, high = (0.5, 2.0) if len(network.layers) > 180 else (0.01, 0.05)
            spread = generator.uniform(low, high, weights[-1].shape)
            layer.set_weights([*weights[:-1], spread.astype(np.float32)])
    return network


@pytest.mark.parametrize(
    ("name", "num_blocks"),
    [
        ("efficientnet-lite0", 1),
        ("efficientnet-lite0", 4),
        (SMALL, 2),
        ("mobilenet-v2", 2),
        ("resnet50-v2", 1),
        ("convnext-tiny", 2),
    ],
)
def test_the_two_parts_of_a_cut_give_what_the_whole_gives(name: str, num_blocks: int) -> None:
    network = restless(load_backbone(name, "none"))
    parts = cut_before_blocks(network, name, num_blocks)
    assert parts is not None
    first, after = parts
    assert after is not None
    scaling = BACKBONES[name].scaling or (1.0, 0.0)
    images = IMAGES * scaling[0] + scaling[1]
    whole = np.asarray(network(images))
    np.testing.assert_allclose(np.asarray(after(first(images))), whole, rtol=1e-4, atol=1e-6)
    assert whole.std(axis=0).max() > 1e-6, "it gives the same for any image: this shows nothing"
    # In the same order, too, as heads are given the weights of the last layers of a whole.
    joined = [*first.get_weights(), *after.get_weights()]
    assert len(joined) == len(network.get_weights())
    for one, other in zip(joined, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cut_before_no_block_leaves_nothing_after_and_before_all_is_none() -> None:
    network = load_backbone("efficientnet-lite0", "none")
    parts = cut_before_blocks(network, "efficientnet-lite0", 0)
    assert parts is not None
    assert parts[1] is None
    np.testing.assert_array_equal(np.asarray(parts[0](IMAGES)), np.asarray(network(IMAGES)))
    assert not has_all_open(network, "efficientnet-lite0", 15)
    assert cut_before_blocks(network, "efficientnet-lite0", 15) is not None
    assert has_all_open(network, "efficientnet-lite0", 16)
    assert cut_before_blocks(network, "efficientnet-lite0", 16) is None


@pytest.mark.parametrize(
    "name", sorted({*BACKBONES} - {"efficientnet-lite1", "efficientnet-lite2"})
)
def test_of_every_network_the_blocks_are_known_and_a_few_are_not_all(name: str) -> None:
    network = load_backbone(name, "none")
    assert not has_all_open(network, name, 10)
    open_last_blocks(network, name, 0)
    assert not network.trainable_variables
    open_last_blocks(network, name, 1)
    assert 0 < len(network.trainable_variables) < 20


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("efficientnet-lite0", {"block14", "block15"}),
        (SMALL, {"expanded_conv_9", "expanded_conv_10"}),
    ],
)
def test_the_last_blocks_are_opened_with_what_comes_after(name: str, opened: set[str]) -> None:
    network = load_backbone(name, "none")
    open_last_blocks(network, name, 2)
    trained = [layer for layer in network.layers if layer.trainable and layer.weights]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in trained)
    blocks = {layer.name for layer in trained if layer.name.startswith(("block", "expanded_conv"))}
    assert {next(o for o in opened if name.startswith(f"{o}_")) for name in blocks} == opened
    assert len(blocks) < len(trained)  # And what comes after the blocks.
    open_last_blocks(network, name, 0)
    assert not network.trainable_variables
    open_last_blocks(network, name, 100)
    closed = [layer for layer in network.layers if not layer.trainable]
    assert all(isinstance(layer, keras.layers.BatchNormalization) for layer in closed)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    source = load_backbone(SMALL, "none")
    source.set_weights([weight + 0.125 for weight in source.get_weights()])
    path = tmp_path / "no_top.weights.h5"
    source.save_weights(path)
    assert find_weights(SMALL, str(path)) == (path,)
    loaded = load_backbone(SMALL, str(path))
    for one, other in zip(source.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    said = describe_weights(SMALL, str(path))
    source.set_weights([weight + 0.125 for weight in source.get_weights()])
    source.save_weights(path)
    assert len(said) == 64
    assert describe_weights(SMALL, str(path)) != said


def test_weights_of_pip_are_a_file_whose_digest_names_them() -> None:
    lite = LITES["efficientnet-lite0"]
    assert find_weights("efficientnet-lite0", "imagenet") == (lite.find_weights(),)
    assert describe_weights("efficientnet-lite0", "imagenet") == lite.sha256
    assert find_weights("efficientnet-lite0", "none") == ()
    with pytest.raises(StudyError, match=r"'mine\.h5': those of .* come with burnish\[train\]"):
        find_weights("efficientnet-lite0", "mine.h5")


def test_a_file_that_is_missing_or_of_another_network_is_refused_with_what_to_give(
    tmp_path: Path,
) -> None:
    with pytest.raises(StudyError, match=r"there is no such file.*imagenet.*none"):
        find_weights(SMALL, str(tmp_path / "absent.h5"))
    wrong = tmp_path / "wrong.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(wrong)
    with pytest.raises(StudyError, match=rf"cannot be loaded into {SMALL}.*no_top"):
        find_weights(SMALL, str(wrong))
    (tmp_path / "text.h5").write_text("no weights", encoding="utf-8")
    with pytest.raises(StudyError, match="cannot be loaded"):
        find_weights(SMALL, str(tmp_path / "text.h5"))


def test_weights_that_cannot_be_downloaded_are_an_error_that_says_how_to_supply_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))
    # Nothing listens there.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(StudyError, match=r"could not be had: .*https://.*no_top.*params.weights"):
        find_weights(SMALL, "imagenet")


def test_what_keras_would_fetch_without_a_hash_is_not_fetched() -> None:
    with pytest.raises(StudyError, match="without checking what it gets"):
        find_weights("mobilenet-v2", "imagenet")
