"""Optuna's samplers, asked over a fresh study each time, so that they hold no state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.space import Choice, Float, Int, Range, SearchSpace, Value
from burnish.tuning.samplers.draw import draw_point
from burnish.tuning.samplers.sampler import Observation, Point

if TYPE_CHECKING:
    import optuna

NUM_RANDOM = 10
"""Trials before a model of the results is worth having (Optuna's default)."""


def ask_optuna(
    sampler: optuna.samplers.BaseSampler,
    space: SearchSpace,
    observations: Sequence[Observation],
    seed: int,
) -> Point:
    """Ask a fresh sampler over a fresh in-memory study: the observations are all it knows."""
    import optuna

    comparable = _at_one_budget(observations, len(space.ranges))
    if sum(o.loss is not None for o in comparable) < NUM_RANDOM:
        return draw_point(space, np.random.default_rng(seed))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        distributions = {name: _encode_range(r) for name, r in space.ranges.items()}
        study = optuna.create_study(direction="minimize", sampler=sampler)
        for o in comparable:
            params = {n: _encode_value(r, o.params[n]) for n, r in space.ranges.items()}
            state = optuna.trial.TrialState.RUNNING
            if not o.running:
                state = optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions=distributions,
                    # Losses spread over orders of magnitude: their logarithm is smoother.
                    value=None if o.loss is None else math.log(max(o.loss, 1e-12)),
                    state=state,
                )
            )
        asked = study.ask(distributions).params
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: _decode_value(r, asked[name]) for name, r in space.ranges.items()}


def _at_one_budget(observations: Sequence[Observation], num_params: int) -> list[Observation]:
    """Keep what can be compared: running trials, and losses at one budget.

    That is the largest budget with enough of them, as in BOHB (Falkner et al. 2018).
    """
    budgets = sorted({o.epochs for o in observations if o.loss is not None}, reverse=True)
    running = [o for o in observations if o.running]
    best: list[Observation] = []
    for budget in budgets:
        best = [o for o in observations if o.loss is not None and o.epochs == budget]
        if len(best) >= max(NUM_RANDOM, num_params + 2):
            break
    return best + running


def _is_ordinal(r: Range) -> bool:
    """Whether a choice is of ascending numbers, of which neighbours are alike."""
    if not isinstance(r, Choice):
        return False
    numbers = [o for o in r.options if isinstance(o, int | float) and not isinstance(o, bool)]
    return len(numbers) == len(r.options) and numbers == sorted(numbers)


def _encode_range(r: Range) -> Any:
    """Optuna's distribution of a range; what has steps is encoded by its index."""
    import optuna.distributions as d

    if isinstance(r, Float) and r.step is None:
        return d.FloatDistribution(r.low, r.high, log=r.log)
    if isinstance(r, Int) and r.log:
        return d.IntDistribution(r.low, r.high, log=True)
    if isinstance(r, Choice) and not _is_ordinal(r):
        return d.CategoricalDistribution(r.options)
    return d.IntDistribution(0, len(r.values()) - 1)


def _is_indexed(r: Range) -> bool:
    if isinstance(r, Float):
        return r.step is not None
    return not r.log if isinstance(r, Int) else _is_ordinal(r)


def _encode_value(r: Range, value: Value) -> Value:
    if not _is_indexed(r):
        return value
    values = r.values()
    # A value that came through a file may differ in its last bit.
    return min(range(len(values)), key=lambda i: abs(float(values[i]) - float(value)))


def _decode_value(r: Range, value: Any) -> Value:
    decoded: Value = r.values()[value] if _is_indexed(r) else value
    return decoded
