from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.models import default_params, find_family
from burnish.runfolder.store import RunFolder
from burnish.runner.stage_context import MOST_FROZEN, StageContext
from burnish.runner.state import RunState
from burnish.space import Choice, Float, Int, SearchSpace, Value
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.training import FitRequest, TrainingSettings

from ..study import TINY
from ..support.photographs import cut_photographs


class Counter(Observer):
    """Counts the files of features that are begun."""

    def __init__(self) -> None:
        self.begun = 0

    def features_computed(self, num_done: int, num_views: int) -> None:
        self.begun += num_done == 0


@pytest.fixture
def observer() -> Counter:
    return Counter()


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observer: Counter) -> StageContext:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study, _ = parse_study(TINY, "the test's study")
    split = Split(cut_photographs(8, 32), (np.arange(8) % 2).astype(np.int32))
    folder = RunFolder(tmp_path / "run")
    return StageContext(
        study=study,
        number=1,
        results={},
        data=Dataset("photographs", split, split, ("china", "flower"), "photographs"),
        folder=folder,
        fingerprint="first",
        workers=1,
        observer=observer,
        watch=RunState(folder, study.name).watch_with(observer),
    )


def ask(model: str = "pretrained", **change: Value) -> FitRequest:
    params = {**default_params(find_family(model)), **change}
    return FitRequest(model, params, TrainingSettings(), 1)


def test_each_frozen_part_of_a_space_is_computed_once_before_its_fits(
    context: StageContext, observer: Counter
) -> None:
    space = SearchSpace(
        {
            "num_trainable_blocks": Int(0, 1),
            "hidden_units": Choice((0, 8, 16)),
            "learning_rate": Float(1e-4, 1e-2, log=True),
        }
    )
    context.compute_features(ask(), space)
    assert observer.begun == 2
    context.compute_features(ask(), space)
    context.compute_features(ask())
    assert observer.begun == 2, "it was computed again"


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace({"zoom_range": Float(0.0, 0.3)}),
        SearchSpace({"views": Int(1, MOST_FROZEN + 1)}),
    ],
)
def test_of_more_of_them_than_would_be_used_none_is_computed_ahead(
    context: StageContext, observer: Counter, space: SearchSpace
) -> None:
    context.compute_features(ask(views=2, zoom_range=0.1), space)
    assert observer.begun == 0


def test_networks_without_a_frozen_part_need_nothing(
    context: StageContext, observer: Counter
) -> None:
    context.compute_features(ask("cnn"), SearchSpace({"dropout_rate": Choice((0.0, 0.5))}))
    context.compute_features(ask(weights="none"))
    context.compute_features(ask(zoom_range=0.1))
    assert observer.begun == 0


def test_the_model_that_a_stage_starts_from_lies_in_that_stages_folder(
    context: StageContext,
) -> None:
    second = context.study.stage("second")
    assert second.kind == "train"
    assert context.find_start(second) is None
    started = second.model_copy(update={"start_from": "first"})
    assert context.find_start(started) == context.folder.stage(1, "first") / "model.keras"
