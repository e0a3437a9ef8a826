"""Minutes shared among stages: seconds for each, what would not fit, and what is left out."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.features.cost import FeatureCost
from burnish.planning import shares
from burnish.planning.shares import (
    AROUND,
    SEARCH,
    SPARE,
    WRITING,
    SharedMinutes,
    has_shares,
    outline_shares,
)
from burnish.runfolder.store import RunFolder
from burnish.study.parse import parse_study
from burnish.study.study import Study

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "shared"

[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }

[[stage]]
name = "head"
kind = "tune"
share = 1
model = "pretrained"
trials = 8
params = { input_size = 96 }
[stage.space]
learning_rate = [0.003, 0.01]

[[stage]]
name = "last-blocks"
kind = "train"
share = 3
base = "head"
start_from = "head"
seeds = 2
params = { num_trainable_blocks = 2, views = 4, horizontal_flip = true }

[[stage]]
name = "wider"
kind = "train"
share = 1
base = "last-blocks"
start_from = "last-blocks"

[[stage]]
name = "final"
kind = "final"
"""


@pytest.fixture
def feature_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], None]:
    """Return what sets how many views a second a frozen network computes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def set_rate(rate: float) -> None:
        cost = FeatureCost(0.0, 1 / rate)
        monkeypatch.setattr(shares, "measure_feature_cost", lambda wanted: cost)

    return set_rate


def begin(
    tmp_path: Path, data: Dataset, minutes: float, text: str = STUDY
) -> tuple[SharedMinutes, Study, str, list[str]]:
    study, text = parse_study(text, "the test's study")
    notes: list[str] = []
    folder = RunFolder(tmp_path / "run")
    budget = SharedMinutes(study, text, minutes, folder, 2, data, notes.append)
    return budget, *budget.begin(0.0), notes


def find_stage(text: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in tomllib.loads(text)["stage"] if s["name"] == name)
    return found


def result(study: Study, name: str) -> dict[str, Any]:
    stage = study.stage(name)
    return {"params": study.planned_params(stage), "fingerprint": name}  # type: ignore[arg-type]


def test_only_a_study_with_shares_for_all_its_fits_is_shared_out() -> None:
    assert has_shares(parse_study(STUDY, "it")[0])
    assert not has_shares(parse_study(STUDY.replace("share = 3\n", ""), "it")[0])


def test_each_stage_gets_its_part_of_what_is_left(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    feature_rate(1e9)
    budget, study, text, notes = begin(tmp_path, digits, 10.0)
    usable = 600 * (1 - SPARE) - AROUND
    study, text = budget.plan(1, text, {}, lambda: 0.0)
    head = find_stage(text, "head")
    own = usable / 5 - 2 * WRITING
    assert head["max_seconds"] == pytest.approx(SEARCH * own, abs=0.1)
    assert head["refit"]["max_seconds"] == pytest.approx((1 - SEARCH) * own, abs=0.1)
    assert study.own_settings(study.stage("head")).max_seconds == head["refit"]["max_seconds"]  # type: ignore[arg-type]
    # The head took ten seconds: the others have what it left.
    results = {"head": result(study, "head")}
    budget.foresee_end(writing_seconds=3.0, test_seconds=4.0)
    study, text = budget.plan(2, text, results, lambda: 10.0)
    expected = (600 * (1 - SPARE) - 10.0 - 10.0) * 3 / 4 - 2 * 3.0
    blocks = find_stage(text, "last-blocks")["training"]
    assert blocks["max_seconds"] == pytest.approx(expected / 2, abs=0.1), "of each of two seeds"
    assert find_stage(text, "head") == head
    assert not notes


def test_trials_know_nothing_of_the_clock(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    feature_rate(1e9)
    budget, study, text, _ = begin(tmp_path, digits, 10.0)
    study, _ = budget.plan(1, text, {}, lambda: 0.0)
    head = study.stage("head")
    assert study.settings(head).max_seconds is None  # type: ignore[arg-type]


def test_views_are_as_many_as_there_is_time_for(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    budget, study, text, notes = begin(tmp_path, digits, 10.0)
    own = (600 * (1 - SPARE) - AROUND) * 3 / 4
    # In half of the stage's seconds three views of all training images, but not four.
    rows = 3.5 * len(digits.train) + len(digits.val)
    feature_rate(rows / (own / 2))
    study, text = budget.plan(2, text, {"head": result(study, "head")}, lambda: 0.0)
    assert find_stage(text, "last-blocks")["params"]["views"] == 3
    assert not notes


def test_a_stage_without_time_for_its_features_is_left_out(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    feature_rate(0.1)
    budget, study, text, notes = begin(tmp_path, digits, 10.0)
    results = {"head": result(study, "head")}
    study, text = budget.plan(2, text, results, lambda: 0.0)
    assert [stage.name for stage in study.stages] == ["head", "final"]
    assert [note.split(":")[0] for note in notes] == [
        "stage 'last-blocks' is left out",
        "stage 'wider' is left out",
    ]


def test_a_stage_behind_one_that_is_left_out_builds_on_its_base(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    feature_rate(1e9)
    budget, study, text, _ = begin(tmp_path, digits, 10.0)
    results = {"head": result(study, "head")}
    # So late that a third of what is left is too little, but all of it is enough.
    late = 600 * (1 - SPARE) - AROUND - 2 * WRITING - 6.0
    study, text = budget.plan(2, text, results, lambda: late)
    assert [stage.name for stage in study.stages] == ["head", "wider", "final"]
    wider = find_stage(text, "wider")
    assert (wider["base"], wider["start_from"]) == ("head", "head")


def test_a_first_stage_is_shown_smaller_images_where_time_is_short(
    tmp_path: Path, digits: Dataset, feature_rate: Callable[[float], None]
) -> None:
    budget, _, text, notes = begin(tmp_path, digits, 1.0)
    whole = 60 * (1 - SPARE) - AROUND
    rows = len(digits.train) + len(digits.val)
    # At 96x96 all the time that there is, of which half may go: at 64x64 they fit.
    feature_rate(rows / whole)
    _, text = budget.plan(1, text, {}, lambda: 0.0)
    assert find_stage(text, "head")["params"]["input_size"] == 64
    assert "64x64" in notes[0]
    feature_rate(rows / whole / 1000)
    _, text = budget.plan(1, text, {}, lambda: 0.0)
    assert find_stage(text, "head")["params"]["input_size"] == 32, "it is never refused"


def test_an_outline_says_what_each_stage_may_take() -> None:
    stages = outline_shares(parse_study(STUDY, "it")[0], 10.0)
    assert [stage.name for stage in stages] == ["head", "last-blocks", "wider", "final"]
    assert math.fsum(stage.seconds for stage in stages) == pytest.approx(600 * (1 - SPARE) - AROUND)
    assert stages[0].trials == 2, "its space has no more points"


SEARCHED = """
[study]
name = "searched"

[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }

[training]
max_epochs = 10

[[stage]]
name = "network"
kind = "train"
share = 1
model = "cnn"

[[stage]]
name = "search"
kind = "tune"
share = 1
base = "network"
trials = 8
[stage.space]
learning_rate = [0.001, 0.003]

[[stage]]
name = "final"
kind = "final"
"""


def test_a_search_without_time_for_four_trials_leaves_its_time_to_the_others(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, _, text, notes = begin(tmp_path, digits, 10.0, SEARCHED)
    half = (600 * (1 - SPARE) - AROUND) / 2
    # Four trials of ten epochs, in the search's part of the stage's seconds.
    fitting = SEARCH * half / 40
    for epoch, stages in ((0.9 * fitting, ["network", "search"]), (1.1 * fitting, ["network"])):
        notes.clear()
        operations = epoch * shares.SPEED / 3 / len(digits.train)
        monkeypatch.setattr(shares, "count_operations", lambda *_, n=operations: n)
        planned, planned_text = budget.plan(1, text, {}, lambda: 0.0)
        assert [stage.name for stage in planned.stages[:-1]] == stages
        assert len(notes) == 2 - len(stages)
        given = find_stage(planned_text, "network")["training"]["max_seconds"]
        assert given == pytest.approx(2 * half / len(stages) - 2 * WRITING, abs=0.1)


def test_what_an_epoch_took_counts_more_than_a_guess(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, study, text, notes = begin(tmp_path, digits, 10.0, SEARCHED)
    monkeypatch.setattr(shares, "count_operations", lambda *_: 1)
    trained = {"kind": "train", "model": "cnn", "seconds": 3000.0, "epochs": 10.0}
    results = {"network": {**result(study, "network"), **trained}}
    planned, _ = budget.plan(2, text, results, lambda: 0.0)
    assert [stage.name for stage in planned.stages] == ["network", "final"]
    assert notes == ["stage 'search' is left out: there is no time for four trials of it"]
