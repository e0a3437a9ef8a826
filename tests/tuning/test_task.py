from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.data.folds import take_fold
from burnish.models import default_params, find_family
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings, fit, freeze
from burnish.tuning.executor import FitTask, Fold
from burnish.tuning.task import Folds, run_task

from ..support.photographs import cut_photographs


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def ask(change: dict[str, Value]) -> FitRequest:
    params = {**default_params(find_family("pretrained")), "learning_rate": 0.01, **change}
    return FitRequest("pretrained", params, TrainingSettings(batch_size=8, max_epochs=2), 1)


def test_folds_are_cut_of_the_features_that_a_task_needs_and_kept_apart() -> None:
    images = cut_photographs(36, 48)
    labels = (np.arange(36) % 2).astype(np.int32)
    train, val = Split(images[:24], labels[:24]), Split(images[24:], labels[24:])
    data = Dataset("photographs", train, val, ("china", "flower"), "photographs")
    folds: Folds = {}
    fold = Fold(2, 1, 7)
    requests = [ask({}), ask({"hidden_units": 4}), ask({"input_size": 64})]
    for number, request in enumerate([*requests, *requests]):
        outcome = run_task(FitTask(str(number), request, fold=fold), data, folds)
        assert outcome.failure is None
        assert outcome.result is not None
        cut = take_fold(freeze(request, data), 2, 1, 7)
        expected = fit(request, cut)
        assert outcome.result.val_loss == expected.val_loss
    # One of each frozen part, whatever the head.
    assert len(folds) == 2
    assert len({key[0] for key in folds}) == 2


def test_a_probe_of_a_head_is_an_outcome_with_its_cost() -> None:
    images = cut_photographs(16, 48)
    split = Split(images, (np.arange(16) % 2).astype(np.int32))
    data = Dataset("photographs", split, split, ("china", "flower"), "photographs")
    outcome = run_task(FitTask("probe", ask({}), probe=True), data, {})
    assert outcome.failure is None
    assert outcome.cost is not None
    assert outcome.cost.num_parameters == 1280 * 2 + 2


def test_what_a_fit_dies_of_is_a_fact_about_its_params() -> None:
    images = cut_photographs(8, 24)
    split = Split(images, (np.arange(8) % 2).astype(np.int32))
    data = Dataset("photographs", split, split, ("china", "flower"), "photographs")
    outcome = run_task(FitTask("small", ask({}), fold=Fold(2, 0, 1)), data, {})
    assert outcome.result is None
    assert outcome.failure is not None
    assert "at least 32x32, and these are 24x24" in outcome.failure
