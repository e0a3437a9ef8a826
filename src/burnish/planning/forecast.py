"""What a study will take, forecast from a probe.

For every stage that fits models, the probe times a few steps of a few configurations, in the same
worker processes that would fit them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

import numpy as np

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.planning.features import (
    NOTHING_NEW,
    FeatureForecast,
    Found,
    forecast_features,
    measure_features,
)
from burnish.space import Value
from burnish.stages.fingerprint import derive_seed
from burnish.stages.network_limit import limit_networks, refuse_small_limit
from burnish.stages.placement import LocalPlacement, Placement
from burnish.study.schema import FinalStage, FittingStage, TuneStage
from burnish.study.study import Study
from burnish.training import FitRequest, TrainingSettings
from burnish.training.probe import FitCost
from burnish.tuning.executor import Executor, FitTask, Resources
from burnish.tuning.samplers import find_sampler, propose_params

SETTLING_EPOCHS = 12
"""Epochs after which early stopping is assumed to start counting: a guess, as nobody can know."""

FIXED_SECONDS = 25.0
"""Seconds to start, load data, read the test split and write the report. For MNIST on a
processor with slow convolutions: 38, and 7 less before reports were drawn (docs/log.md). Fast
processors and small data take less."""

SAMPLES = 6
"""Number of configurations of a space that are probed."""


@dataclass(frozen=True)
class StageForecast:
    """What one stage will do and how long it takes: numbers of trials and epochs, seconds.

    ``features`` are those that it computes first; their seconds are not part of ``seconds``.
    """

    name: str
    trials: int
    epochs: float
    seconds: float
    features: FeatureForecast = NOTHING_NEW

    @property
    def all_seconds(self) -> float:
        """Return the seconds of the stage, its features with them."""
        return self.seconds + self.features.seconds


@dataclass(frozen=True)
class StageCost:
    """Cost of a stage's fits.

    Attributes
    ----------
    trial
        A trial's fit in a worker: the mean over the space.
    own
        The fit of the stage's own model, or of its winner.
    likely
        A winner's fit in a worker. Larger networks usually win, so this and ``own`` are the
        slowest of the probed configurations, not their mean.
    samples
        The averaged measurements, if trials have different networks.
    features
        Features that no stage before it asks for.
    """

    trial: FitCost | None
    own: FitCost
    likely: FitCost | None = None
    samples: tuple[FitCost, ...] = ()
    features: FeatureForecast = NOTHING_NEW

    def scaled(self, factor: float) -> StageCost:
        """Return the cost of networks whose steps take this many times as long."""
        trial, likely = (c and c.scaled(factor) for c in (self.trial, self.likely))
        return replace(self, trial=trial, own=self.own.scaled(factor), likely=likely, samples=())

    def within(self, mflops: float) -> StageCost:
        """Return the cost if no network takes more operations.

        The slowest network is then at the limit; its cost is interpolated between two samples.
        """
        if not self.samples or self.likely is None:
            return self
        operations, seconds = self._steps_by_size()
        if mflops >= operations[-1]:
            return self
        factor = float(np.interp(mflops, operations, seconds)) / self.likely.step_seconds
        likely = self.likely.scaled(factor)
        kept = [s for s in self.samples if s.mflops <= mflops]
        trial, own = _average([*kept, likely]), self.own.scaled(factor)
        return replace(self, trial=trial, own=own, likely=likely, samples=())

    def largest_within(self, step_seconds: float) -> float:
        """Return the million operations of a network whose own steps take this many seconds.

        Beyond the largest sample they grow in proportion; the least is the smallest sample.
        """
        assert self.likely is not None
        operations, seconds = self._steps_by_size()
        there = step_seconds * self.likely.step_seconds / self.own.step_seconds
        if there > seconds[-1]:
            return operations[-1] * there / seconds[-1]
        return float(np.interp(there, seconds, operations))

    def _steps_by_size(self) -> tuple[list[float], list[float]]:
        """The samples' operations, ascending, and their seconds per step, never descending."""
        ordered = sorted(self.samples, key=lambda s: s.mflops)
        seconds = accumulate((s.step_seconds for s in ordered), max)
        return [s.mflops for s in ordered], list(seconds)


Costs = Mapping[str, StageCost]

NOTHING_FOUND: Found = MappingProxyType({})


def probe_study(
    study: Study, data: Dataset, scratch: Path, placement: Placement, found: Found = NOTHING_FOUND
) -> dict[str, StageCost]:
    """Measure the cost of each stage's fits where they would run, with every worker busy.

    Parameters
    ----------
    study, data
        The study and its data.
    scratch
        Folder for the workers' data.
    placement
        Where trials will be fitted.
    found
        Params of finished stages, by name. These stages are not probed. Stages that build on
        them are probed with these params.
    """
    fitting = [
        stage
        for stage in study.stages
        if not isinstance(stage, FinalStage) and stage.name not in found
    ]
    tuning = [stage for stage in fitting if isinstance(stage, TuneStage)]
    searches = [stage for stage in tuning if not _inherits_a_winner(study, stage)]
    trials: dict[str, list[FitCost]] = {}
    slowest: dict[str, int] = {}
    if tuning:
        with closing(placement.start(data, scratch)) as executor:
            numbers = range(max(SAMPLES, placement.at_once))
            probed = {stage.name: numbers for stage in searches}
            trials = _collect_costs(study, executor, probed, found, data)
            for stage in fitting:
                steps = [cost.step_seconds for cost in trials.get(stage.name, ())]
                slowest[stage.name] = (
                    steps.index(max(steps)) if steps else slowest.get(stage.base or "", 0)
                )
            # With the winner's structure, taken to be the slowest: enough to keep workers busy.
            others = {
                s.name: [slowest[s.name]] * placement.at_once for s in tuning if s not in searches
            }
            trials |= _collect_costs(study, executor, others, found, data)
    with closing(LocalPlacement(1).start(data, scratch)) as driver:
        winners = {stage.name: [slowest.get(stage.name, 0)] for stage in fitting}
        own = _collect_costs(study, driver, winners, found, data)
    # Here, and with nothing beside it, as a run computes them.
    features = forecast_features(study, data, found, measure_features(study, data, found))
    return {
        stage.name: StageCost(
            _average(trials[stage.name]) if stage.name in trials else None,
            own[stage.name][0],
            _slowest(trials[stage.name]) if stage.name in trials else None,
            tuple(trials[stage.name]) if stage in searches else (),
            features.get(stage.name, NOTHING_NEW),
        )
        for stage in fitting
    }


def forecast(
    study: Study, costs: Costs, data: Dataset, workers: int, done: Collection[str] = ()
) -> list[StageForecast]:
    """Forecast every stage of a study except those in ``done``.

    Early stopping ends fits with a constant learning rate. The forecast assumes that they
    settle after a dozen epochs. One-cycle fits take all epochs that they are given.
    """
    return [
        StageForecast(stage.name, 0, 0.0, 0.0)
        if isinstance(stage, FinalStage)
        else _forecast_stage(
            study, stage, _cost_within_limits(study, stage, costs, done), data, workers
        )
        for stage in study.stages
        if stage.name not in done
    ]


def total_seconds(stages: Sequence[StageForecast]) -> float:
    """Return the seconds of a whole run, including what belongs to no stage."""
    return FIXED_SECONDS + sum(stage.all_seconds for stage in stages)


def expected_epochs(settings: TrainingSettings, budget: float | None = None) -> float:
    """Return how many epochs of its budget a fit is expected to take."""
    most = settings.max_epochs if budget is None else budget
    if settings.learning_rate_schedule == "one-cycle":
        return most
    return min(most, SETTLING_EPOCHS + settings.patience)


def _collect_costs(
    study: Study,
    executor: Executor,
    samples: Mapping[str, Sequence[int]],
    found: Found,
    data: Dataset,
) -> dict[str, list[FitCost]]:
    """Probe numbered samples of stages' params, and return their costs in the same order."""
    tasks: dict[str, tuple[str, int]] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage):
            continue
        for place, number in enumerate(samples.get(stage.name, ())):
            params = _sample_params(study, stage, number, found, data)
            request = FitRequest(study.family(stage).name, params, study.settings(stage), 0)
            key = f"{stage.name}/{place}"
            tasks[key] = stage.name, place
            executor.submit(FitTask(key, request, probe=True, resources=_resources(stage)))
    costs: dict[str, dict[int, FitCost]] = {}
    for _ in tasks:
        outcome = executor.wait()
        name, place = tasks[outcome.key]
        if outcome.cost is None:
            raise StudyError(f"stage '{name}' cannot be fitted: {outcome.failure}")
        costs.setdefault(name, {})[place] = outcome.cost
    return {name: [cost for _, cost in sorted(of.items())] for name, of in costs.items()}


def _resources(stage: FittingStage) -> Resources:
    return stage.resources.resources() if isinstance(stage, TuneStage) else Resources()


def _sample_params(
    study: Study, stage: FittingStage, number: int, found: Found, data: Dataset
) -> dict[str, Value]:
    """Return params for a probe: random points of this stage's space and of those it builds on.

    A search's winner is unknown until the search is done, and so are the params that later
    stages inherit from it. Every stage of a chain inherits the same draw.
    """
    base = study.stage(stage.base) if stage.base is not None else None
    inherited: dict[str, Mapping[str, Value]] = {**found}
    if base is not None and not isinstance(base, FinalStage) and base.name not in found:
        inherited[base.name] = _sample_params(study, base, number, found, data)
    params = study.initial_params(stage, inherited)
    if isinstance(stage, TuneStage):
        seed = derive_seed(0, f"probe of {stage.name}", number)
        if study.knows_structure(stage):
            refuse_small_limit(study, stage, params, data)
        space, random = stage.search_space(), find_sampler("random")
        allows = limit_networks(study, stage, params, data)
        point = propose_params(random, space, [], seed, allows)
        # Perhaps no draw for the earlier search is small enough.
        params.update(point or propose_params(random, space, [], seed) or {})
    return params


def _slowest(costs: Sequence[FitCost]) -> FitCost:
    return max(costs, key=lambda cost: cost.step_seconds)


def _average(costs: Sequence[FitCost]) -> FitCost:
    return FitCost(
        start_seconds=statistics.fmean(cost.start_seconds for cost in costs),
        step_seconds=statistics.fmean(cost.step_seconds for cost in costs),
        validation_seconds=statistics.fmean(cost.validation_seconds for cost in costs),
        num_parameters=round(statistics.fmean(cost.num_parameters for cost in costs)),
    )


def _cost_within_limits(
    study: Study, stage: FittingStage, costs: Costs, done: Collection[str]
) -> StageCost:
    """Return the cost of a stage's fits if its search, or one before it, leaves out networks."""
    cost, origin = costs[stage.name], stage
    while not (isinstance(origin, TuneStage) and study.searches_structure(origin)):
        given = any(study.is_structure(origin, name) for name in origin.params)
        if origin.base is None or origin.base in done or given:
            return cost
        base = study.stage(origin.base)
        assert not isinstance(base, FinalStage)
        origin = base
    if origin.max_mflops is None:
        return cost
    limited = costs[origin.name].within(origin.max_mflops)
    if origin is stage:
        return limited
    return cost.scaled(limited.own.step_seconds / costs[origin.name].own.step_seconds)


def _forecast_stage(
    study: Study,
    stage: FittingStage,
    cost: StageCost,
    data: Dataset,
    workers: int,
) -> StageForecast:
    settings = study.own_settings(stage)
    epochs = expected_epochs(settings)
    steps = math.ceil(len(data.train) / settings.batch_size)
    seconds = cost.own.estimate_seconds(epochs, steps) * stage.seeds
    epochs *= stage.seeds
    trials = 0
    if isinstance(stage, TuneStage):
        assert cost.trial is not None
        folds = stage.folds or 1
        fold_steps = math.ceil(steps * (folds - 1) / folds) if folds > 1 else steps
        # A fold is validated on the images that it leaves out.
        validated = len(data.train) / folds / len(data.val) if folds > 1 else 1.0
        search = study.settings(stage)
        goes_on = study.promotion(stage) == "continue"
        work, turns, chains = 0.0, 0.0, []
        brackets = study.brackets(stage)
        for bracket in brackets:
            trials += bracket.rungs[0].num_trials
            before, chain = 0.0, 0.0
            for number, rung in enumerate(bracket.rungs):
                budget = expected_epochs(search, rung.epochs)
                trained = budget - min(before, budget) if goes_on else budget
                before = rung.epochs
                fits = rung.num_trials * folds
                searching = number == 0 and not _inherits_a_winner(study, stage)
                fit_cost = cost.trial if searching else cost.likely or cost.trial
                one = fit_cost.estimate_seconds(trained, fold_steps, validated)
                work, chain = work + fits * one, chain + one
                # A round takes a whole number of turns of the workers.
                few = fits < 3 * workers
                turns += one * (math.ceil(fits / workers) if few else fits / workers)
                epochs += fits * trained * (folds - 1 if folds > 1 else 1) / folds
            chains.append(chain)
        if len(brackets) == 1 or find_sampler(stage.sampler).adaptive:
            seconds += turns
        else:  # Brackets side by side fill the workers, while there is more than a last trial.
            seconds += max(work / workers, *chains)
    return StageForecast(stage.name, trials, epochs, seconds, cost.features)


def _inherits_a_winner(study: Study, stage: TuneStage) -> bool:
    """Whether a stage's trials take their structure from an earlier search."""
    if stage.base is None or not isinstance(study.stage(stage.base), TuneStage):
        return False
    return not study.searches_structure(stage)
