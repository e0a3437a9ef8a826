from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.space import Choice, Float, Int, SearchSpace


def test_whole_numbers_include_both_ends() -> None:
    assert Int(1, 4).values() == (1, 2, 3, 4)
    assert Int(3, 3).values() == (3,)
    assert Int(-2, 2, step=2).values() == (-2, 0, 2)


def test_a_step_that_does_not_divide_the_range_stops_below_its_end() -> None:
    assert Int(1, 6, step=2).values() == (1, 3, 5)
    assert Float(0.1, 0.55, step=0.2).values() == (0.1, 0.3, 0.5)


@pytest.mark.parametrize("value", [1, 3, 15])
def test_a_whole_number_on_the_steps_is_a_member(value: object) -> None:
    assert value in Int(1, 15, step=2)


@pytest.mark.parametrize("value", [0, 2, 16, 17, -1, 3.0, 3.5, "3", None, True, False, math.nan])
def test_what_is_not_a_whole_number_on_the_steps_is_no_member(value: object) -> None:
    assert value not in Int(1, 15, step=2)


@given(low=st.integers(-50, 50), width=st.integers(0, 60), step=st.integers(1, 9))
def test_members_of_whole_numbers_are_the_values(low: int, width: int, step: int) -> None:
    span = Int(low, low + width, step)
    assert tuple(v for v in range(low - 3, low + width + 4) if v in span) == span.values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 3, "high": 2}, "low 3 lies above high 2"),
        ({"low": 1, "high": 2, "step": 0}, "step must be at least 1, not 0"),
        ({"low": 1, "high": 2, "step": -1}, "step must be at least 1, not -1"),
        ({"low": 0, "high": 2, "log": True}, "low >= 1"),
        ({"low": 1, "high": 8, "step": 2, "log": True}, "no step"),
    ],
)
def test_a_range_of_whole_numbers_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Int(**arguments)


def test_the_published_learning_rates_count_from_the_lower_end() -> None:
    assert Float(0.0001, 0.01, step=0.001).values() == (
        0.0001,
        0.0011,
        0.0021,
        0.0031,
        0.0041,
        0.0051,
        0.0061,
        0.0071,
        0.0081,
        0.0091,
    )


def test_stepped_numbers_reach_their_upper_end_and_are_written_as_people_write_them() -> None:
    # Bare sums give 0.15000000000000002 and 0.30000000000000004, and may miss the end.
    assert Float(0.1, 0.5, step=0.1).values() == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert Float(0.0, 0.3, step=0.05).values() == (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    assert Float(0.2, 0.2, step=0.1).values() == (0.2,)


@given(
    low=st.integers(-1000, 1000),
    count=st.integers(1, 200),
    step=st.sampled_from([0.001, 0.05, 0.1, 0.25, 1.0, 3.0]),
)
def test_stepped_numbers_are_members_and_as_many_as_the_steps(
    low: int, count: int, step: float
) -> None:
    start = low * step
    span = Float(start, start + (count - 1) * step, step=step)
    values = span.values()
    assert len(values) == count
    assert all(value in span for value in values)
    assert all(value + step / 2 not in span for value in values)


@pytest.mark.parametrize("value", [0.1, 0.2, 0.1 + 0.2, 1, 1.0])
def test_a_number_on_the_steps_is_a_member_whatever_its_rounding(value: object) -> None:
    assert value in Float(0.1, 1.0, step=0.1)


@pytest.mark.parametrize("value", [0.0, 0.15, 1.1, "0.1", None, True, math.nan, math.inf])
def test_what_is_not_a_number_on_the_steps_is_no_member(value: object) -> None:
    assert value not in Float(0.1, 1.0, step=0.1)


def test_a_continuous_range_includes_its_ends_and_nothing_beyond() -> None:
    span = Float(0.25, 2.0)
    assert all(value in span for value in (0.25, 0.3000001, 1, 2.0))
    assert not any(
        value in span
        for value in (0.2499999, 2.0000001, math.nan, math.inf, -math.inf, True, "1", None)
    )


def test_zero_and_false_are_different_things() -> None:
    assert 0 in Float(0.0, 1.0)
    assert False not in Float(0.0, 1.0)
    assert 0 in Int(0, 1)
    assert False not in Int(0, 1)
    assert 0 not in Choice((False, True))
    assert False not in Choice((0, 1))
    assert True in Choice((False, True))
    assert 1 in Choice((0, 1))


def test_a_continuous_range_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match="cannot be listed; give it a step"):
        Float(0.0, 1.0).values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.2, "high": 0.1}, "low 0.2 lies above high 0.1"),
        ({"low": 0.0, "high": math.inf}, "finite"),
        ({"low": math.nan, "high": 1.0}, "finite"),
        ({"low": 0.0, "high": 1.0, "step": 0.0}, "step must be positive, not 0.0"),
        ({"low": 0.0, "high": 1.0, "step": -0.1}, "step must be positive, not -0.1"),
        ({"low": 0.0, "high": 1.0, "step": math.nan}, "step must be positive, not nan"),
        ({"low": 0.0, "high": 1.0, "log": True}, "low > 0"),
        ({"low": 0.1, "high": 1.0, "step": 0.1, "log": True}, "no step"),
    ],
)
def test_a_range_of_numbers_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Float(**arguments)


def test_logarithmic_ranges_hold_the_same_values() -> None:
    assert 1e-4 in Float(1e-4, 1e-2, log=True)
    assert 2e-2 not in Float(1e-4, 1e-2, log=True)
    assert Int(1, 4, log=True).values() == (1, 2, 3, 4)


def test_a_choice_keeps_its_order_and_takes_nothing_else() -> None:
    span = Choice(("tanh", "relu"))
    assert span.values() == ("tanh", "relu")
    assert "relu" in span
    assert "Relu" not in span
    assert None not in span
    assert ["relu"] not in span


@pytest.mark.parametrize(
    ("options", "message"),
    [((), "at least one option"), ((1, 2, 1), "given twice"), (("a", "a"), "given twice")],
)
def test_a_choice_of_nothing_or_of_the_same_twice_is_refused(
    options: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Choice(options)


def test_ranges_say_what_they_allow() -> None:
    assert str(Int(1, 8)) == "a whole number from 1 to 8"
    assert str(Int(1, 15, step=2)) == "a whole number from 1 to 15, step 2"
    assert str(Float(0.0, 0.95)) == "a number from 0 to 0.95"
    assert str(Float(0.0001, 0.01, step=0.001)) == "a number from 0.0001 to 0.01, step 0.001"
    assert str(Choice(("relu", 3, True))) == 'one of "relu", 3, true'


def test_points_are_all_there_once_with_the_last_name_varying_fastest() -> None:
    space = SearchSpace({"a": Int(1, 2), "b": Choice(("x", "y")), "c": Float(0.0, 0.2, step=0.1)})
    points = [tuple(point.values()) for point in space.points()]
    assert points == [
        (1, "x", 0.0),
        (1, "x", 0.1),
        (1, "x", 0.2),
        (1, "y", 0.0),
        (1, "y", 0.1),
        (1, "y", 0.2),
        (2, "x", 0.0),
        (2, "x", 0.1),
        (2, "x", 0.2),
        (2, "y", 0.0),
        (2, "y", 0.1),
        (2, "y", 0.2),
    ]
    assert space.size == 12
    assert all(point in space for point in space.points())


def test_the_published_spaces_have_as_many_points_as_their_table_says() -> None:
    fnn = SearchSpace(
        {
            "num_hidden_layers": Choice((1, 2, 3)),
            "hidden_layer_size": Choice((32, 64, 128, 256)),
            "activation": Choice(("relu", "tanh")),
            "dropout_rate": Float(0.1, 0.5, step=0.05),
            "l2_strength": Choice((0.0001, 0.001, 0.01)),
            "learning_rate": Float(0.0001, 0.01, step=0.001),
        }
    )
    assert fnn.size == 3 * 4 * 2 * 9 * 3 * 10


def test_a_space_without_ranges_has_one_point() -> None:
    assert SearchSpace({}).size == 1
    assert list(SearchSpace({}).points()) == [{}]
    assert {} in SearchSpace({})


def test_a_continuous_range_makes_a_space_uncountable() -> None:
    space = SearchSpace({"a": Int(1, 2), "rate": Float(0.0, 1.0)})
    assert space.size is None
    assert {"a": 2, "rate": 0.123} in space
    with pytest.raises(ValueError, match="cannot be listed"):
        next(space.points())


def test_params_are_in_a_space_if_each_of_its_names_has_a_value_in_range() -> None:
    space = SearchSpace({"units": Int(1, 8), "on": Choice((False, True))})
    assert {"units": 8, "on": True} in space
    assert {"units": 8, "on": True, "learning_rate": 3} in space
    assert {"units": 9, "on": True} not in space
    assert {"units": 8, "on": 1} not in space
    assert {"units": True, "on": True} not in space
    assert {"units": 8} not in space
    assert [("units", 8), ("on", True)] not in space
