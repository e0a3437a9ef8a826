from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.files import read_json, write_json
from burnish.models import count_weights
from burnish.planning.features import Found
from burnish.planning.forecast import (
    FIXED_SECONDS,
    SETTLING_EPOCHS,
    Costs,
    StageCost,
    StageForecast,
    expected_epochs,
    forecast,
    probe_study,
    total_seconds,
)
from burnish.planning.plan import describe_plan, plan_study
from burnish.planning.shrink import keep_stages, shrink_to
from burnish.planning.time_budget import TimeBudget
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.stages.placement import LocalPlacement, Placement
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, TuneStage
from burnish.study.study import Study
from burnish.study.text import shipped_studies
from burnish.training import TrainingSettings
from burnish.training.probe import FitCost

from ..study import read_result

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "planned"

[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }

[training]
batch_size = 100
max_epochs = 10

[[stage]]
name = "alone"
kind = "train"
model = "fnn"

[[stage]]
name = "hyperband"
kind = "tune"
base = "alone"
sampler = "random"
schedule = { name = "hyperband", max_epochs = 3, factor = 3 }
[stage.space]
num_hidden_layers = [1, 2, 3]
hidden_layer_size = [16, 32, 64, 128]

[[stage]]
name = "halving"
kind = "tune"
base = "hyperband"
trials = 8
schedule = { name = "successive-halving", min_epochs = 0.5, max_epochs = 2, factor = 4 }
training = { learning_rate_schedule = "one-cycle" }
refit = { max_epochs = 3 }
[stage.space]
dropout_rate = { low = 0.1, high = 0.5, step = 0.05 }

[[stage]]
name = "grid"
kind = "tune"
base = "halving"
sampler = "grid"
folds = 2
schedule = { max_epochs = 1 }
refit = { max_epochs = 40, patience = 10 }
[stage.space]
learning_rate = [0.001, 0.002, 0.003, 0.005]

[[stage]]
name = "final"
kind = "final"
"""

OWN = FitCost(start_seconds=1.0, step_seconds=0.01, validation_seconds=0.5, num_parameters=1000)
IN_A_WORKER = FitCost(2.0, 0.02, 0.25, 500)
STEPS = 11  # 1,078 images in batches of 100.
FOLD_STEPS = 6  # Half of them.


def parse(text: str = STUDY, *overrides: str) -> Study:
    return parse_study(text, "the test's study", overrides)[0]


def same_costs(study: Study) -> Costs:
    return {
        stage.name: StageCost(IN_A_WORKER if isinstance(stage, TuneStage) else None, OWN)
        for stage in study.stages
        if stage.kind != "final"
    }


def forecast_of(study: Study, data: Dataset, workers: int = 2) -> dict[str, StageForecast]:
    return {s.name: s for s in forecast(study, same_costs(study), data, workers)}


def own(epochs: float) -> float:
    return 1.0 + 0.01 * STEPS * epochs + 0.5 * max(1, epochs)


def in_a_worker(epochs: float, steps: int = STEPS, validated: float = 1.0) -> float:
    return 2.0 + 0.02 * steps * epochs + 0.25 * max(1, epochs) * validated


# The forecast's arithmetic


def test_a_train_stage_costs_one_fit(digits: Dataset) -> None:
    assert len(digits.train) == 1078
    alone = forecast_of(parse(), digits)["alone"]
    assert (alone.trials, alone.epochs) == (0, 10)
    assert alone.seconds == pytest.approx(own(10))


def test_a_fit_that_stops_early_is_expected_to_settle_first() -> None:
    settings = TrainingSettings(max_epochs=100, patience=5)
    assert expected_epochs(settings) == SETTLING_EPOCHS + 5
    assert expected_epochs(settings, budget=4) == 4
    one_cycle = TrainingSettings(max_epochs=100, learning_rate_schedule="one-cycle")
    assert expected_epochs(one_cycle) == 100
    assert expected_epochs(one_cycle, budget=0.5) == 0.5


def test_a_promoted_trial_that_continues_costs_what_is_added(digits: Dataset) -> None:
    # (3 trials, 1 epoch) (1, 3); (2, 3), on two workers that are kept busy.
    stage = forecast_of(parse(), digits)["hyperband"]
    assert stage.trials == 5
    assert stage.epochs == pytest.approx(10 + 3 * 1 + 1 * 2 + 2 * 3)
    search = 3 * in_a_worker(1) + in_a_worker(2) + 2 * in_a_worker(3)
    assert stage.seconds == pytest.approx(own(10) + search / 2)


def test_a_promoted_trial_that_restarts_costs_its_whole_budget(digits: Dataset) -> None:
    # (8 trials, half an epoch) (2, 2): four turns, then one.
    stage = forecast_of(parse(), digits)["halving"]
    assert stage.trials == 8
    assert stage.epochs == pytest.approx(3 + 8 * 0.5 + 2 * 2)
    assert stage.seconds == pytest.approx(own(3) + 4 * in_a_worker(0.5) + in_a_worker(2))


def test_folds_multiply_the_fits_and_shorten_their_epochs(digits: Dataset) -> None:
    stage = forecast_of(parse(), digits)["grid"]
    refit = SETTLING_EPOCHS + 10
    assert stage.trials == 4
    assert stage.epochs == pytest.approx(refit + 4)  # Eight fits on one half of the images each.
    # A fold is validated on the other half, which is more than the validation split.
    half = 1078 / 2 / len(digits.val)
    assert half > 1.4
    assert stage.seconds == pytest.approx(own(refit) + 4 * in_a_worker(1, FOLD_STEPS, half))


def test_every_further_seed_costs_a_stages_own_fit_once_more(digits: Dataset) -> None:
    once = forecast_of(parse(), digits)
    thrice = forecast_of(parse(STUDY, "alone.seeds=3", "halving.seeds=3"), digits)
    for name, epochs in (("alone", 10), ("halving", 3)):
        assert thrice[name].seconds == pytest.approx(once[name].seconds + 2 * own(epochs))
        assert thrice[name].epochs == pytest.approx(once[name].epochs + 2 * epochs)
    assert thrice["grid"] == once["grid"]


def test_few_fits_leave_workers_idle(digits: Dataset) -> None:
    one, eight = (forecast_of(parse(), digits, workers)["hyperband"] for workers in (1, 8))
    assert one.seconds == pytest.approx(
        own(10) + 3 * in_a_worker(1) + in_a_worker(2) + 2 * in_a_worker(3)
    )
    # The promoted trial takes its time, however many workers there are.
    assert eight.seconds == pytest.approx(own(10) + in_a_worker(1) + in_a_worker(2))
    assert one.epochs == eight.epochs


def test_promoted_and_inherited_networks_are_as_dear_as_winners_are(digits: Dataset) -> None:
    slow = FitCost(3.0, 0.03, 0.75, 5000)
    study = parse()
    costs = {
        name: StageCost(cost.trial, cost.own, slow if cost.trial else None)
        for name, cost in same_costs(study).items()
    }
    stages = {s.name: s for s in forecast(study, costs, digits, 2)}

    def winner(epochs: float) -> float:
        return 3.0 + 0.03 * STEPS * epochs + 0.75 * max(1, epochs)

    # The first round of a search meets the whole space, later ones its best.
    search = 3 * in_a_worker(1) + winner(2) + 2 * in_a_worker(3)
    assert stages["hyperband"].seconds == pytest.approx(own(10) + search / 2)
    # What builds on a search has its winner's structure from the beginning.
    assert stages["halving"].seconds == pytest.approx(own(3) + 4 * winner(0.5) + winner(2))


def test_the_final_stage_fits_nothing(digits: Dataset) -> None:
    final = forecast_of(parse(), digits)["final"]
    assert (final.trials, final.epochs, final.seconds) == (0, 0, 0)


def test_a_plan_adds_its_stages_up_and_is_plain_data(digits: Dataset) -> None:
    study = parse()
    stages = forecast(study, same_costs(study), digits, 2)
    plan = describe_plan(study, stages, 1_234_567)
    assert json.loads(json.dumps(plan)) == plan
    assert plan["study"] == "planned"
    assert plan["seconds"] == pytest.approx(total_seconds(stages), abs=0.1)
    assert total_seconds(stages) == FIXED_SECONDS + sum(stage.seconds for stage in stages)
    assert plan["disk_bytes"] == 1_234_567
    assert [stage["name"] for stage in plan["stages"]] == [s.name for s in study.stages]
    for described, stage in zip(plan["stages"], stages, strict=True):
        assert set(described) == {"name", "trials", "epochs", "seconds"}
        assert described["trials"] == stage.trials
        assert described["seconds"] == pytest.approx(stage.seconds, abs=0.1)


# Shrinking

TUNING = ("hyperband", "halving", "grid")

BIG = [
    "alone.training.max_epochs=15",
    "hyperband.schedule.max_epochs=27",
    "halving.trials=60",
    "halving.schedule.max_epochs=8",
    "halving.refit.max_epochs=30",
    "grid.schedule.max_epochs=4",
]


def big() -> tuple[Study, str]:
    return parse_study(STUDY, "the test's study", BIG)


def seconds_of(study: Study, data: Dataset) -> float:
    return total_seconds(forecast(study, same_costs(study), data, 2))


def shrink(seconds: float, data: Dataset, done: tuple[str, ...] = ()) -> tuple[Study, str]:
    study, text = big()
    return shrink_to(study, text, same_costs(study), data, 2, seconds, done)


def test_a_study_that_fits_is_given_back_as_it_is(digits: Dataset) -> None:
    study, text = big()
    assert shrink(seconds_of(study, digits) + 1, digits) == (study, text)


@pytest.mark.parametrize("share", [0.95, 0.8, 0.6, 0.45, 0.3])
def test_a_shrunk_study_fits_uses_most_of_the_time_and_is_what_its_text_says(
    share: float, digits: Dataset
) -> None:
    study, _ = big()
    whole = seconds_of(study, digits)
    shrunk, text = shrink(share * whole, digits)
    assert share * whole * 0.7 < seconds_of(shrunk, digits) <= share * whole
    assert parse_study(text, "its own text") == (shrunk, text)
    # Stages, spaces and samplers are those of the study; no number has grown.
    for small, large in zip(shrunk.stages, study.stages, strict=True):
        assert (small.name, small.kind) == (large.name, large.kind)
        if not isinstance(small, TuneStage) or not isinstance(large, TuneStage):
            continue
        assert small.space == large.space
        assert small.sampler == large.sampler
        assert small.schedule.name == large.schedule.name
        for a, b in zip(shrunk.brackets(small), study.brackets(large), strict=False):
            assert a.rungs[-1].epochs <= b.rungs[-1].epochs
        trials = [
            s.brackets(t)[0].rungs[0].num_trials for s, t in ((shrunk, small), (study, large))
        ]
        assert trials[0] <= trials[1]
        assert shrunk.refit_settings(small).max_epochs <= study.refit_settings(large).max_epochs


def test_further_seeds_are_what_a_plan_gives_up_first(digits: Dataset) -> None:
    text = STUDY.replace('base = "halving"', 'base = "halving"\nseeds = 4')
    study = parse(text)
    costs = same_costs(study)
    whole = total_seconds(forecast(study, costs, digits, 2))
    plain = total_seconds(forecast(parse(), costs, digits, 2))
    assert plain < whole - 1
    shrunk, shrunk_text = shrink_to(study, text, costs, digits, 2, plain + 0.5)
    assert shrunk == parse()
    assert parse(shrunk_text) == shrunk
    # Of a stage that is done they stay.
    names = [stage.name for stage in study.stages[:-1]]
    kept, _ = shrink_to(study, text, costs, digits, 2, 13.0, names)
    assert kept == study


def costs_by_size(study: Study) -> dict[str, StageCost]:
    """As :func:`same_costs`, but networks of the first search take 1 to 20 ms a step."""
    steps = {1.0: 0.001, 4.0: 0.004, 9.0: 0.009, 20.0: 0.02}
    samples = tuple(FitCost(1.0, step, 0.1, 100, size) for size, step in steps.items())
    mean = FitCost(1.0, 0.0085, 0.1, 100)
    slowest = StageCost(mean, samples[-1], samples[-1])
    return {
        **{stage.name: slowest for stage in study.stages if stage.kind != "final"},
        "hyperband": replace(slowest, samples=samples),
    }


def limit_of(study: Study) -> float | None:
    stage = study.stage("hyperband")
    assert isinstance(stage, TuneStage)
    return stage.max_mflops


def test_a_plan_leaves_out_networks_that_few_minutes_would_not_train_to_the_end(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, text = big()
    costs = costs_by_size(study)
    whole = total_seconds(forecast(study, costs, digits, 2))
    # At half the time an epoch may take eleven milliseconds a step.
    share = math.ceil(len(digits.train) / 100) * 0.011 / (whole / 2)
    monkeypatch.setattr("burnish.planning.shrink.EPOCH_SHARE", share)
    limits = []
    for seconds in (whole + 1, whole - 1, whole / 2):
        shrunk, _ = shrink_to(study, text, costs, digits, 2, seconds)
        assert total_seconds(forecast(shrunk, costs, digits, 2)) <= seconds
        limits.append(limit_of(shrunk))
    # As given where it fits; else between the two that were probed next to it, or beyond them.
    assert limits[0] is None
    assert limits[2] == pytest.approx(11.0, rel=0.01)
    assert limits[1] == pytest.approx(22.0 * (whole - 1) / whole, rel=0.01)
    # However little is left, and whatever it is rounded to, the smallest network stays.
    for least in (1.2341, 1.2349, 1.0):
        sizes = (least, 4.0, 9.0, 20.0)
        samples = tuple(
            replace(sample, mflops=size)
            for sample, size in zip(costs["hyperband"].samples, sizes, strict=True)
        )
        few = {**costs, "hyperband": replace(costs["hyperband"], samples=samples)}
        for seconds in (1.0, 0.0, -60.0):
            shrunk, _ = shrink_to(study, text, few, digits, 2, seconds, ["alone"])
            assert least <= (limit_of(shrunk) or 0.0) < 1.011 * least
    # Networks that cannot be counted, or are all of a size, are not limited.
    for size in (0.0, 7.0):
        samples = tuple(replace(s, mflops=size) for s in costs["hyperband"].samples)
        same = {**costs, "hyperband": replace(costs["hyperband"], samples=samples)}
        assert limit_of(shrink_to(study, text, same, digits, 2, whole / 2)[0]) is None
    # A smaller one of the user's stays.
    own, own_text = parse_study(text, "own", ["hyperband.max_mflops=3.0"])
    shrunk, _ = shrink_to(own, own_text, costs, digits, 2, whole / 3)
    assert limit_of(shrunk) == 3.0


def test_what_a_limit_leaves_out_costs_nothing_also_in_what_inherits(digits: Dataset) -> None:
    chain, _ = parse_study(CHAIN, "chain")
    samples = (FitCost(1.0, 0.001, 0.1, 10, 1.0), FitCost(1.0, 0.01, 1.0, 90, 9.0))
    slow = StageCost(samples[1], samples[1], samples[1])
    costs = {"first": slow, "tuned": replace(slow, samples=samples), "refined": slow}
    limited, _ = parse_study(CHAIN, "chain", ["tuned.max_mflops=5"])
    plain = {s.name: s.seconds for s in forecast(chain, costs, digits, 2)}
    small = {s.name: s.seconds for s in forecast(limited, costs, digits, 2)}
    # Half of the way from the smaller to the larger, and so is a step of it.
    middle = replace(samples[1], step_seconds=0.0055, validation_seconds=0.55)
    mean = replace(middle, step_seconds=0.00325, validation_seconds=0.325)
    at_limit = {
        "tuned": StageCost(mean, middle, middle),
        "refined": StageCost(middle, middle, middle),
    }
    exact = {s.name: s.seconds for s in forecast(chain, {**costs, **at_limit}, digits, 2)}
    assert small["first"] == plain["first"]
    assert small["tuned"] == pytest.approx(exact["tuned"])
    assert small["refined"] == pytest.approx(exact["refined"])
    assert small["refined"] < plain["refined"]
    # Once the search is done, what was found is known: its cost is no guess any more.
    (refined, _) = forecast(limited, costs, digits, 2, ["first", "tuned"])
    assert refined.seconds == plain["refined"]


def test_only_what_a_limit_admits_is_probed(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.planning.forecast.SAMPLES", 4)
    study, _ = parse_study(CHAIN, "chain", ["tuned.max_mflops=0.004"])
    costs = probe_study(study, digits, tmp_path, LocalPlacement(1))
    operations = [sample.mflops for sample in costs["tuned"].samples]
    assert len(operations) == 4
    assert 0 < max(operations) <= 0.004
    assert costs["refined"].samples == ()


def test_folds_shrink_to_two_and_no_further(digits: Dataset) -> None:
    study, text = parse_study(STUDY, "the test's study", [*BIG, "grid.folds=5"])
    costs = same_costs(study)
    folds: list[int] = []
    for share in (1.0, 0.9, 0.6, 0.3):
        seconds = share * total_seconds(forecast(study, costs, digits, 2))
        stage = shrink_to(study, text, costs, digits, 2, seconds)[0].stage("grid")
        assert isinstance(stage, TuneStage)
        folds.append(stage.folds or 0)
    assert folds == sorted(folds, reverse=True)
    assert (folds[0], folds[-1]) == (5, 2)
    # Where there are none, none are made.
    shrunk, _ = shrink(0.3 * seconds_of(parse(STUDY, *BIG), digits), digits)
    halving = shrunk.stage("halving")
    assert isinstance(halving, TuneStage)
    assert halving.folds is None


def rounds_of(study: Study, name: str) -> list[tuple[int, float]]:
    stage = study.stage(name)
    assert isinstance(stage, TuneStage)
    (bracket,) = study.brackets(stage)
    return [(rung.num_trials, rung.epochs) for rung in bracket.rungs]


def test_a_small_plan_has_no_more_rounds_than_leave_two_to_be_compared(digits: Dataset) -> None:
    overrides = [
        "halving.space.dropout_rate.step=0.01",
        "halving.trials=40",
        "halving.schedule.min_epochs=0.1",
    ]
    study, text = parse_study(STUDY, "s", overrides)
    assert [trials for trials, _ in rounds_of(study, "halving")] == [40, 10, 3]
    costs = same_costs(study)
    whole = total_seconds(forecast(study, costs, digits, 2))
    for share in (0.55, 0.6):
        shrunk, _ = shrink_to(study, text, costs, digits, 2, share * whole)
        (first, last) = rounds_of(shrunk, "halving")
        assert first[0] < 16  # A third round would have one.
        assert last[0] >= 2


def test_what_sets_its_own_trials_is_shrunk_by_its_epochs(digits: Dataset) -> None:
    points = "hyperband.points_to_evaluate=[{num_hidden_layers=1}, {num_hidden_layers=3}]"
    grid = "grid.schedule={name='successive-halving', min_epochs=2, max_epochs=8, factor=2}"
    study, text = parse_study(STUDY, "s", [points, grid])
    shrunk, _ = shrink_to(study, text, same_costs(study), digits, 2, 1.0, ("alone",))
    assert rounds_of(shrunk, "hyperband") == [(1, 1.0)]  # Fewer than there are points.
    assert rounds_of(shrunk, "grid") == [(4, 0.25)]


def test_few_minutes_go_into_the_points_that_a_study_names(digits: Dataset) -> None:
    overrides = [
        "halving.trials=30",
        "halving.space.dropout_rate.step=0.01",
        "halving.schedule={ name = 'successive-halving', min_epochs=0.25, max_epochs=4, factor=5 }",
    ]
    rates = ", ".join(f"{{ dropout_rate = {rate} }}" for rate in (0.2, 0.3, 0.4))
    points = f"halving.points_to_evaluate=[{rates}]"
    study, text = parse_study(STUDY, "s", [*overrides, points])
    costs = same_costs(study)
    whole = total_seconds(forecast(study, costs, digits, 2))

    def rounds_within(share: float, workers: int = 2) -> list[tuple[int, float]]:
        shrunk, _ = shrink_to(study, text, costs, digits, workers, share * whole)
        return rounds_of(shrunk, "halving")

    # The base's best and the first of the three, one a worker, for as long as the study says.
    assert rounds_within(0.6) == [(2, 4.0)]
    # As many workers as points: all are tried at once.
    ((trials, epochs),) = rounds_within(0.5, workers=4)
    assert trials == 4
    assert 2 < epochs < 4
    # With more time the sampler is asked, too.
    assert rounds_within(0.8)[0][0] == 20
    # Without points none of so few would be worth its epochs.
    study, text = parse_study(STUDY, "s", overrides)
    assert len(rounds_within(0.6)) == 2


def test_a_small_plan_halves_a_large_grid(digits: Dataset) -> None:
    rates = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02]
    overrides = [f"grid.space.learning_rate={rates}", "grid.schedule.max_epochs=2"]
    study, text = parse_study(STUDY, "s", overrides)
    costs = same_costs(study)
    whole = total_seconds(forecast(study, costs, digits, 2))

    def rounds_within(share: float) -> list[tuple[int, float]]:
        shrunk, _ = shrink_to(study, text, costs, digits, 2, share * whole)
        return rounds_of(shrunk, "grid")

    ((points, epochs),) = rounds_within(0.9)
    assert points == 8
    assert 1 < epochs < 2
    (first, last) = rounds_within(0.75)
    assert (first[0], last[0]) == (8, 2)
    assert 0.25 <= first[1] < 0.3 < 1 <= last[1] < 2
    # At the least of all epochs there is nothing to halve.
    shrunk, _ = shrink_to(study, text, costs, digits, 2, 1.0, ("alone",))
    assert rounds_of(shrunk, "grid") == [(8, 0.25)]


def test_a_halved_grid_costs_no_more_than_the_time_there_is(digits: Dataset) -> None:
    sizes = list(range(16, 52))
    overrides = [
        f"grid.space={{hidden_layer_size={sizes}}}",
        "grid.schedule.max_epochs=20",
        "grid.training={learning_rate_schedule='one-cycle'}",
    ]
    study, text = parse_study(STUDY, "s", overrides)
    costs = same_costs(study)
    whole = total_seconds(forecast(study, costs, digits, 2))
    for share in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        shrunk, _ = shrink_to(study, text, costs, digits, 2, share * whole)
        # Neither a plan far below the time, as there is none between it and a slower one.
        assert 0.9 * share < total_seconds(forecast(shrunk, costs, digits, 2)) / whole <= share
    # Two rounds of next to no epochs would cost more than the grid as it was given.
    study, text = parse_study(STUDY, "s", [*overrides, "grid.schedule.max_epochs=0.3"])
    shrunk, _ = shrink_to(study, text, costs, digits, 2, 1.0, ("alone",))
    assert rounds_of(shrunk, "grid") == [(36, 0.25)]


def test_more_time_never_gives_less(digits: Dataset) -> None:
    study, _ = big()
    whole = seconds_of(study, digits)
    plans = [shrink(share * whole, digits)[0] for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    forecasts = [{s.name: s for s in forecast(p, same_costs(p), digits, 2)} for p in plans]
    seconds = [seconds_of(plan, digits) for plan in plans]
    assert seconds == sorted(seconds)
    for name in ("alone", "halving", "grid"):
        trials = [stages[name].trials for stages in forecasts]
        epochs = [stages[name].epochs for stages in forecasts]
        assert trials == sorted(trials)
        assert epochs == sorted(epochs)
    assert forecasts[0]["grid"].trials == 4  # A grid keeps all of its points.


def test_stages_that_are_done_stay_as_they_are_and_cost_nothing(digits: Dataset) -> None:
    study, _ = big()
    by_name = {s.name: s.seconds for s in forecast(study, same_costs(study), digits, 2)}
    done = ("alone", "hyperband")
    left = FIXED_SECONDS + by_name["halving"] + by_name["grid"]
    assert shrink(left + 1, digits, done)[0] == study
    shrunk, text = shrink(0.6 * left, digits, done)
    for name in done:
        assert shrunk.stage(name) == study.stage(name)
    assert shrunk.stage("halving") != study.stage("halving")
    assert parse_study(text, "its own text")[0] == shrunk


def test_what_does_not_fit_any_more_is_shrunk_as_far_as_it_can_be(digits: Dataset) -> None:
    study, _ = big()
    done = ("alone", "hyperband", "halving")
    late, _ = shrink(-100.0, digits, done)
    for name in done:
        assert late.stage(name) == study.stage(name)
    grid = late.stage("grid")
    assert isinstance(grid, TuneStage)
    assert (grid.schedule.max_epochs, late.refit_settings(grid).max_epochs) == (0.25, 2)


def test_a_forecast_leaves_out_what_is_done(digits: Dataset) -> None:
    study, _ = big()
    costs = {name: cost for name, cost in same_costs(study).items() if name == "grid"}
    whole = forecast(study, same_costs(study), digits, 2)
    # Nor does it ask what that cost.
    left = forecast(study, costs, digits, 2, {"alone", "hyperband", "halving"})
    assert left == whole[-2:]


def test_what_is_done_stays_as_it_was_planned_and_the_rest_is_as_it_was_given() -> None:
    study, text = big()
    plan, plan_text = parse_study(text, "plan", [f"{s}.refit.max_epochs=3" for s in TUNING])
    kept, kept_text = keep_stages(text, plan_text, {"alone", "hyperband"})
    assert kept.stage("hyperband") == plan.stage("hyperband")
    for name in ("alone", "halving", "grid", "final"):
        assert kept.stage(name) == study.stage(name)
    assert parse_study(kept_text, "its own text") == (kept, kept_text)
    # 2 and 2.0 are the same number of epochs, and different fingerprints.
    whole, floats = (
        parse_study(STUDY, "s", [f"alone.training.max_epochs={epochs}"])[1] for epochs in (2, 2.0)
    )
    assert "max_epochs = 2.0" in keep_stages(whole, floats, {"alone"})[1]
    assert "max_epochs = 2.0" not in keep_stages(whole, floats, set())[1]
    # Where nothing was shrunk the text is the one that was given, with its comments.
    assert keep_stages("# mine" + STUDY, STUDY, {"alone"})[1] == "# mine" + STUDY


@pytest.mark.parametrize("seconds", [20.0, 0.0, -100.0])
def test_minutes_that_are_too_few_are_refused_with_what_it_would_take(
    seconds: float, digits: Dataset
) -> None:
    with pytest.raises(StudyError, match=r"'planned' does not fit into .* minutes") as caught:
        shrink(seconds, digits)
    assert "smallest plan takes" in str(caught.value)
    assert "Give more minutes" in str(caught.value)


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_study_that_ships_can_be_shrunk(name: str, digits: Dataset) -> None:
    study, text = parse_study(shipped_studies()[name], name)
    costs = same_costs(study)
    # Half of what can be shrunk: beside the short stages of some, the fixed part is most.
    stages = sum(stage.seconds for stage in forecast(study, costs, digits, 2))
    given = FIXED_SECONDS + 0.5 * stages
    shrunk, small_text = shrink_to(study, text, costs, digits, 2, given)
    assert total_seconds(forecast(shrunk, costs, digits, 2)) <= given
    assert parse_study(small_text, "its own text")[0] == shrunk


# Probed on this machine

SMALL = """
[study]
name = "small"

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
batch_size = 32
max_epochs = 3

[[stage]]
name = "first"
kind = "train"
model = "fnn"

[[stage]]
name = "tuned"
kind = "tune"
base = "first"
sampler = "random"
trials = 40
schedule = { max_epochs = 2 }
[stage.space]
hidden_layer_size = [8, 16, 32, 64]
learning_rate = { low = 0.0005, high = 0.02, log = true }

[[stage]]
name = "final"
kind = "final"
"""


CHAIN = SMALL.replace(
    """
[[stage]]
name = "final"
""",
    """
[[stage]]
name = "refined"
kind = "tune"
base = "tuned"
sampler = "random"
trials = 30
schedule = { max_epochs = 1 }
[stage.space]
learning_rate = { low = 0.0005, high = 0.02, log = true }

[[stage]]
name = "final"
""",
)


def test_the_plan_of_a_study_is_measured_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.planning.forecast.SAMPLES", 2)
    study, text = parse_study(SMALL, "small")
    plan = plan_study(study, text, workers=2)
    assert set(plan) == {"study", "seconds", "disk_bytes", "features", "stages"}
    assert [stage["name"] for stage in plan["stages"]] == ["first", "tuned", "final"]
    assert [stage["trials"] for stage in plan["stages"]] == [0, 40, 0]
    assert [stage["epochs"] for stage in plan["stages"]] == [3, 3 + 40 * 2, 0]
    first, tuned, final = (stage["seconds"] for stage in plan["stages"])
    assert 0 < first < tuned
    assert final == 0
    assert plan["seconds"] == pytest.approx(FIXED_SECONDS + first + tuned, abs=0.2)
    assert 1_000_000 < plan["disk_bytes"] < 1_000_000_000
    assert math.isfinite(plan["seconds"])


def test_what_inherits_from_a_search_that_is_done_is_measured_with_what_it_found(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.planning.forecast.SAMPLES", 2)
    study, _ = parse_study(CHAIN, "chain")
    size = {"num_hidden_layers": 1, "hidden_layer_size": 11}
    first = study.initial_params(study.stage("first"), {})  # type: ignore[arg-type]
    found = {"first": first, "tuned": {**first, **size}}
    costs = probe_study(study, digits, tmp_path, LocalPlacement(2), found)
    assert list(costs) == ["refined"]
    refined = costs["refined"]
    # 64 pixels, 11 units, ten classes: what is fitted has this size, whatever is drawn.
    weights = 64 * 11 + 11 + 11 * 10 + 10
    assert refined.trial is not None
    assert refined.likely is not None
    assert {refined.own.num_parameters, refined.trial.num_parameters} == {weights}
    assert refined.likely.step_seconds >= refined.trial.step_seconds > 0


class Notebook(Observer):
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.stages: dict[str, str] = {}
        self.notes: list[str] = []
        self.plans: list[Study] = []
        self.folder: Path | None = None
        self.interrupt_in = ""

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        if self.folder is not None:
            text = (self.folder / "study.toml").read_text(encoding="utf-8")
            self.plans.append(parse_study(text, "plan")[0])
        if name == self.interrupt_in:
            raise KeyboardInterrupt

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        self.stages[result["name"]] = "reused" if reused else "run"

    def on_note(self, message: str) -> None:
        self.notes.append(message)


def size_of_first(study: Study, data: Dataset) -> int:
    """Weights of the first stage's network, which the study file determines."""
    stage = study.stage("first")
    assert not isinstance(stage, FinalStage)
    params = study.initial_params(stage, {})
    return count_weights(study.family(stage), params, data.image_shape, data.num_classes)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pretend that a fit takes seconds, so that a minute plans a run of a moment."""
    probed: list[str] = []
    slow = FitCost(start_seconds=6.0, step_seconds=0.02, validation_seconds=0.5, num_parameters=900)

    def probe(
        study: Study, data: Dataset, scratch: Path, placement: Placement, found: Found
    ) -> Costs:
        probed.append(study.name)
        cost = replace(slow, num_parameters=size_of_first(study, data))
        return {name: StageCost(cost, cost) for name in ("first", "tuned", "other")}

    monkeypatch.setattr("burnish.planning.time_budget.probe_study", probe)
    return probed


def run_within(folder: Path, minutes: float, notes: Notebook) -> RunFolder:
    study, text = parse_study(SMALL, "small")
    run = RunFolder(folder)
    run_study(study, text, run, observer=notes, command="x", workers=2, minutes=minutes)
    return run


def test_a_run_within_minutes_stores_its_plan_and_takes_it_again(
    tmp_path: Path, probes: list[str]
) -> None:
    notes = Notebook()
    notes.interrupt_in = "tuned"
    with pytest.raises(KeyboardInterrupt):
        run_within(tmp_path / "run", 1.0, notes)
    run = RunFolder(tmp_path / "run")
    planned = run.study_file.read_text(encoding="utf-8")
    given, _ = parse_study(SMALL, "small")
    plan, _ = parse_study(planned, "plan")
    stage = plan.stage("tuned")
    assert isinstance(stage, TuneStage)
    assert stage.trials is not None
    assert 4 <= stage.trials < 40
    assert plan != given
    assert stage.space == given.stage("tuned").space  # type: ignore[union-attr]

    # It goes on by the plan that it began with.
    going_on = Notebook()
    run_within(run.path, 1.0, going_on)
    assert going_on.stages == {"first": "reused", "tuned": "run", "final": "run"}
    assert run.study_file.read_text(encoding="utf-8") == planned
    assert read_result(run, "tuned")["num_trials"] == stage.trials
    description = describe_run(run)
    assert description["state"] == "done"
    assert description["test"]["readings"] == 1
    assert probes == ["small"]  # What is planned is not measured again.

    # Again, with the same minutes: nothing is left to do, and nothing is planned.
    again = Notebook()
    run_within(run.path, 1.0, again)
    assert set(again.stages.values()) == {"reused"}
    assert run.study_file.read_text(encoding="utf-8") == planned
    assert probes == ["small"]
    assert not (run.path / "superseded").exists()

    # The plan that is stored is the same run without the clock.
    without = Notebook()
    run_study(plan, planned, run, observer=without, workers=2)
    assert set(without.stages.values()) == {"reused"}


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        (0.2, r"^of the 0\.2 minutes given, .* does not fit into 0\.2"),
        # Measuring has taken more than was given.
        (1e-6, r"^of the 1e-06 minutes given, 0\.0 are left .* does not fit into 0\.0"),
    ],
)
def test_minutes_that_are_too_few_are_refused_before_anything_is_fitted(
    tmp_path: Path, probes: list[str], minutes: float, message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        run_within(tmp_path / "run", minutes, Notebook())
    assert not (tmp_path / "run" / "stages").exists()
    assert describe_run(RunFolder(tmp_path / "run"))["state"] == "failed"


def test_other_minutes_are_another_plan_with_a_clock_of_its_own(
    tmp_path: Path, probes: list[str]
) -> None:
    notes = Notebook()
    notes.interrupt_in = "first"
    plans = []
    for minutes in (1.0, 1.0, 2.0, 1.0):
        with pytest.raises(KeyboardInterrupt):
            run_within(tmp_path / "run", minutes, notes)
        # So long did the run take, as far as its clock says.
        state = json.loads((tmp_path / "run" / "state.json").read_text(encoding="utf-8"))
        state["seconds"] = 30.0
        (tmp_path / "run" / "state.json").write_text(json.dumps(state), encoding="utf-8")
        plan, _ = parse_study((tmp_path / "run" / "study.toml").read_text(encoding="utf-8"), "plan")
        stage = plan.stage("tuned")
        assert isinstance(stage, TuneStage)
        assert stage.trials is not None
        plans.append(stage.trials)
    assert plans[0] == plans[1]  # It stands.
    assert plans[2] > plans[0] + 3
    assert plans[3] == pytest.approx(plans[0], abs=1)  # It begins anew, with its own clock.


def test_a_stage_that_had_whole_epochs_is_not_run_again_for_a_decimal_point(
    tmp_path: Path, probes: list[str]
) -> None:
    study, text = parse_study(SMALL, "small", ["first.training.max_epochs=2"])
    run = RunFolder(tmp_path / "run")
    stages = []
    for _ in range(2):
        notes = Notebook()
        run_study(study, text, run, observer=notes, workers=1, minutes=1.5)
        stages.append(set(notes.stages.values()))
    assert stages == [{"run"}, {"reused"}]
    plan, planned = parse_study(run.study_file.read_text(encoding="utf-8"), "plan")
    assert trials_of(plan, "tuned") < trials_of(study, "tuned")
    without = Notebook()
    run_study(plan, planned, run, observer=without, workers=1)
    assert set(without.stages.values()) == {"reused"}


def test_a_forecast_is_corrected_by_stages_that_trained_what_was_measured(
    tmp_path: Path, digits: Dataset
) -> None:
    study, text = parse_study(CHAIN, "chain")
    pace = TimeBudget(
        study, text, 1.0, RunFolder(tmp_path), LocalPlacement(1), digits, Observer().on_note
    )
    cost = FitCost(1.0, 0.1, 1.0, 100)
    pace.costs = {name: StageCost(cost, cost) for name in ("first", "tuned", "refined")}
    pace.planned_seconds = {"first": 30.0, "tuned": 100.0, "refined": 70.0}
    pace.stage_seconds = {"first": 45.0, "tuned": 300.0, "refined": 75.0}
    results: dict[str, Any] = {"first": {"num_parameters": 100}}
    assert pace.correct(results) == pytest.approx(1.5)
    results["tuned"] = {"num_parameters": 101}  # A larger network says nothing.
    assert pace.correct(results) == pytest.approx(1.5)
    # A gate that lets the base stay does not change what was trained.
    results["refined"] = {"num_parameters": 7, "gate": {"rejected": {"num_parameters": 100}}}
    assert pace.correct(results) == pytest.approx(120 / 100)
    pace.stage_seconds = {"first": 3.0, "refined": 4.0}
    assert pace.correct(results) == 0.7  # However quick a machine seems to be.
    pace.planned_seconds = {"first": 19.0}
    assert pace.correct(results) == 1.0  # So short a stage says nothing either.


def test_a_plan_that_was_broken_off_is_made_anew(tmp_path: Path, probes: list[str]) -> None:
    run = run_within(tmp_path / "run", 1.0, Notebook())
    smaller = trials_of(parse_study(run.study_file.read_text(encoding="utf-8"), "p")[0], "tuned")
    # Killed while it measured what a plan for more minutes needs.
    given = read_json(run.plan)["given"]
    write_json(run.plan, {"given": given | {"minutes": 1.4}, "began": 0.0})
    run.write_study(SMALL)
    run_within(run.path, 1.4, Notebook())
    # Not as the whole study, which stands there without a stage that was run by it.
    larger = read_result(run, "tuned")["num_trials"]
    assert smaller < larger < 40


def test_a_stage_that_stands_is_kept_when_one_before_it_is_run_again(
    tmp_path: Path, probes: list[str]
) -> None:
    other = """
[[stage]]
name = "other"
kind = "train"
model = "fnn"

[[stage]]
name = "final"
"""
    study, text = parse_study(SMALL.replace('\n[[stage]]\nname = "final"\n', other), "small")
    run = RunFolder(tmp_path / "run")
    for notes in (Notebook(), Notebook()):
        shutil.rmtree(run.stage(1, "first"), ignore_errors=True)
        notes.interrupt_in = "final"
        with pytest.raises(KeyboardInterrupt):
            run_study(study, text, run, observer=notes, workers=1, minutes=1.5)
    assert (notes.stages["first"], notes.stages["other"]) == ("run", "reused")


def run_chain(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: Mapping[str, int],
    seconds: float,
    seconds_of_found: float | None = None,
) -> tuple[Notebook, list[set[str]]]:
    """Run three stages, given six minutes, of which each fit seems to take so long."""
    probed: list[set[str]] = []

    def probe(
        study: Study, data: Dataset, scratch: Path, placement: Placement, found: Found
    ) -> Costs:
        probed.append(set(found))
        known = {"first": size_of_first(study, data), **sizes}
        start = seconds_of_found if found and seconds_of_found is not None else seconds
        costs = {
            stage.name: FitCost(start, 0.001, 0.1, known.get(stage.name, 1))
            for stage in study.stages
            if stage.kind != "final" and stage.name not in found
        }
        return {name: StageCost(cost, cost) for name, cost in costs.items()}

    monkeypatch.setattr("burnish.planning.time_budget.probe_study", probe)
    notes = Notebook()
    notes.folder, notes.interrupt_in = folder, "final"  # Nothing is planned after that.
    study, text = parse_study(CHAIN, "chain", CHEAP)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, text, RunFolder(folder), observer=notes, workers=1, minutes=6.0)
    return notes, probed


CHEAP = [
    *(f"{name}.trials=10" for name in ("tuned", "refined")),
    *(f"{name}.schedule.max_epochs=0.5" for name in ("tuned", "refined")),
    *(f"{name}.refit.max_epochs=2" for name in ("tuned", "refined")),
]


def trials_of(study: Study, name: str) -> int:
    stage = study.stage(name)
    assert isinstance(stage, TuneStage)
    return study.brackets(stage)[0].rungs[0].num_trials


def test_the_rest_is_planned_anew_by_what_was_found_and_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fits seem to take half a minute, and take a moment.
    notes, probed = run_chain(tmp_path / "run", monkeypatch, {}, 28.0)
    assert set(notes.stages.values()) == {"run"}
    assert probed == [set(), {"first", "tuned"}]
    assert notes.notes[1].startswith("measuring what fits of what was found cost")
    first, tuned, refined, final = notes.plans
    assert trials_of(first, "tuned") <= trials_of(tuned, "tuned") < 10
    # The time that the stages before did not take.
    assert trials_of(first, "refined") < trials_of(refined, "refined")
    # What has run stays as it was planned when it began.
    assert refined.stage("tuned") == tuned.stage("tuned") == final.stage("tuned")
    num_trials = read_result(RunFolder(tmp_path / "run"), "tuned")["num_trials"]
    assert num_trials == trials_of(tuned, "tuned")
    assert not any("behind the plan" in note for note in notes.notes)


def test_what_was_found_is_not_measured_where_it_is_as_large_as_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    few = ["tuned.trials=2", "refined.trials=2", "tuned.space.hidden_layer_size=[8]"]
    monkeypatch.setattr(f"{__name__}.CHEAP", [*CHEAP, *few])
    study, _ = parse_study(CHAIN, "chain", CHEAP)
    stage = study.stage("first")
    assert not isinstance(stage, FinalStage)
    params = {**study.initial_params(stage, {}), "hidden_layer_size": 8}
    size = count_weights(study.family(stage), params, digits.image_shape, 10)
    _, probed = run_chain(tmp_path / "run", monkeypatch, {"tuned": size}, 1.0)
    assert probed == [set()]


def test_a_run_that_is_late_goes_on_with_the_smallest_plan_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["tuned.trials=3", "refined.trials=6"]
    monkeypatch.setattr(f"{__name__}.CHEAP", [*CHEAP, *few])
    notes, _ = run_chain(tmp_path / "run", monkeypatch, {}, 1.0, seconds_of_found=200.0)
    run = RunFolder(tmp_path / "run")
    assert [note for note in notes.notes if note.startswith("behind the plan by")]
    assert read_result(run, "tuned")["num_trials"] == 3
    assert read_result(run, "refined")["num_trials"] == 4
