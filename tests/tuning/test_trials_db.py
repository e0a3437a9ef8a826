from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from burnish.errors import RunFolderError
from burnish.space import Choice, Float, Int, SearchSpace
from burnish.tuning.samplers import Point, find_sampler
from burnish.tuning.trial import RungResult, Trial
from burnish.tuning.trials_db import (
    TrialsDatabase,
    forget_stage,
    measure_importances,
    restore_stage,
    write_address,
)

from . import SPACE

PARAMS: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_layer_size": 64,
    "activation": "tanh",
    "dropout_rate": 0.15,
    "learning_rate": 0.00123,
}


def gave(loss: float | None, epochs: float = 1.0, failure: str | None = None) -> RungResult:
    return RungResult(epochs, loss, None, None if loss is None else 0.9, 1.0, failure)


def write_whole_life(database: TrialsDatabase, trial: Trial) -> None:
    """Write a trial as it was proposed, after each round, and as it stands."""
    for rounds in range(len(trial.rungs) + 1):
        database.write(replace(trial, rungs=trial.rungs[:rounds], state="running"))
    database.write(trial)


TRIALS = (
    Trial(0, 0, PARAMS, 1, [gave(0.9), gave(0.5, 3.0)], "complete"),
    Trial(1, 0, {**PARAMS, "activation": "relu"}, 2, [gave(1.5)], "pruned"),
    Trial(2, 0, {**PARAMS, "num_hidden_layers": 3}, 3, [gave(None, 1, "signal 9")], "failed"),
    Trial(3, 1, {**PARAMS, "dropout_rate": 0.5}, 4, [gave(0.7), gave(None, 3, "NaN")], "failed"),
    Trial(4, 1, {**PARAMS, "hidden_layer_size": 256}, 5, [], "running"),
)


def open_with_optuna(path: Path, stage: str = "cnn-tuned") -> optuna.Study:
    return optuna.load_study(study_name=stage, storage=write_address(path))


def plain(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.state, t.value, t.params, t.intermediate_values, t.user_attrs) for t in trials
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a trial of every kind, for reading alone."""
    path = tmp_path_factory.mktemp("db") / "below" / "trials.db"
    database = TrialsDatabase(path, "cnn-tuned", SPACE)
    for trial in TRIALS:
        write_whole_life(database, trial)
    return path


def test_optuna_opens_the_trials_with_their_states_params_and_losses(written: Path) -> None:
    study = open_with_optuna(written)
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    trials = study.trials
    assert [t.number for t in trials] == [0, 1, 2, 3, 4]
    assert [t.state for t in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert [t.params for t in trials] == [trial.params for trial in TRIALS]
    assert study.best_trial.number == 0
    assert study.best_value == 0.5
    assert study.best_params == PARAMS


def test_the_losses_of_the_rounds_are_intermediate_values(written: Path) -> None:
    trials = open_with_optuna(written).trials
    assert [t.intermediate_values for t in trials] == [{1: 0.9, 2: 0.5}, {1: 1.5}, {}, {1: 0.7}, {}]
    assert trials[0].user_attrs["epochs of round 1"] == 1.0
    assert trials[0].user_attrs["epochs of round 2"] == 3.0
    # Optuna gives a pruned trial the last value that was reported.
    assert trials[1].value in (None, 1.5)


def test_a_failure_keeps_its_reason(written: Path) -> None:
    trials = open_with_optuna(written).trials
    assert [t.user_attrs.get("failure") for t in trials] == [None, None, "signal 9", "NaN", None]
    assert [t.user_attrs["bracket"] for t in trials] == [0, 0, 0, 1, 1]


def test_the_ranges_are_those_of_the_space(written: Path) -> None:
    assert open_with_optuna(written).trials[0].distributions == {
        "num_hidden_layers": optuna.distributions.IntDistribution(1, 3),
        "hidden_layer_size": optuna.distributions.CategoricalDistribution((32, 64, 128, 256)),
        "activation": optuna.distributions.CategoricalDistribution(("relu", "tanh")),
        "dropout_rate": optuna.distributions.FloatDistribution(0.1, 0.5, step=0.05),
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
    }


def test_a_range_whose_steps_miss_its_end_is_taken_without_a_warning(tmp_path: Path) -> None:
    space = SearchSpace(
        {
            "learning_rate": Float(1e-4, 1e-2, step=1e-3),  # The published study's.
            "size": Int(16, 100, step=16),
            "width": Int(1, 64, log=True),
            "flag": Choice((True, False)),
        }
    )
    database = TrialsDatabase(tmp_path / "trials.db", "stage", space)
    for number, rate in enumerate(Float(1e-4, 1e-2, step=1e-3).values()):
        params: Point = {"learning_rate": rate, "size": 96, "width": 64, "flag": number % 2 == 0}
        database.write(Trial(number, 0, params, 1, [gave(rate)], "complete"))
    study = open_with_optuna(tmp_path / "trials.db", "stage")
    assert [t.params["learning_rate"] for t in study.trials] == [
        float(f"{0.0001 + i * 0.001:.4f}") for i in range(10)
    ]
    assert study.best_params["flag"] is True


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    first = TrialsDatabase(path, "cnn-tuned", SPACE)
    for trial in TRIALS:
        write_whole_life(first, trial)
    before = plain(open_with_optuna(path).trials)
    # The same process, and one that goes on from the files.
    for database in (first, TrialsDatabase(path, "cnn-tuned", SPACE)):
        for trial in TRIALS:
            write_whole_life(database, trial)
        assert plain(open_with_optuna(path).trials) == before


def test_a_trial_that_ran_when_the_process_ended_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    running = replace(TRIALS[0], rungs=TRIALS[0].rungs[:1], state="running")
    TrialsDatabase(path, "cnn-tuned", SPACE).write(running)
    assert open_with_optuna(path).trials[0].state == TrialState.RUNNING
    write_whole_life(TrialsDatabase(path, "cnn-tuned", SPACE), TRIALS[0])
    (trial,) = open_with_optuna(path).trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.9, 2: 0.5}


def test_the_database_catches_up_with_a_trial_that_it_never_saw_run(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    TrialsDatabase(path, "cnn-tuned", SPACE).write(TRIALS[0])
    (trial,) = open_with_optuna(path).trials
    assert (trial.state, trial.intermediate_values) == (TrialState.COMPLETE, {1: 0.9, 2: 0.5})


def test_where_it_cannot_be_written_it_says_so_once_and_catches_up(tmp_path: Path) -> None:
    path, told = tmp_path / "trials.db", list[str]()
    path.mkdir()  # What is no file can be neither read nor written.
    database = TrialsDatabase(path, "cnn-tuned", SPACE, told.append)
    for trial in TRIALS[:3]:
        write_whole_life(database, trial)
    (message,) = told
    assert f"{path} cannot be written (unable to open database file)" in message
    assert "'cnn-tuned'" in message
    with pytest.raises(RunFolderError, match=r"cannot write .*trials\.db: unable to open"):
        forget_stage(path, "cnn-tuned")
    path.rmdir()
    write_whole_life(database, TRIALS[3])
    undisturbed = tmp_path / "other.db"
    for trial in TRIALS[:4]:
        write_whole_life(TrialsDatabase(undisturbed, "cnn-tuned", SPACE), trial)
    assert plain(open_with_optuna(path).trials) == plain(open_with_optuna(undisturbed).trials)


@pytest.mark.parametrize("damage", ["no database", "malformed"])
def test_a_damaged_one_is_set_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    path, told = tmp_path / "trials.db", list[str]()
    for trial in TRIALS[:2]:
        write_whole_life(TrialsDatabase(path, "cnn-tuned", SPACE), trial)
    before = plain(open_with_optuna(path).trials)
    content = path.read_bytes()
    # All but the header, or the header too.
    kept = 0 if damage == "no database" else 100
    path.write_bytes(content[:kept] + b"\xff" * (len(content) - kept))
    database = TrialsDatabase(path, "cnn-tuned", SPACE, told.append)
    for trial in TRIALS[:2]:
        write_whole_life(database, trial)
    assert [f"{path} is damaged: kept as trials.db.damaged" in message for message in told] == [
        True
    ]
    assert (tmp_path / "trials.db.damaged").stat().st_size == len(content)
    assert plain(open_with_optuna(path).trials) == before
    path.write_bytes(b"no database" * 1000)
    forget_stage(path, "cnn-tuned")
    assert not path.exists()


def test_stages_have_studies_of_their_own_and_one_can_be_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    forget_stage(path, "one")  # There is no database yet, and none is made.
    assert not path.exists()
    for stage in ("one", "two"):
        TrialsDatabase(path, stage, SPACE).write(TRIALS[0])
    storage = f"sqlite:///{path}"
    assert sorted(optuna.get_all_study_names(storage)) == ["one", "two"]
    forget_stage(path, "three")
    forget_stage(path, "one")
    assert optuna.get_all_study_names(storage) == ["two"]
    assert len(open_with_optuna(path, "two").trials) == 1

    space = SearchSpace({"num_hidden_layers": Int(5, 9)})
    trial = Trial(0, 0, {"num_hidden_layers": 7}, 1, [gave(0.1)], "complete")
    TrialsDatabase(path, "one", space).write(trial)
    assert [t.params for t in open_with_optuna(path, "one").trials] == [{"num_hidden_layers": 7}]


@pytest.mark.parametrize("name", ["a?b", "c%20d", "e#f", "{g}", "ü  +h&i=j", "a:b@c"])
def test_a_database_lies_in_its_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    TrialsDatabase(folder / "trials.db", "one", SPACE).write(TRIALS[0])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in folder.iterdir()] == ["trials.db"]
    with closing(sqlite3.connect(folder / "trials.db")) as database:
        assert database.execute("SELECT study_name FROM studies").fetchall() == [("one",)]
    assert len(open_with_optuna(folder / "trials.db", "one").trials) == 1


def test_a_stage_that_has_ended_is_restored_as_it_was_written(tmp_path: Path) -> None:
    first, again = tmp_path / "first.db", tmp_path / "again.db"
    for trial in TRIALS:
        write_whole_life(TrialsDatabase(first, "cnn-tuned", SPACE), trial)
    restore_stage(again, "cnn-tuned", SPACE, [trial.describe() for trial in TRIALS])
    assert plain(open_with_optuna(again).trials) == plain(open_with_optuna(first).trials)


# Importances


def described(points: list[dict[str, Any]], losses: list[float | None]) -> list[dict[str, Any]]:
    return [
        Trial(n, 0, point, n, [gave(loss, 1.0, None if loss else "x")], "pruned").describe()
        for n, (point, loss) in enumerate(zip(points, losses, strict=True))
    ]


def draw(num: int) -> list[dict[str, Any]]:
    return [find_sampler("random").propose(SPACE, [], seed) for seed in range(num)]


def test_the_hyperparameter_that_alone_matters_explains_nearly_all() -> None:
    points = draw(40)
    losses: list[float | None] = [0.1 + abs(float(p["dropout_rate"]) - 0.2) for p in points]
    importances = measure_importances(SPACE, described(points, losses), seed=1)
    assert sum(importances.values()) == pytest.approx(1)
    assert set(importances) == set(SPACE.ranges)
    assert next(iter(importances)) == "dropout_rate"
    assert importances["dropout_rate"] > 0.8


def test_importances_follow_from_trials_and_seed() -> None:
    points = draw(20)
    trials = described(points, [float(p["learning_rate"]) for p in points])
    one, same = (measure_importances(SPACE, trials, seed=1) for _ in range(2))
    assert one == same


def test_what_did_not_vary_and_what_failed_takes_no_part() -> None:
    points = [{**p, "activation": "relu"} for p in draw(20)]
    losses: list[float | None] = [0.1 + float(p["dropout_rate"]) for p in points]
    losses[3] = losses[7] = None
    importances = measure_importances(SPACE, described(points, losses), seed=1)
    assert set(importances) == set(SPACE.ranges) - {"activation"}
    assert sum(importances.values()) == pytest.approx(1)


def test_importances_compare_losses_at_one_budget() -> None:
    points = draw(30)
    trials = [
        # The second round turns everything upside down; it must not count.
        Trial(n, 0, p, n, [gave(1 + p["dropout_rate"]), gave(9 - n, 3.0)], "complete").describe()
        for n, p in enumerate(points)
    ]
    trials += [
        Trial(30 + n, 1, p, n, [gave(50.0 * n, 9.0)], "complete").describe()
        for n, p in enumerate(draw(5))
    ]
    assert measure_importances(SPACE, trials, seed=1)["dropout_rate"] > 0.8


def test_too_little_to_tell_importances_from_gives_none() -> None:
    points = draw(6)
    assert measure_importances(SPACE, [], seed=1) == {}
    assert measure_importances(SPACE, described(points[:3], [1.0, 2.0, 3.0]), seed=1) == {}
    assert measure_importances(SPACE, described(points, [None] * 6), seed=1) == {}
    one = SearchSpace({"num_hidden_layers": Int(1, 6)})
    alone = described([{"num_hidden_layers": n} for n in range(1, 7)], [1.0, 2, 3, 4, 5, 6])
    assert measure_importances(one, alone, seed=1) == {}


def test_losses_that_are_all_the_same_say_nothing_of_importances() -> None:
    assert measure_importances(SPACE, described(draw(12), [0.5] * 12), seed=1) == {}
