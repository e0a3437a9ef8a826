from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.errors import DataError
from burnish.features.cost import FeatureCost
from burnish.planning.disk import explain_lack_of_room, refuse_little_disk
from burnish.planning.features import (
    FeatureForecast,
    forecast_features,
    list_features,
    measure_features,
)
from burnish.planning.forecast import probe_study
from burnish.space import Value
from burnish.stages.placement import LocalPlacement
from burnish.study.parse import parse_study
from burnish.study.study import Study
from burnish.terminal import tabulate_plan
from burnish.training import find_feature_set

from ..support.photographs import cut_photographs

STUDY = """
[study]
name = "photographs"

[data]
path = "photographs"
size = [32, 32]

[training]
batch_size = 8
max_epochs = 2

[[stage]]
name = "head"
kind = "tune"
model = "pretrained"
sampler = "random"
trials = 4
folds = 2
params = { views = 2, horizontal_flip = true }
[stage.space]
learning_rate = [0.003, 0.01]
hidden_units = [0, 8]

[[stage]]
name = "blocks"
kind = "train"
base = "head"
start_from = "head"
seeds = 2
params = { num_trainable_blocks = 2 }

[[stage]]
name = "again"
kind = "train"
base = "head"
params = { dropout_rate = 0.0 }

[[stage]]
name = "final"
kind = "final"
"""
NUM_TRAIN, NUM_VAL = 20, 6
ROWS = 2 * NUM_TRAIN + NUM_VAL
HEAD_BYTES = ROWS * 1280 * 2
BLOCKS_BYTES = ROWS * 192 * 2  # One pixel, of 32.


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "burnish" / "features"


@pytest.fixture(scope="module")
def data() -> Dataset:
    images = cut_photographs(NUM_TRAIN + NUM_VAL, 32)
    labels = (np.arange(len(images)) % 2).astype(np.int32)
    train, val = (Split(images[s], labels[s]) for s in (slice(NUM_TRAIN), slice(NUM_TRAIN, None)))
    return Dataset("photographs", train, val, ("china", "flower"), "photographs")


def parse(*overrides: str, text: str = STUDY) -> Study:
    return parse_study(text, "the test's study", overrides)[0]


def forecast(
    study: Study, data: Dataset, **found: Mapping[str, Value]
) -> dict[str, tuple[int, int]]:
    known = forecast_features(study, data, found)
    return {name: (one.files, one.num_bytes) for name, one in known.items()}


def pretend(study: Study, data: Dataset, params: Mapping[str, Value]) -> None:
    """Write a file of zeros where features of a head would be."""
    stage = study.stage("head")
    assert stage.kind != "final"
    wanted = find_feature_set("pretrained", {**study.planned_params(stage), **params}, data)
    assert wanted is not None
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    np.save(wanted.path, np.zeros((wanted.num_rows, *wanted.row_shape), np.float16))


def test_trials_folds_seeds_and_stages_share_a_file_that_is_counted_once(data: Dataset) -> None:
    expected = {"head": (1, HEAD_BYTES), "blocks": (1, BLOCKS_BYTES)}
    assert forecast(parse(), data) == expected
    assert forecast(parse("blocks.params.num_trainable_blocks=0"), data) == {
        "head": expected["head"]
    }
    assert forecast(parse("head.params.views=0"), data) == {}, "it is computed in each epoch"


def test_what_is_in_the_cache_counts_nothing(data: Dataset) -> None:
    pretend(parse(), data, {})
    assert forecast(parse(), data) == {"blocks": (1, BLOCKS_BYTES)}
    assert [len(files) for files in list_features(parse(), data, {}).values()] == [1, 1, 1]


def test_a_search_counts_each_combination_that_it_can_reach(data: Dataset) -> None:
    searched = "head.space.input_size=[32, 64, 96]"
    head, blocks = (forecast(parse(searched), data)[name] for name in ("head", "blocks"))
    assert head == (3, 3 * HEAD_BYTES)
    # Of what the search may find, one: the largest, whose map before the blocks is 3x3.
    assert blocks == (1, 9 * BLOCKS_BYTES)
    found = {**parse().planned_params(parse().stage("head")), "input_size": 64}  # type: ignore[arg-type]
    assert forecast(parse(searched), data, head=found) == {
        "blocks": (1, 4 * BLOCKS_BYTES),
        "again": (1, HEAD_BYTES),
    }


def test_a_search_counts_at_most_a_file_for_each_trial(data: Dataset) -> None:
    many = "head.space.crop_range={low = 0.0, high = 0.5}"
    assert forecast(parse(many), data)["head"] == (4, 4 * HEAD_BYTES)
    # Of few trials the largest: those with most views.
    text = STUDY.replace("views = 2, ", "").replace("[0, 8]", "[0, 8]\nviews = [1, 2, 3, 4, 5, 6]")
    rows = sum(NUM_TRAIN * of + NUM_VAL for of in (3, 4, 5, 6))
    assert forecast(parse(text=text), data)["head"] == (4, rows * 1280 * 2)
    # A size that no network takes is a trial that fails, and needs no file.
    assert forecast(parse("head.space.input_size=[16, 32]"), data)["head"] == (1, HEAD_BYTES)


def test_the_slowest_of_what_may_be_found_stands_for_it(data: Dataset) -> None:
    study = parse("head.space.input_size=[32, 64]")
    parts = {one.part.identity for of in list_features(study, data, {}).values() for one in of}
    costs = {
        name: FeatureCost(1.0, (0.5 if "at 64" in name else 0.1) * (1 if "last 0" in name else 10))
        for name in parts
    }
    known = forecast_features(study, data, {}, costs)
    assert known["head"].seconds == pytest.approx(2 + ROWS * 0.6)
    assert known["blocks"].seconds == pytest.approx(1 + ROWS * 5)


def test_a_plan_measures_the_network_and_computes_nothing(
    data: Dataset, cache: Path, tmp_path: Path
) -> None:
    study = parse()
    costs = probe_study(study, data, tmp_path / "scratch", LocalPlacement(1))
    assert costs["head"].features.files == costs["blocks"].features.files == 1
    assert costs["again"].features == FeatureForecast()
    for name in ("head", "blocks"):
        assert 0 < costs[name].features.seconds < 60
    assert costs["head"].own.num_parameters <= 1280 * 8 + 8 + 8 * 2 + 2
    assert {path.suffix for path in cache.iterdir()} == {".onnx"}
    pretend(study, data, {})
    assert len(measure_features(study, data, {})) == 1


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_no_room_is_one_error_before_anything_is_computed(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run = parse("head.params.views=8"), tmp_path / "run"
    run.mkdir()
    assert explain_lack_of_room(study, data, {}) is None
    image = 1280 * 2
    room = (NUM_VAL + 5 * NUM_TRAIN) * image
    monkeypatch.setattr("burnish.planning.disk.find_limit", lambda folder: room)
    why = explain_lack_of_room(study, data, {})
    assert why is not None
    assert why.startswith("stage 'head': what a frozen network makes of 8 views of each of 20")
    assert "set views = 5, which would fit" in why
    assert explain_lack_of_room(parse("head.params.views=5"), data, {}) is None
    with pytest.raises(
        DataError, match=r"set views = 5, .* or go on anyway with --skip-disk-check"
    ):
        refuse_little_disk(study, data, 6, 1, run)
    # A search needs the files of all its sizes at once.
    sizes = parse("head.params.views=3", "head.space.input_size=[32, 64]")
    assert "in 2 files" in (explain_lack_of_room(sizes, data, {}) or "")
    # A disk has to hold what all stages still have to compute, and the run, too.
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    needed = sum(num_bytes for _, num_bytes in forecast(study, data).values())
    free = [needed + 1000]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, free[0]))
    assert explain_lack_of_room(study, data, {}, run, 1000) is None
    free[0] -= 1
    why = explain_lack_of_room(study, data, {}, run, 1000)
    assert why is not None
    assert f"{tmp_path} has " in why
    assert "set views = 7, which would fit; or free some ('burnish cache --clean')" in why


def test_a_plan_shows_features_as_a_line_of_its_own() -> None:
    plan = {
        "study": "photographs",
        "seconds": 60,
        "disk_bytes": 10**6,
        "features": {
            "files": 2,
            "views": 1234,
            "bytes": 3_100_000,
            "seconds": 9.7,
            "refused": "no room",
        },
        "stages": [{"name": "head", "trials": 3, "epochs": 3.0, "seconds": 2.0}],
    }
    table = tabulate_plan(plan)
    assert [list(column.cells)[-1] for column in table.columns] == [
        "features, once: 1,234 views, 3.1 MB",
        "",
        "",
        "10",
    ]
    assert "It would be refused: no room" in str(table.caption)
    plan["features"] = {"files": 0, "refused": None}
    assert tabulate_plan(plan).row_count == 1
