from __future__ import annotations

from typing import Any

import pytest

from burnish.runner.stage_result import FinalResult, Selection, TrainResult, TuneResult
from burnish.tuning.schedules import Bracket, Rung

FIT: dict[str, Any] = {"model": "fnn", "params": {"a": 1}, "val_loss": 0.5, "seconds": 3.0}


def make_tune_result(**changed: Any) -> TuneResult:
    given: dict[str, Any] = {
        "name": "search",
        "base": "start",
        "refit": FIT,
        "sampler": "random",
        "schedule": "full",
        "brackets": (Bracket((Rung(2, 1.0),)),),
        "promotion": "continue",
        "folds": None,
        "max_mflops": None,
        "points_to_evaluate": [],
        "workers": 2,
        "trials_of": "abc",
        "taken_over": None,
        "best_trial": 1,
        "best_params": {"a": 1},
        "trial_loss": 0.6,
        "importances": {"a": 1.0},
        "trials": [{"number": 0, "seconds": 4.0}, {"number": 1, "seconds": 6.0}],
    }
    return TuneResult(**{**given, **changed})


def test_a_training_stage_says_whose_fit_it_is_before_the_fit() -> None:
    content = TrainResult("start", None, FIT).as_dict()
    assert list(content) == ["name", "kind", "base", *FIT]
    assert content == {"name": "start", "kind": "train", "base": None, **FIT}


def test_a_search_takes_the_seconds_of_its_trials_by_worker_and_of_the_refit() -> None:
    content = make_tune_result().as_dict()
    assert content["search_seconds"] == 5.0
    assert content["seconds"] == 8.0
    # Where the fit has it, so that the file stays the same.
    assert list(content).index("seconds") == 3 + list(FIT).index("seconds")


def test_a_search_has_its_entries_in_the_order_of_the_file() -> None:
    content = make_tune_result().as_dict()
    assert list(content)[3 + len(FIT) :] == [
        "sampler",
        "schedule",
        "brackets",
        "promotion",
        "folds",
        "max_mflops",
        "points_to_evaluate",
        "workers",
        "num_trials",
        "taken_over",
        "trials_of",
        "best_trial",
        "best_params",
        "trial_loss",
        "search_seconds",
        "importances",
        "trials",
    ]
    assert content["brackets"] == [{"rungs": ({"num_trials": 2, "epochs": 1.0},)}]
    assert content["num_trials"] == 2


@pytest.mark.parametrize(("points", "kept"), [([], None), ([{"a": 1}], [{"a": 1}])])
def test_points_that_nobody_named_are_null(points: list[Any], kept: list[Any] | None) -> None:
    assert make_tune_result(points_to_evaluate=points).as_dict()["points_to_evaluate"] == kept


def test_a_final_stage_has_the_figures_of_the_chosen_stage_and_its_own_test() -> None:
    chosen = {
        **TrainResult("start", None, FIT).as_dict(),
        "val_accuracy": 0.9,
        "epochs": 2.0,
        "num_parameters": 10,
        "settings": {"class_weight": "balanced"},
    }
    candidate = {"name": "start", "val_loss": 0.5, "val_accuracy": 0.9}
    result = FinalResult("final", Selection("start", (candidate,)), chosen, {"accuracy": 0.8})
    content = result.as_dict()
    assert list(content.items()) == [
        ("name", "final"),
        ("kind", "final"),
        ("chosen", "start"),
        ("candidates", [candidate]),
        ("model", "fnn"),
        ("params", {"a": 1}),
        ("val_loss", 0.5),
        ("val_accuracy", 0.9),
        ("epochs", 2.0),
        ("num_parameters", 10),
        ("class_weight", "balanced"),
        ("seconds", 0.0),
        ("test", {"accuracy": 0.8}),
    ]
