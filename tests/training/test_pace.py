"""Fits that must end in time: what is decided, and that it can be done again without the clock."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import Dataset, Split
from burnish.models import default_params, find_family
from burnish.training import FitRequest, TrainingSettings, fit
from burnish.training.dense import DenseTrainer
from burnish.training.pace import Decision, Pacer, locate

FAMILY = find_family("pretrained")


def make_pacer(seconds: float, **known: float) -> tuple[Pacer, list[float]]:
    """Return a pacer whose clock is set by hand, that has seen a first call."""
    now = [0.0]
    pacer = Pacer(seconds, 10, lambda: now[0])
    pacer.note_steps(1, 3.0)  # It compiles, and says nothing.
    if "step" in known:
        pacer.note_steps(5, 5 * known["step"])
    if "validation" in known:
        pacer.note_validation(known["validation"])
    return pacer, now


def test_a_fit_takes_the_steps_that_there_is_time_for() -> None:
    pacer, _ = make_pacer(20.0, step=0.1)
    assert pacer.decide(6, (0, 10_000, 100), 10_000) == (6, 206, 20)


def test_validations_take_their_time() -> None:
    pacer, _ = make_pacer(21.0, step=0.1, validation=1.0)
    # Ten steps and a validation take 2 s, and the last validation 1 s.
    assert pacer.decide(6, (0, 10_000, 100), 10_000) == (6, 106, 20)


def test_nothing_is_decided_before_a_step_is_timed() -> None:
    pacer, _ = make_pacer(1.0)
    assert pacer.decide(1, (0, 10_000, 100), 10_000) == (0, 10_000, 100)


def test_a_slower_machine_shortens_the_cycle_and_a_faster_one_lengthens_it() -> None:
    pacer, now = make_pacer(20.0, step=0.1)
    decided = pacer.decide(6, (0, 500, 100), 500)
    now[0] = 10.0
    assert pacer.decide(106, decided, 500) is decided
    slow, fast = make_pacer(20.0, step=0.4)[0], make_pacer(20.0, step=0.05)[0]
    assert slow.decide(106, decided, 500)[1] == 156
    assert fast.decide(106, decided, 500)[1] == 500, "not beyond what it may take"


def test_a_fit_whose_time_is_over_ends_at_once() -> None:
    pacer, now = make_pacer(20.0, step=0.1)
    now[0] = 25.0
    assert pacer.decide(30, (6, 206, 20), 500)[:2] == (30, 30)


def test_slow_steps_are_taken_one_at_a_time() -> None:
    pacer, _ = make_pacer(600.0, step=7.0)
    assert pacer.decide(6, (0, 10_000, 100), 10_000)[2] == 1


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 80)), min_size=1, max_size=5))
def test_a_cycle_goes_from_its_begin_to_its_end(parts: list[tuple[int, int]]) -> None:
    pace: list[Decision] = []
    first = 0
    for length, beyond in parts:
        pace.append((first, first + length + beyond, 100))
        first += length
    places = locate(pace)
    assert len(places) == pace[-1][1]
    assert (np.diff(places) > 0).all()
    assert 0 < places[0] < places[-1] < 1
    # As far from the end as half of the last stretch's step.
    assert 1 - places[-1] == pytest.approx((places[-1] - places[-2]) / 2)


def test_one_decision_is_the_plain_cycle() -> None:
    assert locate([(0, 8, 100)]).tolist() == ((np.arange(8) + 0.5) / 8).tolist()


@pytest.fixture
def features() -> Dataset:
    generator = np.random.default_rng(2)

    def make(num_images: int) -> Split:
        labels = (np.arange(num_images) % 3).astype(np.int32)
        rows = generator.normal(size=(num_images, 1, 1, 20)) + 0.4 * labels[:, None, None, None]
        return Split(np.maximum(rows, 0).astype(np.float16), labels)

    return Dataset("made", make(300), make(60), ("a", "b", "c"), "made", frozen="vectors")


def ask(**settings: Any) -> FitRequest:
    params = {**default_params(FAMILY), "learning_rate": 0.01}
    chosen = {"batch_size": 16, "max_epochs": 1000, "learning_rate_schedule": "one-cycle"}
    return FitRequest("pretrained", params, TrainingSettings(**{**chosen, **settings}), 5)


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make steps take some time, and more of it from the hundredth on."""
    run, taken = DenseTrainer.run, [0]

    def run_slowly(self: DenseTrainer, indices: Any, transforms: Any, rates: Any) -> Any:
        taken[0] += len(indices)
        time.sleep(len(indices) * (0.001 if taken[0] < 100 else 0.003))
        return run(self, indices, transforms, rates)

    monkeypatch.setattr(DenseTrainer, "run", run_slowly)


def test_what_was_decided_can_be_done_again_to_the_bit(
    features: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(max_seconds=2.0)
    with monkeypatch.context() as patched:
        slow_down(patched)
        first = fit(request, features)
    assert len(first.pace) > 1, "nothing was decided: this shows nothing"
    assert first.pace[-1][1] < 1000 * 19
    assert first.history[-1].epoch == pytest.approx(first.pace[-1][1] / 19)
    again = fit(replace(request, settings=replace(request.settings, pace=first.pace)), features)
    for weight, wanted in zip(again.weights, first.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    for ours, theirs in zip(again.history, first.history, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


def test_a_fit_that_goes_on_keeps_what_was_decided(
    features: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(monkeypatch)
    request = replace(ask(max_seconds=2.0), checkpoint=tmp_path / "checkpoint.npz")

    def stop(progress: Any) -> None:
        if progress.step >= 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(request, features, stop)
    gone_on = fit(request, features)
    settings = replace(request.settings, pace=gone_on.pace)
    again = fit(replace(request, settings=settings, checkpoint=None), features)
    for weight, wanted in zip(again.weights, gone_on.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
