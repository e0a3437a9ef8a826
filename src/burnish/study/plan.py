"""What a study will do, what that will cost, and how to make it fit into given minutes.

The forecast comes from a probe: for every stage that fits models, a few steps of a
few configurations, in the worker processes that would fit them. A plan that must
end within given minutes is a study of its own: the same stages with fewer trials
and epochs. It is written down as a study file, which runs again without the clock.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from burnish.study.placement import LocalPlacement, Placement
from burnish.study.source import load_data
from burnish.training import FitRequest, TrainingSettings
from burnish.training.probe import FitCost
from burnish.tuning.executor import Executor, FitTask, Resources
from burnish.tuning.sampler import SAMPLERS, find_sampler, propose_params

SETTLING_EPOCHS = 12
"""Epochs after which early stopping is assumed to start counting; nobody knows before."""

FIXED_SECONDS = 12.0
"""Starting, loading data, the test split and the report."""

SAMPLES = 6
"""Configurations of a space that are probed."""

LAST_FIT, OTHER_FITS = 0.3, 0.7
"""Exponents of the factor by which a plan is shrunk, for fits of stages' own models."""


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
    """

    trial: FitCost | None
    own: FitCost
    likely: FitCost | None = None


Costs = Mapping[str, StageCost]


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
    study: Study, data: Dataset, scratch: Path, placement: Placement
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
    """
    fitting = [stage for stage in study.stages if not isinstance(stage, FinalStage)]
    samples = {
        stage.name: list(range(max(SAMPLES, placement.at_once)))
        for stage in fitting
        if isinstance(stage, TuneStage)
    }
    trials: dict[str, dict[int, FitCost]] = {}
    if samples:
        trials = _probe_stages(study, placement.start(data, scratch), samples)
    # With all threads only the dearest of these, or of those of the stage inherited from.
    dearest: dict[str, list[int]] = {}
    for stage in fitting:
        own = trials.get(stage.name)
        numbers = [max(own, key=lambda n: own[n].step_seconds)] if own else [0]
        dearest[stage.name] = numbers if own else dearest.get(stage.base or "", numbers)
    driver = LocalPlacement(1).start(data, scratch)
    alone = _probe_stages(study, driver, dearest)
    return {
        name: StageCost(
            _average(list(trials[name].values())) if name in trials else None,
            _dearest(list(costs.values())),
            _dearest(list(trials[name].values())) if name in trials else None,
        )
        for name, costs in alone.items()
    }


def forecast(study: Study, costs: Costs, data: Dataset, workers: int) -> list[StageForecast]:
    """Forecast every stage of a study.

    Fits with a constant learning rate end by early stopping; they are assumed to
    settle after a dozen epochs. One-cycle fits take the epochs that they are given.
    """
    return [_forecast_stage(study, stage, costs, data, workers) for stage in study.stages]


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
    done: Sequence[str] = (),
) -> tuple[Study, str]:
    """Shrink a study until its forecast fits into so many seconds.

    Further seeds go first: they buy certainty, not a better model. Then trials and epochs
    shrink by the same factor, found by bisection; stages in ``done`` stay as they are and
    cost nothing. A study that fits already is given back.

    Returns
    -------
    The study, and its text.

    Raises
    ------
    StudyError
        If even the smallest plan takes longer; the message says how long.
    """

    def seconds_of(candidate: Study) -> float:
        return FIXED_SECONDS + sum(
            stage.seconds
            for stage in forecast(candidate, costs, data, workers)
            if stage.name not in done
        )

    if seconds_of(study) <= seconds:
        return study, text
    study, text = _drop_seeds(study, text, done)
    if seconds_of(study) <= seconds:
        return study, text
    smallest, smallest_text = _shrink(study, text, 0.0, done)
    if seconds_of(smallest) > seconds:
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


def _probe_stages(
    study: Study, executor: Executor, samples: Mapping[str, Sequence[int]]
) -> dict[str, dict[int, FitCost]]:
    """Probe numbered samples of stages' params; give what they cost, by stage and number."""
    try:
        return _collect_costs(study, executor, samples)
    finally:
        executor.close()


def _collect_costs(
    study: Study, executor: Executor, samples: Mapping[str, Sequence[int]]
) -> dict[str, dict[int, FitCost]]:
    tasks: dict[str, tuple[str, int]] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage):
            continue
        for number in samples.get(stage.name, ()):
            params = _sample_params(study, stage, number)
            request = FitRequest(study.family(stage).name, params, study.settings(stage), 0)
            key = f"{stage.name}/{number}"
            tasks[key] = stage.name, number
            executor.submit(FitTask(key, request, probe=True, resources=_resources(stage)))
    costs: dict[str, dict[int, FitCost]] = {}
    for _ in tasks:
        outcome = executor.wait()
        name, number = tasks[outcome.key]
        if outcome.cost is None:
            raise StudyError(f"stage '{name}' cannot be fitted: {outcome.failure}")
        costs.setdefault(name, {})[number] = outcome.cost
    return costs


def _resources(stage: FittingStage) -> Resources:
    return stage.resources.resources() if isinstance(stage, TuneStage) else Resources()


def _sample_params(study: Study, stage: FittingStage, number: int) -> dict[str, Value]:
    """Params of a probe: points at random of this stage's space and of those it builds on.

    What a search will find is not known before, so what inherits from it is as
    uncertain; every stage of a chain gets the same draw from the stage before.
    """
    base = study.stage(stage.base) if stage.base is not None else None
    inherited: dict[str, dict[str, Value]] = {}
    if base is not None and not isinstance(base, FinalStage):
        inherited[base.name] = _sample_params(study, base, number)
    params = study.initial_params(stage, inherited)
    if isinstance(stage, TuneStage):
        seed = derive_seed(0, f"probe of {stage.name}", number)
        params.update(propose_params(SAMPLERS["random"], stage.search_space(), [], seed) or {})
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


def _forecast_stage(
    study: Study, stage: Any, costs: Costs, data: Dataset, workers: int
) -> StageForecast:
    if isinstance(stage, FinalStage):
        return StageForecast(stage.name, 0, 0.0, 0.0)
    cost = costs[stage.name]
    tuning = isinstance(stage, TuneStage)
    settings = study.refit_settings(stage) if tuning else study.settings(stage)
    epochs = expected_epochs(settings)
    steps = math.ceil(len(data.train) / settings.batch_size)
    seconds = cost.own.estimate_seconds(epochs, steps) * stage.seeds
    epochs *= stage.seeds
    trials = 0
    if tuning:
        assert cost.trial is not None
        folds = stage.folds or 1
        fold_steps = math.ceil(steps * (folds - 1) / folds) if folds > 1 else steps
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
                one = fit_cost.estimate_seconds(trained, fold_steps)
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


def _inherits_a_winner(study: Study, stage: FittingStage) -> bool:
    """Whether the structure of a stage's trials is what an earlier search found."""
    return stage.base is not None and isinstance(study.stage(stage.base), TuneStage)


def expected_epochs(settings: TrainingSettings, budget: float | None = None) -> float:
    """Epochs that a fit is expected to take of its budget."""
    most = settings.max_epochs if budget is None else budget
    if settings.learning_rate_schedule == "one-cycle":
        return most
    return min(most, SETTLING_EPOCHS + settings.patience)


def _drop_seeds(study: Study, text: str, done: Sequence[str]) -> tuple[Study, str]:
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


def _shrink(study: Study, text: str, factor: float, done: Sequence[str]) -> tuple[Study, str]:
    """Shrink trials and epochs of every stage that is not done; 1 leaves them, 0 is the least.

    What a search costs shrinks by the factor, half of it in trials, half in epochs. Fits of
    a stage's own model shrink less, and those of the last stage, which hands over the
    model, least: more epochs for one network buy more than more networks (docs/log.md).
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
        # A grid keeps its points, and Hyperband sets its own trials: epochs shrink alone.
        alone = grid or schedule.name == "hyperband"
        by = factor if alone else math.sqrt(factor)
        most = schedule.max_epochs or settings.max_epochs
        least = 1.0 if schedule.name == "hyperband" else 0.25
        overrides[f"{stage.name}.schedule.max_epochs"] = scale(most, by, least)
        if schedule.min_epochs is not None:
            overrides[f"{stage.name}.schedule.min_epochs"] = scale(schedule.min_epochs, by, 0.1)
        if not alone:
            num_trials = study.brackets(stage)[0].rungs[0].num_trials
            overrides[f"{stage.name}.trials"] = max(min(4, num_trials), round(num_trials * by))
    settings_text = [f"{key}={value}" for key, value in overrides.items()]
    return parse_study(text, f"the shrunk study '{study.name}'", settings_text)
