"""``points_to_evaluate``: what a search tries before its sampler is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.errors import StudyError
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.space import Value
from burnish.stages.fit_requests import choose_first_points
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study

from ..study import read_result

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "first"

[data]
source = "digits"
split = { train = 300, val = 150, test = 150 }

[training]
batch_size = 100
max_epochs = 1

[[stage]]
name = "base"
kind = "train"
model = "fnn"
params = { hidden_layer_size = 16, dropout_rate = 0.2, learning_rate = 0.002 }

[[stage]]
name = "search"
kind = "tune"
base = "base"
sampler = "tpe"
trials = 4
points_to_evaluate = [{ dropout_rate = 0.4, l2_strength = 0 }, { learning_rate = 0.01 }]
schedule = { name = "full", max_epochs = 0.5 }
refit = { max_epochs = 1 }
[stage.space]
dropout_rate = { low = 0.1, high = 0.5, step = 0.1 }
l2_strength = { low = 0.0, high = 0.001 }
learning_rate = [0.001, 0.002, 0.01]

[[stage]]
name = "final"
kind = "final"
"""


class Notes(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_note(self, message: str) -> None:
        self.said.append(message)


def parse(*overrides: str) -> tuple[Study, TuneStage]:
    study, _ = parse_study(STUDY, "the test's study", overrides)
    stage = study.stage("search")
    assert isinstance(stage, TuneStage)
    return study, stage


def first_points(*overrides: str, **params: Value) -> list[dict[str, Value]]:
    study, stage = parse(*overrides)
    own: dict[str, Value] = {"dropout_rate": 0.2, "l2_strength": 0.0, "learning_rate": 0.002}
    return list(choose_first_points(study, stage, own | params, lambda point: True))


def test_a_search_tries_the_bases_best_and_then_the_points(tmp_path: Path) -> None:
    study, text = parse_study(STUDY, "s")
    folder = RunFolder(tmp_path / "run")
    run_study(study, text, folder, workers=1)
    result = read_result(folder, "search")
    base = {"dropout_rate": 0.2, "l2_strength": 0.0, "learning_rate": 0.002}
    tried = [trial["params"] for trial in result["trials"]]
    assert tried[:3] == [base, base | {"dropout_rate": 0.4}, base | {"learning_rate": 0.01}]
    assert len(tried) == 4
    assert tried[3] not in tried[:3]
    assert result["points_to_evaluate"] == [
        {"dropout_rate": 0.4, "l2_strength": 0},
        {"learning_rate": 0.01},
    ]


def test_what_a_point_does_not_name_is_drawn_where_the_bases_lies_outside() -> None:
    points = first_points(learning_rate=0.5)
    assert len(points) == 2  # The base's best is no point of the space.
    assert points[0]["dropout_rate"] == 0.4
    assert points[0]["learning_rate"] in (0.001, 0.002, 0.01)
    assert points == first_points(learning_rate=0.5)  # Drawn alike whenever it goes on.


def test_each_point_is_tried_once_and_none_that_is_not_admitted() -> None:
    same = "search.points_to_evaluate=[{dropout_rate=0.2}, {dropout_rate=0.3}, {dropout_rate=0.3}]"
    assert [point["dropout_rate"] for point in first_points(same)] == [0.2, 0.3]
    study, stage = parse(same)
    own: dict[str, Value] = {"dropout_rate": 0.2, "l2_strength": 0.0, "learning_rate": 0.002}
    assert list(choose_first_points(study, stage, own, lambda p: p["dropout_rate"] != 0.3)) == [own]


def test_a_named_point_beyond_the_limit_is_not_tried_and_it_is_said(tmp_path: Path) -> None:
    overrides = [
        "search.space.hidden_layer_size=[16, 512]",
        "search.points_to_evaluate=[{hidden_layer_size=512}, {dropout_rate=0.4}]",
        "search.max_mflops=0.02",
        "search.trials=2",
    ]
    notes = Notes()
    folder = RunFolder(tmp_path / "run")
    study, text = parse_study(STUDY, "s", overrides)
    run_study(study, text, folder, workers=1, observer=notes)
    tried = [trial["params"]["dropout_rate"] for trial in read_result(folder, "search")["trials"]]
    assert tried == [0.2, 0.4]
    (note,) = notes.said
    assert "'search': of its points_to_evaluate, hidden_layer_size = 512 is not tried" in note
    assert "max_mflops leaves out its network" in note


def test_points_beyond_the_trials_are_not_tried(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    study, text = parse_study(STUDY, "s", ["search.trials=2"])
    run_study(study, text, folder, workers=1)
    tried = [trial["params"]["dropout_rate"] for trial in read_result(folder, "search")["trials"]]
    assert tried == [0.2, 0.4]


def test_a_value_is_what_its_range_says_it_is() -> None:
    assert all(isinstance(point["l2_strength"], float) for point in first_points())
    sizes = [
        "search.space.hidden_layer_size=[16, 32]",
        "search.points_to_evaluate=[{hidden_layer_size=32.0, dropout_rate=0.30000000000001}]",
    ]
    (_, point) = first_points(*sizes, hidden_layer_size=16)
    assert isinstance(point["hidden_layer_size"], int)
    assert point["dropout_rate"] == 0.3


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ("[{}]", "a point that names nothing"),
        ("[{dropout=0.2}]", r"unknown range of its space 'dropout'.* dropout_rate"),
        ("[{dropout_rate=0.25}]", r"dropout_rate = 0\.25 is out of its space: .* step 0\.1"),
        ("[{learning_rate='0.01'}]", r"learning_rate = '0\.01' is out of its space"),
        ("[{hidden_layer_size=16}]", "unknown range of its space 'hidden_layer_size'"),
        ("[0.2]", r"points_to_evaluate.* = 0\.2: expected a table"),
        ("{dropout_rate=0.2}", "points_to_evaluate = .*: expected a list"),
    ],
)
def test_points_that_cannot_be_tried_are_refused(points: str, reason: str) -> None:
    with pytest.raises(StudyError, match=reason):
        parse(f"search.points_to_evaluate={points}")


def test_other_points_make_a_search_run_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    study, text = parse_study(STUDY, "s", ["search.trials=3"])
    run_study(study, text, folder, workers=1)
    before = read_result(folder, "search")["fingerprint"]
    study, text = parse_study(text, "s", ["search.points_to_evaluate=[{dropout_rate=0.5}]"])
    run_study(study, text, folder, workers=1)
    result = read_result(folder, "search")
    assert result["fingerprint"] != before
    assert result["trials"][1]["params"]["dropout_rate"] == 0.5
