"""Fits whose network has a frozen part: fine-tuning from a cut, and from another fit's weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.errors import StudyError
from burnish.metrics import cross_entropy
from burnish.models import default_params, find_family
from burnish.space import Params
from burnish.training import (
    FitRequest,
    FitResult,
    Start,
    TrainingSettings,
    fit,
    freeze,
    predict_val,
    restore_model,
)
from burnish.training.engine import make_predictor

from ..support.photographs import cut_photographs

FAMILY = find_family("pretrained")
VIEWS: Params = {"views": 3, "crop_range": 0.2, "horizontal_flip": True}
STILL: Params = {"learning_rate": 1e-9, "dropout_rate": 0.0}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def photographs() -> Dataset:
    images = cut_photographs(48, 64)
    labels = (np.arange(48) % 2).astype(np.int32)
    train, val = Split(images[:32], labels[:32]), Split(images[32:], labels[32:])
    return Dataset("photographs", train, val, ("china", "flower"), "photographs")


def ask(params: Params, **settings: Any) -> FitRequest:
    full = {**default_params(FAMILY), "learning_rate": 0.003, **params}
    chosen = {"batch_size": 8, "max_epochs": 2, **settings}
    return FitRequest("pretrained", full, TrainingSettings(**chosen), 1)


@pytest.fixture(scope="module")
def head(photographs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    """A head on the frozen backbone, saved as its stage saves it."""
    request = ask({})
    found = fit(request, photographs)
    path = tmp_path_factory.mktemp("head") / "model.keras"
    restore_model(request, found.weights, photographs).save(path)
    return path, found


CASES: list[Params] = [
    {},
    {"hidden_units": 8},
    {"num_trainable_blocks": 2, "input_size": 96},
    {"num_trainable_blocks": 2, "input_size": 32},  # A map of one pixel.
    {"num_trainable_blocks": 2, **VIEWS},
    VIEWS,
]


@pytest.mark.parametrize("params", CASES)
def test_the_saved_model_gives_what_the_fit_saw(photographs: Dataset, params: Params) -> None:
    request = ask(params)
    found = fit(request, photographs)
    model = restore_model(request, found.weights, photographs)
    seen = predict_val(request, found.weights, photographs, model)
    # To the bit, but for how many images are predicted at a time.
    assert cross_entropy(seen, photographs.val.labels) == pytest.approx(found.val_loss, abs=1e-5)
    whole = make_predictor(model, photographs.val).predict()
    assert np.abs(whole - seen).max() < 2e-3
    assert seen.std(axis=0).max() > 0.05, "it gives the same for any image: this shows nothing"
    untrained = restore_model(request, (), photographs)
    assert np.abs(make_predictor(untrained, photographs.val).predict() - whole).max() > 0.01


def test_the_last_blocks_are_trained_on_what_views_gave(photographs: Dataset) -> None:
    request = ask({"num_trainable_blocks": 2, "backbone_rate": 1.0, **VIEWS})
    data = freeze(request, photographs)
    assert (data.views, len(data.train), data.image_shape) == (3, 96, (2, 2, 192))
    assert freeze(request, data) is data
    found = fit(request, photographs)
    assert found.history[-1].train_loss < found.history[0].train_loss
    started = fit(replace(request, params={**request.params, **STILL}), photographs)
    moved = [not np.array_equal(a, b) for a, b in zip(found.weights, started.weights, strict=True)]
    assert sum(moved) >= 8


def test_a_fit_with_a_frozen_part_is_the_fit_without(photographs: Dataset) -> None:
    """Of random weights nothing is computed once, and an augmentation that does nothing alike."""
    params: Params = {"num_trainable_blocks": 2, "dropout_rate": 0.0, "learning_rate": 0.001}
    once = fit(ask(params), photographs)
    # A crop of one thousandth changes next to nothing, but is no fixed view.
    each = fit(ask({**params, "crop_range": 1e-5}), photographs)
    for ours, theirs in zip(once.history, each.history, strict=True):
        assert ours.val_loss == pytest.approx(theirs.val_loss, rel=0.02, abs=2e-3)
    assert len(once.weights) < len(each.weights)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"num_trainable_blocks": 2},
        {"num_trainable_blocks": 2, "crop_range": 1e-5},
        {"num_trainable_blocks": 16, "backbone_rate": 0.0},
    ],
)
def test_a_fit_starts_from_the_weights_of_another(
    photographs: Dataset, head: tuple[Path, FitResult], params: Params
) -> None:
    path, base = head
    request = ask({**params, **STILL}, max_epochs=1)
    started = fit(replace(request, start=Start(path, "print")), photographs)
    assert started.history[0].val_loss == pytest.approx(base.val_loss, abs=2e-3)
    afresh = fit(request, photographs)
    assert abs(afresh.history[0].val_loss - base.val_loss) > 0.05


def test_what_its_start_has_trained_is_trained_on(photographs: Dataset, tmp_path: Path) -> None:
    """Two blocks were trained, and four are opened: the two come along."""
    first = ask({"num_trainable_blocks": 2, "backbone_rate": 1.0}, max_epochs=3)
    base = fit(first, photographs)
    restore_model(first, base.weights, photographs).save(tmp_path / "model.keras")
    start = Start(tmp_path / "model.keras", "print")
    request = replace(ask({"num_trainable_blocks": 4, **STILL}, max_epochs=1), start=start)
    assert fit(request, photographs).history[0].val_loss == pytest.approx(base.val_loss, abs=2e-3)


def test_a_start_of_another_network_is_refused(
    photographs: Dataset, head: tuple[Path, FitResult]
) -> None:
    request = replace(ask({"hidden_units": 8}), start=Start(head[0], "print"))
    with pytest.raises(StudyError, match=r"model\.keras has weights of another network"):
        fit(request, photographs)


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_fit_goes_on_to_the_same_bits(
    photographs: Dataset, head: tuple[Path, FitResult], tmp_path: Path, blocks: int
) -> None:
    request = ask({"num_trainable_blocks": blocks, **VIEWS}, max_epochs=4)
    request = replace(request, start=Start(head[0], "print"))
    undisturbed = fit(request, photographs)
    kept = replace(request, checkpoint=tmp_path / "checkpoint.npz")

    def stop(progress: Any) -> None:
        if progress.step >= 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(kept, photographs, stop)
    steps: list[int] = []
    resumed = fit(kept, photographs, lambda progress: steps.append(progress.step))
    assert steps[0] >= 4, "it began anew: this shows nothing"
    for weight, wanted in zip(resumed.weights, undisturbed.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    for ours, theirs in zip(resumed.history, undisturbed.history, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


def test_a_start_is_part_of_what_a_checkpoint_must_agree_with(tmp_path: Path) -> None:
    request = ask({})
    one, other = (replace(request, start=Start(tmp_path, name)) for name in ("one", "other"))
    moved = replace(request, start=Start(tmp_path / "moved", "one"))
    assert request.identity() != one.identity() != other.identity()
    assert one.identity() == moved.identity()
    assert request.settings.as_dict() == one.identity()["settings"]
