from __future__ import annotations

import importlib.util
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from burnish.errors import StudyError
from burnish.space import Choice, Float, Int, SearchSpace
from burnish.tuning.samplers import (
    SAMPLERS,
    Observation,
    Point,
    Sampler,
    find_sampler,
    propose_params,
)
from burnish.tuning.samplers.ask_optuna import NUM_RANDOM

from . import SPACE

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the extra 'gp' is not installed"
)
every_sampler = pytest.mark.parametrize("name", ["random", "grid", "tpe"])
every_drawing_sampler = pytest.mark.parametrize("name", ["random", "tpe"])

SMALL = SearchSpace(
    {
        "layers": Int(1, 2),
        "size": Choice((32, 64, 128)),
        "activation": Choice(("relu", "tanh")),
        "dropout": Float(0.1, 0.5, step=0.2),
    }
)
"""36 points, of every kind of range that can be counted."""


def cost(point: Point) -> float:
    """Lowest at 3 layers, 128 units, relu, a dropout rate of 0.2, a learning rate of 0.002."""
    return (
        0.01
        + abs(int(point["num_hidden_layers"]) - 3) / 2
        + abs(math.log2(int(point["hidden_layer_size"]) / 128)) / 3
        + (0.5 if point["activation"] == "tanh" else 0.0)
        + abs(float(point["dropout_rate"]) - 0.2)
        + abs(math.log10(float(point["learning_rate"]) / 0.002))
    )


def search(
    sampler: Sampler,
    space: SearchSpace,
    num_trials: int,
    loss: Callable[[Point], float | None],
    seed: int = 0,
) -> list[Observation]:
    """Ask for one trial after the other, until the space is exhausted."""
    seen: list[Observation] = []
    for number in range(num_trials):
        point = propose_params(sampler, space, seen, seed * 1000 + number)
        if point is None:
            break
        seen.append(Observation(point, loss(point), 1.0))
    return seen


def observe(points: Sequence[Point], losses: Sequence[float | None]) -> list[Observation]:
    return [Observation(p, loss, 1.0) for p, loss in zip(points, losses, strict=True)]


def drawn(num: int, seed: int = 99) -> list[Point]:
    return [o.params for o in search(find_sampler("random"), SPACE, num, cost, seed)]


# Every sampler


@every_sampler
def test_a_small_space_is_proposed_once_each_and_then_nothing(name: str) -> None:
    seen = search(find_sampler(name), SMALL, 100, lambda point: float(point["dropout"]) + 0.1)
    assert len(seen) == SMALL.size == 36
    keys = {tuple(o.params.items()) for o in seen}
    assert keys == {tuple(point.items()) for point in SMALL.points()}
    assert propose_params(find_sampler(name), SMALL, seen, 1) is None


@every_drawing_sampler
def test_proposals_lie_in_the_space_and_none_comes_twice(name: str) -> None:
    seen = search(find_sampler(name), SPACE, 25, cost)
    assert len(seen) == 25
    steps = set(SPACE.ranges["dropout_rate"].values())
    for o in seen:
        assert o.params in SPACE
        assert list(o.params) == list(SPACE.ranges)
        # The very values of the range, not their neighbours by a rounding.
        assert o.params["dropout_rate"] in steps
        assert type(o.params["num_hidden_layers"]) is int
        assert type(o.params["hidden_layer_size"]) is int
        assert type(o.params["learning_rate"]) is float
    assert len({tuple(o.params.items()) for o in seen}) == 25


@every_sampler
def test_a_proposal_follows_from_space_observations_and_seed_alone(name: str) -> None:
    observations = search(find_sampler("random"), SMALL, 14, lambda point: float(point["dropout"]))
    first = propose_params(find_sampler(name), SMALL, observations, 5)
    # Neither what was proposed in between nor any global state counts.
    search(find_sampler(name), SMALL, 12, lambda point: 1.0)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert propose_params(find_sampler(name), SMALL, observations, 5) == first


@every_drawing_sampler
@pytest.mark.parametrize("known", [0, 14])
def test_another_seed_gives_other_proposals(name: str, known: int) -> None:
    observations = observe(drawn(known), [cost(point) for point in drawn(known)])
    proposals = [propose_params(find_sampler(name), SPACE, observations, seed) for seed in range(4)]
    assert len({tuple((p or {}).items()) for p in proposals}) == 4


@every_sampler
def test_a_running_trial_is_not_proposed_again(name: str) -> None:
    points = list(SMALL.points())
    done = [Observation(point, float(point["dropout"]), 1.0) for point in points[:20]]
    running = [Observation(point, None, 0.0, running=True) for point in points[20:35]]
    assert propose_params(find_sampler(name), SMALL, [*done, *running], 3) == points[35]


@every_sampler
def test_a_failed_trial_is_not_proposed_again(name: str) -> None:
    points = list(SMALL.points())
    known = [Observation(point, float(point["dropout"]), 1.0) for point in points[:20]]
    failed = [Observation(point, None, 1.0) for point in points[20:35]]
    assert propose_params(find_sampler(name), SMALL, [*known, *failed], 3) == points[35]


@every_sampler
def test_where_everything_failed_there_is_still_a_proposal(name: str) -> None:
    failed = [Observation(point, None, 1.0) for point in list(SMALL.points())[:30]]
    assert propose_params(find_sampler(name), SMALL, failed, 3) in SMALL


@every_sampler
def test_a_space_of_one_point_is_exhausted_by_it(name: str) -> None:
    space = SearchSpace({"size": Choice((64,)), "layers": Int(2, 2), "rate": Float(0.1, 0.1, 0.1)})
    point: Point = {"size": 64, "layers": 2, "rate": 0.1}
    assert propose_params(find_sampler(name), space, [], 1) == point
    assert propose_params(find_sampler(name), space, observe([point], [1.0]), 2) is None


@pytest.mark.parametrize("name", ["random", "grid"])
def test_the_order_of_observations_says_nothing_to_a_sampler_that_learns_nothing(name: str) -> None:
    observations = search(find_sampler("random"), SMALL, 20, lambda point: float(point["dropout"]))
    assert propose_params(find_sampler(name), SMALL, observations, 5) == propose_params(
        find_sampler(name), SMALL, observations[::-1], 5
    )


# Random


def test_random_takes_every_value_of_a_range_equally_often() -> None:
    space = SearchSpace({"size": Choice((32, 64, 128, 256)), "rate": Float(0.1, 0.5, step=0.1)})
    points = [find_sampler("random").propose(space, [], seed) for seed in range(2000)]
    for name, options in (("size", 4), ("rate", 5)):
        counts = Counter(point[name] for point in points)
        assert len(counts) == options
        assert min(counts.values()) > 0.85 * 2000 / options


def test_random_is_uniform_in_the_logarithm_of_a_logarithmic_range() -> None:
    space = SearchSpace({"rate": Float(1e-4, 1e-2, log=True), "size": Int(1, 1024, log=True)})
    points = [find_sampler("random").propose(space, [], seed) for seed in range(2000)]
    assert all(point in space for point in points)
    rates = [float(point["rate"]) for point in points]
    assert sum(rate < 1e-3 for rate in rates) / 2000 == pytest.approx(0.5, abs=0.05)
    assert min(rates) < 1.1e-4
    assert max(rates) > 9e-3
    sizes = [int(point["size"]) for point in points]
    assert sum(size <= 32 for size in sizes) / 2000 == pytest.approx(0.55, abs=0.05)
    assert {1, 2, 3} < set(sizes)
    assert max(sizes) > 900


def test_random_is_uniform_over_a_continuous_range() -> None:
    space = SearchSpace({"rate": Float(-1.0, 3.0)})
    rates = [float(find_sampler("random").propose(space, [], seed)["rate"]) for seed in range(2000)]
    assert all(-1 <= rate <= 3 for rate in rates)
    assert statistics.fmean(rates) == pytest.approx(1.0, abs=0.1)
    assert statistics.stdev(rates) == pytest.approx(4 / math.sqrt(12), abs=0.1)
    assert len(set(rates)) == 2000


def test_results_do_not_sway_random() -> None:
    point = drawn(1)[0]
    for loss in (0.1, 10.0, None):
        swayed = propose_params(find_sampler("random"), SPACE, observe([point], [loss]), 5)
        assert swayed == propose_params(find_sampler("random"), SPACE, [], 5)


# Grid


def test_grid_goes_through_the_combinations_in_order_the_last_name_fastest() -> None:
    seen = search(find_sampler("grid"), SMALL, 100, lambda point: 1.0)
    assert [o.params for o in seen] == list(SMALL.points())
    assert seen[0].params == {"layers": 1, "size": 32, "activation": "relu", "dropout": 0.1}
    assert seen[1].params == {"layers": 1, "size": 32, "activation": "relu", "dropout": 0.3}


def test_grid_leaves_out_what_the_bases_params_took_already() -> None:
    points = list(SMALL.points())
    observations = observe([points[7]], [1.0])
    order = []
    for seed in range(35):
        point = propose_params(find_sampler("grid"), SMALL, observations, seed)
        assert point is not None
        order.append(point)
        observations += observe([point], [1.0])
    assert order == points[:7] + points[8:]
    assert propose_params(find_sampler("grid"), SMALL, observations, 99) is None


# TPE


def test_tpe_draws_at_random_until_a_model_is_worth_having() -> None:
    points = drawn(NUM_RANDOM)
    losses = [cost(point) for point in points]
    few = observe(points[:-1], losses[:-1])
    for seed in range(3):
        at_random = propose_params(find_sampler("random"), SPACE, few, seed)
        assert propose_params(find_sampler("tpe"), SPACE, few, seed) == at_random
        # A failed or running trial is nothing to build a model on.
        for other in (Observation(points[-1], None, 1.0), Observation(points[-1], None, 0.0, True)):
            assert propose_params(find_sampler("tpe"), SPACE, [*few, other], seed) == at_random
    enough = observe(points, losses)
    proposals = [propose_params(find_sampler("tpe"), SPACE, enough, seed) for seed in range(3)]
    assert proposals != [propose_params(find_sampler("random"), SPACE, enough, s) for s in range(3)]


def test_tpe_beats_random_on_a_known_function() -> None:
    seeds, num_trials = range(6), 40

    def best_losses(sampler: Sampler) -> list[float]:
        runs = [search(sampler, SPACE, num_trials, cost, seed) for seed in seeds]
        return [min(o.loss for o in run if o.loss is not None) for run in runs]

    guided, blind = best_losses(find_sampler("tpe")), best_losses(find_sampler("random"))
    assert statistics.fmean(guided) < 0.7 * statistics.fmean(blind)


def test_failures_do_not_sway_the_model() -> None:
    points = drawn(16)
    known = observe(points[:14], [cost(point) for point in points[:14]])
    failed = observe(points[14:], [None, None])
    for seed in range(3):
        assert propose_params(find_sampler("tpe"), SPACE, known + failed, seed) == propose_params(
            find_sampler("tpe"), SPACE, known, seed
        )


def test_running_trials_are_told_to_the_model() -> None:
    points = drawn(16)
    known = observe(points, [cost(point) for point in points])
    best = min(points, key=cost)
    crowd = [{**best, "learning_rate": float(best["learning_rate"]) * (1 + i / 50)} for i in (1, 2)]
    running = [Observation(point, None, 0.0, running=True) for point in crowd * 4]
    proposals = [
        [propose_params(find_sampler("tpe"), SPACE, observations, seed) for seed in range(8)]
        for observations in (known, known + running)
    ]
    assert proposals[0] != proposals[1]


def layers_proposed(sampler: Sampler, observations: Sequence[Observation]) -> list[int]:
    proposals = [propose_params(sampler, SPACE, observations, seed) for seed in range(8)]
    return [int(p["num_hidden_layers"]) for p in proposals if p is not None]


def test_losses_are_compared_at_the_largest_budget_that_has_enough_of_them() -> None:
    points = drawn(24)
    layers = [int(point["num_hidden_layers"]) for point in points]
    # After one epoch few layers look best, after nine many.
    early = [Observation(p, 0.1 + n, 1.0) for p, n in zip(points, layers, strict=True)]
    late = [Observation(p, 0.1 + 3 - n, 9.0) for p, n in zip(points, layers, strict=True)]
    sampler = find_sampler("tpe")
    assert statistics.fmean(layers_proposed(sampler, early)) < 1.6
    assert statistics.fmean(layers_proposed(sampler, early + late)) > 2.4
    # Three late losses are too few to go by, and must not be mixed with early ones.
    assert layers_proposed(sampler, early + late[:3]) == layers_proposed(sampler, early)


def test_losses_of_many_magnitudes_and_of_zero_are_taken() -> None:
    points = drawn(14)
    losses = [10.0 ** (number - 7) for number in range(13)] + [0.0]
    assert propose_params(find_sampler("tpe"), SPACE, observe(points, losses), 1) in SPACE


def test_options_that_are_no_numbers_in_order_are_kept_as_they_are() -> None:
    space = SearchSpace(
        {
            "kind": Choice(("b", "a", "c")),
            "flag": Choice((True, False)),
            "size": Choice((64, 16, 32)),
            "rate": Choice((0.001, 0.01, 1)),
        }
    )
    seen = search(find_sampler("tpe"), space, 54, lambda point: 1.0 + len(str(point["size"])))
    assert len(seen) == 54
    for o in seen:
        assert type(o.params["flag"]) is bool
        assert o.params["size"] in (16, 32, 64)
        assert o.params["rate"] in (0.001, 0.01, 1)


def test_optunas_log_is_as_loud_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    search(find_sampler("tpe"), SPACE, 12, cost)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


# The Gaussian process: each of its proposals takes a second, so there are few


@needs_torch
def test_the_gaussian_process_proposes_new_points_by_observations_and_seed_alone() -> None:
    points = drawn(13)
    known = observe(points[:12], [cost(point) for point in points[:12]])
    running = [Observation(points[12], None, 0.0, running=True)]
    proposal = propose_params(find_sampler("gp"), SPACE, known + running, 1)
    assert proposal in SPACE
    assert proposal not in points
    assert proposal != propose_params(find_sampler("random"), SPACE, known + running, 1)
    assert propose_params(find_sampler("gp"), SPACE, known + running, 1) == proposal


@needs_torch
def test_the_gaussian_process_exhausts_a_small_space_once_each() -> None:
    space = SearchSpace({"size": Choice((32, 64, 128)), "layers": Int(1, 4)})
    seen = search(find_sampler("gp"), space, 20, lambda point: float(point["layers"]))
    assert len(seen) == 12
    assert {tuple(o.params.values()) for o in seen} == {tuple(p.values()) for p in space.points()}


# By name


def test_samplers_are_found_by_name() -> None:
    assert SAMPLERS.names() == ("random", "grid", "tpe", "gp")
    assert find_sampler("tpe") is find_sampler("tpe")
    assert {s.name for s in SAMPLERS if s.adaptive} == {"tpe", "gp"}
    assert {s.name for s in SAMPLERS if s.exhaustive} == {"grid"}
    with pytest.raises(StudyError, match="unknown sampler 'tpee'; did you mean 'tpe'") as caught:
        find_sampler("tpee")
    assert "grid" in str(caught.value)


def test_without_torch_the_gaussian_process_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"'gp' needs PyTorch: pip install 'burnish\[gp\]'.*'tpe'"):
        find_sampler("gp")


@needs_torch
def test_with_torch_the_gaussian_process_is_found() -> None:
    assert find_sampler("gp") is SAMPLERS.find("gp")


@every_sampler
def test_what_is_not_admitted_is_never_proposed_and_all_else_is(name: str) -> None:
    def allows(point: Point) -> bool:
        return point["size"] != 64 and point["layers"] == 1

    known: list[Observation] = []
    while True:
        point = propose_params(find_sampler(name), SMALL, known, len(known), allows)
        if point is None:
            break
        assert allows(point)
        known += observe([point], [cost_of(point)])
    assert len(known) == SMALL.size // 3 if SMALL.size else False
    assert len({tuple(o.params.values()) for o in known}) == len(known)


def test_a_grid_goes_on_behind_what_is_not_admitted() -> None:
    space = SearchSpace({"size": Int(1, 60)})
    known: list[Observation] = []
    for number in range(3):
        point = propose_params(
            find_sampler("grid"), space, known, number, lambda p: int(p["size"]) > 40
        )
        assert point is not None
        known += observe([point], [1.0])
    assert [o.params["size"] for o in known] == [41, 42, 43]
    assert propose_params(find_sampler("grid"), space, known, 9, lambda point: False) is None


@every_drawing_sampler
def test_a_space_without_end_of_which_nothing_is_admitted_ends(name: str) -> None:
    space = SearchSpace({"rate": Float(0.1, 0.5)})
    assert propose_params(find_sampler(name), space, [], 1, lambda point: False) is None
    rare = propose_params(find_sampler(name), space, [], 1, lambda p: float(p["rate"]) < 0.12)
    assert rare is not None
    assert float(rare["rate"]) < 0.12


def cost_of(point: Point) -> float:
    return 0.1 + float(point["dropout"])
