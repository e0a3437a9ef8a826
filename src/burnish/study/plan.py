"""What a study will do, what that will cost, and how to make it fit into given minutes.

The forecast comes from a probe: for every stage that fits models, a few steps of a
few configurations, in the worker processes that would fit them. A plan that must
end within given minutes is a study of its own: the same stages with fewer
trials, folds and epochs. It is written down as a study file, which runs again without the clock.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tomli_w

from burnish.data import Dataset, prepare
from burnish.errors import StudyError
from burnish.space import Value
from burnish.study.config import (
    FinalStage,
    FittingStage,
    Study,
    TuneStage,
    parse_study,
)
from burnish.study.disk import forecast_disk
from burnish.study.fingerprint import derive_seed
from burnish.study.network_limit import limit_networks, refuse_small_limit
from burnish.study.placement import LocalPlacement, Placement
from burnish.study.source import load_data
from burnish.training import FitRequest, TrainingSettings
from burnish.training.probe import FitCost
from burnish.tuning.executor import Executor, FitTask, Resources
from burnish.tuning.sampler import SAMPLERS, find_sampler, propose_params
from burnish.tuning.schedule import Rung, plan_successive_halving

SETTLING_EPOCHS = 12
"""Epochs after which early stopping is assumed to start counting; nobody knows before."""

FIXED_SECONDS = 25.0
"""Starting, loading data, the test split and the report: 38 for MNIST where convolutions are slow
(docs/log.md), less on quick processors and for small data."""

SAMPLES = 6
"""Configurations of a space that are probed."""

EPOCH_SHARE = 0.02
"""Share of the time that is left that an epoch of a network may take to be searched: the last fit
gets about a third of the time, and wants fifteen epochs."""

LAST_FIT, OTHER_FITS = 0.2, 0.9
"""Exponents of the factor by which a plan is shrunk: for fits of the last stage's own model, and
of other stages'."""

SMALL = 0.4
"""Below this factor a plan's searches have no more rounds than leave something to compare."""

GRID_HALVED, GRID_CUT = 8, 4
"""A small plan halves a grid of so many points, that is, leaves one in so many of them for its
second round. Compared once, they would have a quarter of an epoch, which says little of ten."""

EPOCHS, EPOCHS_OF_ONE_NETWORK = 0.35, 0.15
"""Exponents for the epochs of a search's trials, whose number takes the rest: where networks are
searched, and where trials are of one. These differ by what pays in longer fits alone: after one
epoch of MNIST no augmentation is best, after four it is not (docs/log.md)."""


@dataclass(frozen=True)
class StageForecast:
    """What one stage will do and take: numbers of trials and epochs, seconds."""

    name: str
    trials: int
    epochs: float
    seconds: float


@dataclass(frozen=True)
class StageCost:
    """What fits of a stage cost.

    Attributes
    ----------
    trial
        A trial's fit in a worker, the mean over the space.
    own
        The fit of the stage's own model, or of its winner.
    likely
        A winner's fit in a worker. Larger networks win more often than not, so this
        and ``own`` are the dearest of the probed configurations, not their mean.
    samples
        What was averaged, where the networks of trials differ.
    """

    trial: FitCost | None
    own: FitCost
    likely: FitCost | None = None
    samples: tuple[FitCost, ...] = ()

    def scaled(self, factor: float) -> StageCost:
        """Give what it would cost with networks whose steps take so many times as long."""
        trial, likely = (c and c.scaled(factor) for c in (self.trial, self.likely))
        return StageCost(trial, self.own.scaled(factor), likely)

    def within(self, mflops: float) -> StageCost:
        """Give what it costs where no network takes more operations.

        The dearest is then at the limit; between two of the samples its cost is interpolated.
        """
        if not self.samples or self.likely is None:
            return self
        operations, seconds = self._steps_by_size()
        if mflops >= operations[-1]:
            return self
        factor = float(np.interp(mflops, operations, seconds)) / self.likely.step_seconds
        likely = self.likely.scaled(factor)
        kept = [s for s in self.samples if s.mflops <= mflops]
        return StageCost(_average([*kept, likely]), self.own.scaled(factor), likely)

    def affordable(self, step_seconds: float) -> float:
        """Give the million operations of a network whose own steps take so many seconds.

        Beyond the largest sample they are proportional; it is at least the smallest sample.
        """
        assert self.likely is not None
        operations, seconds = self._steps_by_size()
        there = step_seconds * self.likely.step_seconds / self.own.step_seconds
        if there > seconds[-1]:
            return operations[-1] * there / seconds[-1]
        return float(np.interp(there, seconds, operations))

    def _steps_by_size(self) -> tuple[list[float], list[float]]:
        """Operations of the samples, ascending, and seconds of a step, none less than before it."""
        ordered = sorted(self.samples, key=lambda s: s.mflops)
        seconds = accumulate((s.step_seconds for s in ordered), max)
        return [s.mflops for s in ordered], list(seconds)


Costs = Mapping[str, StageCost]

Found = Mapping[str, Mapping[str, Value]]
"""The params of stages that are done, by name."""

NOTHING_FOUND: Found = MappingProxyType({})


def plan_study(
    study: Study,
    text: str,
    data_dir: Path | None = None,
    workers: int | None = None,
    minutes: float | None = None,
    placement: Placement | None = None,
) -> dict[str, Any]:
    """Probe a study on this machine and describe its plan; nothing is kept.

    Parameters
    ----------
    study, text
        The study and the TOML that it came from.
    data_dir
        Folder with one folder per data source.
    workers
        Processes that fit trials; one a core when ``None``.
    minutes
        Shrink the study to these first.
    placement
        Where trials would be fitted; ``None``: in ``workers`` processes of this machine.

    Returns
    -------
    See :func:`describe_plan`; on a cluster, ``cluster`` says what that has.
    """
    placement = placement or LocalPlacement(workers)
    raw = load_data(study.data, data_dir)
    data, sealed = prepare(raw, study.data.split.sizes(), study.seed)
    with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
        costs = probe_study(study, data, Path(scratch), placement)
    at_once = placement.at_once
    if minutes is not None:
        study, _ = shrink_to(study, text, costs, data, at_once, minutes * 60)
    disk = forecast_disk(study, data, sealed.num_images, placement.workers)
    planned = describe_plan(study, forecast(study, costs, data, at_once), disk.peak)
    return planned | placement.describe()


def probe_study(
    study: Study, data: Dataset, scratch: Path, placement: Placement, found: Found = NOTHING_FOUND
) -> dict[str, StageCost]:
    """Measure what fits of each stage cost where they would run, with every worker busy.

    Parameters
    ----------
    study, data
        What will run, on what.
    scratch
        A folder for the workers' data.
    placement
        Where trials will be fitted.
    found
        The params of stages that are done, by name. These are not probed, and what
        inherits from them is probed with what they found.
    """
    fitting = [
        stage
        for stage in study.stages
        if not isinstance(stage, FinalStage) and stage.name not in found
    ]
    tuning = [stage for stage in fitting if isinstance(stage, TuneStage)]
    searches = [stage for stage in tuning if not _inherits_a_winner(study, stage)]
    trials: dict[str, list[FitCost]] = {}
    dearest: dict[str, int] = {}
    if tuning:
        with closing(placement.start(data, scratch)) as executor:
            numbers = range(max(SAMPLES, placement.at_once))
            probed = {stage.name: numbers for stage in searches}
            trials = _collect_costs(study, executor, probed, found, data)
            for stage in fitting:
                steps = [cost.step_seconds for cost in trials.get(stage.name, ())]
                dearest[stage.name] = (
                    steps.index(max(steps)) if steps else dearest.get(stage.base or "", 0)
                )
            # With the winner's structure, that of the dearest: as many as keep workers busy.
            others = {
                s.name: [dearest[s.name]] * placement.at_once for s in tuning if s not in searches
            }
            trials |= _collect_costs(study, executor, others, found, data)
    with closing(LocalPlacement(1).start(data, scratch)) as driver:
        winners = {stage.name: [dearest.get(stage.name, 0)] for stage in fitting}
        own = _collect_costs(study, driver, winners, found, data)
    return {
        stage.name: StageCost(
            _average(trials[stage.name]) if stage.name in trials else None,
            own[stage.name][0],
            _dearest(trials[stage.name]) if stage.name in trials else None,
            tuple(trials[stage.name]) if stage in searches else (),
        )
        for stage in fitting
    }


def forecast(
    study: Study, costs: Costs, data: Dataset, workers: int, done: Collection[str] = ()
) -> list[StageForecast]:
    """Forecast every stage of a study but those in ``done``.

    Fits with a constant learning rate end by early stopping; they are assumed to
    settle after a dozen epochs. One-cycle fits take the epochs that they are given.
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
    """Seconds of a whole run, with what no stage counts."""
    return FIXED_SECONDS + sum(stage.seconds for stage in stages)


def shrink_to(
    study: Study,
    text: str,
    costs: Costs,
    data: Dataset,
    workers: int,
    seconds: float,
    done: Collection[str] = (),
) -> tuple[Study, str]:
    """Shrink a study until its forecast fits into so many seconds.

    Further seeds go first: they buy certainty, not a better model. Then networks that so few
    minutes do not train to the end (see ``EPOCH_SHARE``); then trials, folds and epochs shrink
    by the same factor, found by bisection. Stages in ``done`` stay as they are and cost
    nothing. A study that fits already is given back; one that does not fit even so, but of
    which something is done, is shrunk as far as it can be.

    Returns
    -------
    The study, and its text.

    Raises
    ------
    StudyError
        If nothing is done, and even the smallest plan takes longer; the message says how long.
    """

    def seconds_of(candidate: Study) -> float:
        return total_seconds(forecast(candidate, costs, data, workers, done))

    if seconds_of(study) <= seconds:
        return study, text
    study, text = _drop_seeds(study, text, done)
    if seconds_of(study) <= seconds:
        return study, text
    study, text = _limit_networks(study, text, costs, data, seconds, done)
    if seconds_of(study) <= seconds:
        return study, text
    smallest, smallest_text = _shrink(study, text, 0.0, done)
    if seconds_of(smallest) > seconds:
        if done:
            return smallest, smallest_text
        raise StudyError(
            f"the study '{study.name}' does not fit into {seconds / 60:.1f} minutes: "
            f"its smallest plan takes {seconds_of(smallest) / 60:.1f} minutes on this machine. "
            "Give more minutes, or take stages out."
        )
    fitting, low, high = (smallest, smallest_text), 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        candidate = _shrink(study, text, middle, done)
        if seconds_of(candidate[0]) <= seconds:
            fitting, low = candidate, middle
        else:
            high = middle
    return fitting


def keep_stages(text: str, plan_text: str, done: Collection[str]) -> tuple[Study, str]:
    """Give a study in which the stages in ``done`` are as a plan of it has them.

    Parameters
    ----------
    text, plan_text
        The study as it was given, and the plan by which it has run so far.
    done
        Names of stages.

    Returns
    -------
    The study, and its text.
    """
    given, plan = tomllib.loads(text), tomllib.loads(plan_text)
    kept = {stage["name"]: stage for stage in plan["stage"] if stage["name"] in done}
    stages = [kept.get(stage["name"], stage) for stage in given["stage"]]
    if repr(stages) != repr(given["stage"]):  # 2 and 2.0 have different fingerprints.
        text = tomli_w.dumps({**given, "stage": stages})
    return parse_study(text, "the plan so far")


def describe_plan(study: Study, stages: Sequence[StageForecast], disk_bytes: int) -> dict[str, Any]:
    """Give what ``burnish plan --json`` prints: ``seconds``, ``disk_bytes``, ``stages``.

    ``disk_bytes`` is what must be free, as :func:`burnish.study.disk.forecast_disk` gives it.
    """
    return {
        "study": study.name,
        "seconds": round(total_seconds(stages), 1),
        "disk_bytes": disk_bytes,
        "stages": [
            {
                "name": stage.name,
                "trials": stage.trials,
                "epochs": round(stage.epochs, 2),
                "seconds": round(stage.seconds, 1),
            }
            for stage in stages
        ],
    }


def _collect_costs(
    study: Study,
    executor: Executor,
    samples: Mapping[str, Sequence[int]],
    found: Found,
    data: Dataset,
) -> dict[str, list[FitCost]]:
    """Probe numbered samples of stages' params; give what they cost, in the same order."""
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
    """Params of a probe: points at random of this stage's space and of those it builds on.

    What a search will find is not known before it is done, so what inherits from it is as
    uncertain; every stage of a chain gets the same draw from the stage before.
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
        space, random = stage.search_space(), SAMPLERS["random"]
        admits = limit_networks(study, stage, params, data)
        point = propose_params(random, space, [], seed, admits)
        # Of what was drawn for a search before it, nothing may be small enough.
        params.update(point or propose_params(random, space, [], seed) or {})
    return params


def _dearest(costs: Sequence[FitCost]) -> FitCost:
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
    """What fits of a stage cost where searches leave out networks, its own or one before it."""
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
        # A fold is validated on what it leaves out.
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
                # A round takes whole turns of the workers.
                few = fits < 3 * workers
                turns += one * (math.ceil(fits / workers) if few else fits / workers)
                epochs += fits * trained * (folds - 1 if folds > 1 else 1) / folds
            chains.append(chain)
        if len(brackets) == 1 or find_sampler(stage.sampler).adaptive:
            seconds += turns
        else:  # Brackets side by side fill the workers, while there is more than a last trial.
            seconds += max(work / workers, *chains)
    return StageForecast(stage.name, trials, epochs, seconds)


def _inherits_a_winner(study: Study, stage: TuneStage) -> bool:
    """Whether the structure of a stage's trials is what an earlier search found."""
    if stage.base is None or not isinstance(study.stage(stage.base), TuneStage):
        return False
    return not study.searches_structure(stage)


def expected_epochs(settings: TrainingSettings, budget: float | None = None) -> float:
    """Epochs that a fit is expected to take of its budget."""
    most = settings.max_epochs if budget is None else budget
    if settings.learning_rate_schedule == "one-cycle":
        return most
    return min(most, SETTLING_EPOCHS + settings.patience)


def _drop_seeds(study: Study, text: str, done: Collection[str]) -> tuple[Study, str]:
    """Give every stage that is not done one seed."""
    several = [
        stage.name
        for stage in study.stages
        if not isinstance(stage, FinalStage) and stage.seeds > 1 and stage.name not in done
    ]
    if not several:
        return study, text
    settings = [f"{name}.seeds=1" for name in several]
    return parse_study(text, f"the study '{study.name}' with one seed", settings)


def _limit_networks(
    study: Study, text: str, costs: Costs, data: Dataset, seconds: float, done: Collection[str]
) -> tuple[Study, str]:
    """Leave out of searches what would not be trained to the end.

    Trials are compared at equal epochs, where large networks win, whatever they cost later.
    """
    limits = []
    for stage in study.stages:
        if not isinstance(stage, TuneStage) or stage.name in done:
            continue
        cost = costs[stage.name]
        sizes = {sample.mflops for sample in cost.samples}
        # Where they cannot be counted, are the same, or depend on an earlier search: none.
        if len(sizes) < 2 or min(sizes) == 0 or not study.knows_structure(stage):
            continue
        steps = math.ceil(len(data.train) / study.settings(stage).batch_size)
        exact = cost.affordable(EPOCH_SHARE * seconds / steps)
        most = max(float(f"{exact:.3g}"), float(f"{1.006 * min(sizes):.3g}"))
        # Far beyond all that was probed nothing has to be said.
        if most < 10 * max(sizes):
            limits.append(f"{stage.name}.max_mflops={min(most, stage.max_mflops or most)}")
    if not limits:
        return study, text
    return parse_study(text, f"the study '{study.name}' with small networks", limits)


def _shrink(study: Study, text: str, factor: float, done: Collection[str]) -> tuple[Study, str]:
    """Shrink trials, folds and epochs of every stage that is not done.

    A factor of 1 leaves them, 0 is the least.

    What a search costs shrinks by the factor, more of it in trials than in epochs: after a tenth
    of an epoch the best is who learns fastest, not who would be best. Fits of a stage's own
    model shrink less, and those of the last stage, which hands over the model, least: more
    epochs for one network buy more than more networks (docs/log.md).
    """

    def scale(value: float, by: float, least: float) -> float:
        return float(f"{max(min(least, value), value * by):.4g}")

    last = [stage for stage in study.stages if not isinstance(stage, FinalStage)][-1]
    overrides: dict[str, Any] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage) or stage.name in done:
            continue
        own = factor ** (LAST_FIT if stage is last else OTHER_FITS)
        settings = study.settings(stage)
        if not isinstance(stage, TuneStage):
            overrides[f"{stage.name}.training.max_epochs"] = scale(settings.max_epochs, own, 2)
            continue
        refit = study.refit_settings(stage)
        overrides[f"{stage.name}.refit.max_epochs"] = scale(refit.max_epochs, own, 2)
        schedule = stage.schedule
        grid = stage.sampler == "grid"
        if stage.folds:  # Further folds buy certainty; two are still a cross-validation.
            folds = max(2, round(stage.folds * math.sqrt(factor)))
            overrides[f"{stage.name}.folds"] = min(stage.folds, folds)
        # A grid keeps its points, and Hyperband sets its own trials: epochs shrink alone.
        alone = grid or schedule.name == "hyperband"
        exponent = EPOCHS if study.searches_structure(stage) else EPOCHS_OF_ONE_NETWORK
        by = factor if alone else factor**exponent
        whole = schedule.max_epochs or settings.max_epochs
        most = scale(whole, by, 1.0 if schedule.name == "hyperband" else 0.25)
        num_trials = study.brackets(stage)[0].rungs[0].num_trials
        first = None
        if schedule.min_epochs is not None:
            first = scale(schedule.min_epochs, by, 0.25)
        elif schedule.name == "full" and grid and factor < SMALL and num_trials >= GRID_HALVED:
            most = max(most, scale(whole, factor**EPOCHS_OF_ONE_NETWORK, 0.25))
            first = scale(most, 1 / GRID_CUT, 0.25)
            overrides[f"{stage.name}.schedule.name"] = "successive-halving"
            overrides[f"{stage.name}.schedule.factor"] = GRID_CUT
        if not alone:
            fewest = min(max(4, 1 + len(stage.points_to_evaluate)), num_trials)
            trials = max(fewest, round(num_trials * factor ** (1 - exponent)))
            if first is not None and factor < SMALL:
                trials, first, most = _plan_few_rounds(study, stage, trials, fewest, first, most)
            overrides[f"{stage.name}.trials"] = trials
        overrides[f"{stage.name}.schedule.max_epochs"] = most
        if first is not None:
            overrides[f"{stage.name}.schedule.min_epochs"] = first
    settings_text = [f"{key}={value}" for key, value in overrides.items()]
    return parse_study(text, f"the shrunk study '{study.name}'", settings_text)


def _plan_few_rounds(
    study: Study, stage: TuneStage, trials: int, fewest: int, first: float, most: float
) -> tuple[int, float, float]:
    """Give the trials of a small plan's successive halving, the epochs of its first round and all.

    No more rounds than leave two trials to be compared in the last of them, unless that would
    cost more than the search as it was given. Where halving would cost at most a fifth more than
    the points that the study names, all trained to the end, these are what is tried: as many of
    them as can have the epochs that the study gives, but the base's best and the first at least.
    """
    cut = stage.schedule.factor or 3

    def cost(rungs: Sequence[Rung]) -> float:
        return sum(rung.num_trials * rung.epochs for rung in rungs)

    begun = float(f"{most / cut ** int(math.log(max(trials - 1, 1), cut) + 1e-9):.4g}")
    rungs = plan_successive_halving(trials, max(first, begun), most, cut)[0].rungs
    if cost(rungs) <= cost(study.brackets(stage)[0].rungs):
        first = max(first, begun)
        named = stage.points_to_evaluate and not study.searches_structure(stage)
        if named and (len(rungs) == 1 or cost(rungs) < 1.2 * fewest * most):
            whole = stage.schedule.max_epochs or study.settings(stage).max_epochs
            kept = min(fewest, max(2, int(fewest * most / whole)))
            most = min(whole, float(f"{fewest * most / kept:.4g}"))
            return kept, most, most
    return trials, first, most
