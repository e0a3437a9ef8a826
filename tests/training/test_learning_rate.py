from __future__ import annotations

import numpy as np
import pytest

from burnish.training.learning_rate import learning_rates


@pytest.mark.parametrize("num_steps", [1, 2, 1000])
def test_a_constant_learning_rate_is_the_same_throughout(num_steps: int) -> None:
    rates = learning_rates("constant", 0.004, [(0, num_steps, 100)])
    assert rates.dtype == np.float32
    assert rates.shape == (num_steps,)
    assert (rates == np.float32(0.004)).all()


def test_one_cycle_rises_for_a_quarter_and_falls_to_the_end_in_straight_lines() -> None:
    # Taken in the middle of each of 8 steps: 1/16, 3/16 of the budget up, 5/16 ... 15/16 down.
    rates = learning_rates("one-cycle", 1.0, [(0, 8, 100)])
    expected = [1 / 4, 3 / 4, 11 / 12, 9 / 12, 7 / 12, 5 / 12, 3 / 12, 1 / 12]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates.dtype == np.float32


@pytest.mark.parametrize("num_steps", [40, 1000, 3129])
def test_one_cycle_peaks_after_a_quarter_and_begins_and_ends_near_zero(num_steps: int) -> None:
    peak = 0.004
    rates = learning_rates("one-cycle", peak, [(0, num_steps, 100)])
    assert rates.shape == (num_steps,)
    assert rates.max() == pytest.approx(peak, rel=3 / num_steps)
    assert rates.max() <= np.float32(peak)
    assert rates.argmax() == pytest.approx(num_steps / 4, abs=1)
    top = int(rates.argmax())
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    # Half a step from zero at both ends.
    assert rates[0] == pytest.approx(peak * 0.5 / num_steps / 0.25, rel=1e-5)
    assert rates[-1] == pytest.approx(peak * 0.5 / num_steps / 0.75, rel=1e-4)
    # The mean of a triangle is half its height.
    assert rates.mean() == pytest.approx(peak / 2, rel=0.01)


@pytest.mark.parametrize("num_steps", [*range(1, 30), 100_000])
def test_no_step_is_wasted_on_a_rate_of_zero(num_steps: int) -> None:
    rates = learning_rates("one-cycle", 1e-7, [(0, num_steps, 100)])
    assert rates.shape == (num_steps,)
    assert (rates > 0).all()
