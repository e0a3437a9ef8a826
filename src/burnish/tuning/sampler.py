"""Samplers: from what has been observed so far to the params of the next trial.

A sampler holds no state. What it proposes depends on the space, the observations
and a seed alone, so a stage that goes on after a crash proposes what it would
have proposed. A new sampler is one function here and one line in ``SAMPLERS``.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.errors import StudyError, describe_exception, name_what_exists
from burnish.space import Choice, Float, Int, Range, SearchSpace, Value

if TYPE_CHECKING:
    import optuna

Point = dict[str, Value]

NUM_RANDOM = 10
"""Trials before a model of the results is worth having (Optuna's default)."""


@dataclass(frozen=True)
class Observation:
    """What is known of one trial at one budget when the next is proposed.

    ``loss`` is ``None`` while it runs and where it failed; ``epochs`` is the budget
    at which ``loss`` was measured. A trial that was promoted has one for each budget,
    so that at each it is compared with all the others that had as much.
    """

    params: Point
    loss: float | None
    epochs: float
    running: bool = False


Propose = Callable[[SearchSpace, Sequence[Observation], int], Point]


@dataclass(frozen=True)
class Sampler:
    """A way to propose params.

    Attributes
    ----------
    name
        The name by which a study file asks for it.
    propose
        From space, observations and seed to a point of the space, which may have
        been proposed before.
    adaptive
        Whether a proposal depends on results; where not, none has to be waited for.
    """

    name: str
    propose: Propose
    adaptive: bool


def find_sampler(name: str) -> Sampler:
    """Give the sampler of a name.

    Raises
    ------
    StudyError
        If there is none, or what it needs is not installed.
    """
    if name not in SAMPLERS:
        raise StudyError(name_what_exists("sampler", name, SAMPLERS))
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise StudyError(
            "the sampler 'gp' needs PyTorch: pip install 'burnish[gp]', or take 'tpe', "
            "which needs nothing more"
        )
    return SAMPLERS[name]


Admits = Callable[[Point], bool]
"""Whether a point may be proposed, whatever a sampler thinks of it."""

MAX_DRAWS = 1000
"""After so many points of a large space that may not be proposed it passes for exhausted."""


def propose_params(
    sampler: Sampler,
    space: SearchSpace,
    observations: Sequence[Observation],
    seed: int,
    admits: Admits = lambda point: True,
) -> Point | None:
    """Propose a point that no observation has, or ``None`` when the space is exhausted.

    Parameters
    ----------
    sampler, space
        Who proposes, and from what.
    observations
        Of every trial so far, in the order of their numbers.
    seed
        Derived from (study seed, stage, trial number).
    admits
        What is not admitted is passed over. The sampler is told of it as of a trial that
        failed; none of ours learns from those, and a grid goes on behind it.

    Raises
    ------
    StudyError
        If the sampler raises anything, or proposes what is not in the space.
    """
    seen = {_key(space, o.params) for o in observations}
    known = list(observations)
    repeats = 0
    for attempt in range(10 if sampler.adaptive else MAX_DRAWS):
        if space.size is not None and len(seen) >= space.size:
            return None
        point = _ask_sampler(sampler, space, known, _reseed(seed, attempt))
        if _key(space, point) in seen:
            repeats += 1
            # Asking a model again is dear, and its answer seldom another.
            if repeats == (3 if sampler.adaptive else 20):
                break
            continue
        if admits(point):
            return point
        seen.add(_key(space, point))
        known.append(Observation(point, None, 0.0))
    # A model that insists on what it has seen: any other point tells more.
    generator = np.random.default_rng(_reseed(seed, MAX_DRAWS))
    if space.size is not None and space.size <= 100_000:
        unseen = [point for point in space.points() if _key(space, point) not in seen]
        for index in generator.permutation(len(unseen)):
            if admits(unseen[int(index)]):
                return unseen[int(index)]
        return None
    refused = 0
    while refused < MAX_DRAWS:
        point = _draw(space, generator)
        if _key(space, point) not in seen:
            if admits(point):
                return point
            refused += 1
    return None


def _ask_sampler(
    sampler: Sampler, space: SearchSpace, observations: Sequence[Observation], seed: int
) -> Point:
    try:
        point = sampler.propose(space, observations, seed)
    except Exception as error:  # Whatever a sampler from outside dies of.
        raise StudyError(
            f"the sampler '{sampler.name}' failed: {describe_exception(error)}"
        ) from error
    if point not in space or set(point) != set(space.ranges):
        raise StudyError(
            f"the sampler '{sampler.name}' proposed {point}, which is not a point of the space "
            f"of {', '.join(space.ranges)}"
        )
    return point


def _reseed(seed: int, attempt: int) -> int:
    return int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])


def _key(space: SearchSpace, params: Point) -> tuple[Value, ...]:
    return tuple(params[name] for name in space.ranges)


def _draw(space: SearchSpace, generator: np.random.Generator) -> Point:
    return {name: draw_value(r, generator) for name, r in space.ranges.items()}


def draw_value(r: Range, generator: np.random.Generator) -> Value:
    """Draw a value of a range, each as likely as another."""
    if isinstance(r, Float) and r.step is None:
        low, high = (math.log(r.low), math.log(r.high)) if r.log else (r.low, r.high)
        drawn = float(generator.uniform(low, high))
        return min(r.high, max(r.low, math.exp(drawn))) if r.log else drawn
    if isinstance(r, Int) and r.log:
        exact = math.exp(generator.uniform(math.log(r.low - 0.5), math.log(r.high + 0.5)))
        return min(r.high, max(r.low, round(exact)))
    values = r.values()
    return values[int(generator.integers(len(values)))]


def _propose_random(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """Every value of a range is as likely as another (Bergstra & Bengio 2012)."""
    return _draw(space, np.random.default_rng(seed))


def _propose_from_grid(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """The first combination that has not been tried, the last name varying fastest."""
    seen = {_key(space, o.params) for o in observations}
    unseen: Iterator[Point] = (point for point in space.points() if _key(space, point) not in seen)
    return next(unseen)


def _propose_by_tpe(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, Optuna's."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=NUM_RANDOM
        )
    return _ask_optuna(sampler, space, observations, seed)


def _propose_by_gp(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """Gaussian process with log expected improvement, Optuna's; needs PyTorch."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=NUM_RANDOM)
    return _ask_optuna(sampler, space, observations, seed)


SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("random", _propose_random, adaptive=False),
        Sampler("grid", _propose_from_grid, adaptive=False),
        Sampler("tpe", _propose_by_tpe, adaptive=True),
        Sampler("gp", _propose_by_gp, adaptive=True),
    )
}


def _ask_optuna(
    sampler: optuna.samplers.BaseSampler,
    space: SearchSpace,
    observations: Sequence[Observation],
    seed: int,
) -> Point:
    """Ask a fresh sampler over a fresh in-memory study: the observations are all it knows."""
    import optuna

    comparable = _at_one_budget(observations, len(space.ranges))
    if sum(o.loss is not None for o in comparable) < NUM_RANDOM:
        return _draw(space, np.random.default_rng(seed))
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
