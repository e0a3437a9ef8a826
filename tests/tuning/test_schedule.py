from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import StudyError
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.tuning.schedules import (
    SCHEDULES,
    Bracket,
    Rung,
    Schedule,
    ScheduleOptions,
    plan_full,
    plan_hyperband,
    plan_successive_halving,
)


def table(brackets: tuple[Bracket, ...]) -> list[list[tuple[int, float]]]:
    return [[(rung.num_trials, rung.epochs) for rung in bracket.rungs] for bracket in brackets]


def test_hyperband_of_81_epochs_and_factor_3_is_the_published_table() -> None:
    assert table(plan_hyperband(81, 3)) == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (12, 9), (4, 27), (2, 81)],
        [(15, 9), (5, 27), (2, 81)],
        [(8, 27), (3, 81)],
        [(5, 81)],
    ]


def test_hyperband_of_the_published_mnist_study() -> None:
    # 50 epochs, factor 3: three halvings fit, 50 / 27 epochs to begin with.
    assert table(plan_hyperband(50, 3)) == [
        [(27, 50 / 27), (9, 50 / 9), (3, 50 / 3), (1, 50)],
        [(12, 50 / 9), (4, 50 / 3), (2, 50)],
        [(6, 50 / 3), (2, 50)],
        [(4, 50)],
    ]


@pytest.mark.parametrize(
    ("max_epochs", "factor", "expected"),
    [
        (1, 3, [[(1, 1)]]),
        (2.5, 3, [[(1, 2.5)]]),
        (3, 3, [[(3, 1), (1, 3)], [(2, 3)]]),
        (4, 2, [[(4, 1), (2, 2), (1, 4)], [(3, 2), (2, 4)], [(3, 4)]]),
        (10, 4, [[(4, 2.5), (1, 10)], [(2, 10)]]),
    ],
)
def test_hyperband_where_the_epochs_are_no_power_of_the_factor(
    max_epochs: float, factor: int, expected: list[list[tuple[int, float]]]
) -> None:
    assert table(plan_hyperband(max_epochs, factor)) == expected


def test_a_power_of_the_factor_is_not_missed_by_the_rounding_of_logarithms() -> None:
    # math.log(243, 3) is 4.999...
    assert [len(b.rungs) for b in plan_hyperband(243, 3)] == [6, 5, 4, 3, 2, 1]
    assert [len(b.rungs) for b in plan_hyperband(1000, 10)] == [4, 3, 2, 1]


@given(st.floats(1, 500), st.integers(2, 6))
def test_every_hyperband_bracket_narrows_to_survivors_with_the_whole_budget(
    max_epochs: float, factor: int
) -> None:
    brackets = plan_hyperband(max_epochs, factor)
    assert len(brackets) == 1 + max(s for s in range(12) if factor**s <= max_epochs * (1 + 1e-9))
    for bracket in brackets:
        assert bracket.rungs[-1].epochs == max_epochs
        assert bracket.rungs[-1].num_trials >= 1
        for rung, following in pairwise(bracket.rungs):
            assert following.num_trials == math.ceil(
                bracket.rungs[0].num_trials / (factor ** (bracket.rungs.index(following)))
            )
            assert following.epochs == pytest.approx(rung.epochs * factor)
    # The most exploring bracket begins with at least one epoch, and the last explores nothing.
    assert brackets[0].rungs[0].epochs >= 1 - 1e-9
    assert len(brackets[-1].rungs) == 1


def test_brackets_share_their_budgets_exactly_so_that_their_losses_compare() -> None:
    budgets = [{rung.epochs for rung in b.rungs} for b in plan_hyperband(50, 3)]
    for larger, smaller in pairwise(budgets):
        assert smaller < larger


def test_successive_halving_keeps_one_in_factor_and_multiplies_the_epochs() -> None:
    assert table(plan_successive_halving(30, 0.25, 4, 4)) == [[(30, 0.25), (8, 1), (2, 4)]]
    assert table(plan_successive_halving(27, 1, 27, 3)) == [[(27, 1), (9, 3), (3, 9), (1, 27)]]


def test_successive_halving_ends_with_the_whole_budget_whatever_the_ratio() -> None:
    ((first, middle, last),) = (b.rungs for b in plan_successive_halving(20, 0.5, 6, 3))
    assert (first.num_trials, middle.num_trials, last.num_trials) == (20, 7, 3)
    assert (first.epochs, last.epochs) == (0.5, 6)
    assert middle.epochs == pytest.approx(math.sqrt(0.5 * 6), rel=1e-5)


def test_a_small_ratio_still_makes_two_rounds() -> None:
    assert table(plan_successive_halving(10, 2, 3, 4)) == [[(10, 2), (3, 3)]]


def test_successive_halving_without_room_is_one_round() -> None:
    assert table(plan_successive_halving(10, 4, 4, 4)) == [[(10, 4)]]


@given(st.integers(1, 200), st.floats(0.05, 3), st.floats(1, 60), st.integers(2, 6))
def test_successive_halving_never_shrinks_a_budget_nor_grows_a_round(
    num_trials: int, min_epochs: float, times: float, factor: int
) -> None:
    (bracket,) = plan_successive_halving(num_trials, min_epochs, min_epochs * times, factor)
    epochs = [rung.epochs for rung in bracket.rungs]
    trials = [rung.num_trials for rung in bracket.rungs]
    assert bracket.rungs[0].num_trials == num_trials
    assert epochs[-1] == min_epochs * times
    assert epochs == pytest.approx(sorted(epochs), rel=1e-5)
    assert trials == sorted(trials, reverse=True)
    assert trials[-1] >= 1


def test_full_gives_every_trial_the_whole_budget_at_once() -> None:
    assert table(plan_full(30, 100)) == [[(30, 100)]]


def test_the_registry_holds_every_schedule_by_its_name() -> None:
    assert set(SCHEDULES.names()) == {"full", "hyperband", "successive-halving"}
    planned = SCHEDULES.find("hyperband").plan(ScheduleOptions(max_epochs=9, factor=3))
    assert planned == plan_hyperband(9, 3)


def _plan_doubling(options: ScheduleOptions) -> tuple[Bracket, ...]:
    """Two rounds: a quarter of the trials go on, with twice the epochs."""
    trials = options.num_trials(8)
    rungs = (Rung(trials, options.max_epochs / 2), Rung(max(1, trials // 4), options.max_epochs))
    return (Bracket(rungs),)


DOUBLING = Schedule(
    "doubling",
    _plan_doubling,
    lambda options: "doubling knows no factor" if options.factor is not None else None,
)

STUDY = """
[study]
name = "s"
[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }
[[stage]]
name = "tuned"
kind = "tune"
model = "fnn"
trials = 12
schedule = { name = "doubling", max_epochs = 4 }
space = { learning_rate = { low = 0.001, high = 0.01 } }
"""


def test_a_schedule_from_outside_plans_and_checks_a_study(
    plug_in: Callable[[Any, Any], None],
) -> None:
    with pytest.raises(StudyError, match=r"unknown schedule 'doubling'.*successive-halving"):
        parse_study(STUDY, "s.toml")
    plug_in(SCHEDULES, DOUBLING)
    study, _ = parse_study(STUDY, "s.toml")
    stage = study.stages[0]
    assert isinstance(stage, TuneStage)
    assert table(study.brackets(stage)) == [[(12, 2.0), (3, 4.0)]]
    with pytest.raises(StudyError, match="stage 'tuned': doubling knows no factor"):
        parse_study(STUDY.replace("max_epochs = 4", "max_epochs = 4, factor = 2"), "s.toml")
