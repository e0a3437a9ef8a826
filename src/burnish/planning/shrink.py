"""How a study is made to fit into given minutes.

The plan for given minutes is a study of its own: the same stages with fewer trials, folds and
epochs, and with large grids halved. It is saved as a study file, which runs again without a time
limit.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Sequence
from typing import Any

import tomli_w

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.planning.forecast import Costs, expected_epochs, forecast, total_seconds
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, TuneStage
from burnish.study.study import Study
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import SCHEDULES, Rung, plan_successive_halving

EPOCH_SHARE = 0.02
"""A network is searched only if one epoch takes at most this share of the remaining time. The last
fit gets about a third of the time, and needs fifteen epochs."""

LAST_FIT, OTHER_FITS = 0.2, 0.9
"""Exponents of the factor that shrinks a plan: for the last stage's own fit, and for those of
other stages."""

SMALL = 0.4
"""Below this factor a plan is small. Its searches run only as many rounds as leave trials to
compare, try fewer of the study's named points, and halve large grids."""

GRID_HALVED, GRID_CUT = 8, 4
"""A small plan halves a grid of at least ``GRID_HALVED`` points: one in ``GRID_CUT`` gets a second
round. In a single round each point would get a quarter of an epoch, which says little about ten."""

EPOCHS, EPOCHS_OF_ONE_NETWORK = 0.35, 0.15
"""Exponents for the epochs of a search's trials: if networks are searched, and if all trials have
one network. The number of trials takes the rest. Trials of one network differ in what pays off
only in longer fits: after one epoch of MNIST no augmentation is best, after four it is not
(docs/log.md)."""


def shrink_to(
    study: Study,
    text: str,
    costs: Costs,
    data: Dataset,
    workers: int,
    seconds: float,
    done: Collection[str] = (),
) -> tuple[Study, str]:
    """Shrink a study until its forecast fits into ``seconds``.

    Further seeds go first: they buy certainty, not a better model. Networks that cannot be fully
    trained in the time go next (see ``EPOCH_SHARE``). Then trials, folds and epochs shrink by
    the same factor, found by bisection. Stages in ``done`` stay as they are and cost nothing. A
    study that fits already is returned unchanged. A study that cannot fit is shrunk as far as
    possible if some stages are done.

    Returns
    -------
    The study, and its text.

    Raises
    ------
    StudyError
        If no stage is done and even the smallest plan takes longer; the message says how long.
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
    smallest, smallest_text = _shrink(study, text, 0.0, workers, done)
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
        candidate = _shrink(study, text, middle, workers, done)
        if seconds_of(candidate[0]) <= seconds:
            fitting, low = candidate, middle
        else:
            high = middle
    return fitting


def keep_stages(text: str, plan_text: str, done: Collection[str]) -> tuple[Study, str]:
    """Return the study with the stages in ``done`` taken from a plan of it.

    Parameters
    ----------
    text, plan_text
        The original study, and the plan that it has followed so far.
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


def _drop_seeds(study: Study, text: str, done: Collection[str]) -> tuple[Study, str]:
    """Return the study with one seed for every stage that is not done."""
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
    """Leave out of searches the networks that could not be fully trained.

    Trials are compared at equal epochs. There large networks win, whatever they cost later.
    """
    limits = []
    for stage in study.stages:
        if not isinstance(stage, TuneStage) or stage.name in done:
            continue
        cost = costs[stage.name]
        sizes = {sample.mflops for sample in cost.samples}
        # No limit if operations cannot be counted, are all equal, or depend on an earlier search.
        if len(sizes) < 2 or min(sizes) == 0 or not study.knows_structure(stage):
            continue
        steps = math.ceil(len(data.train) / study.settings(stage).batch_size)
        exact = cost.largest_within(EPOCH_SHARE * seconds / steps)
        most = max(float(f"{exact:.3g}"), float(f"{1.006 * min(sizes):.3g}"))
        # No limit is needed far beyond all probed networks.
        if most < 10 * max(sizes):
            limits.append(f"{stage.name}.max_mflops={min(most, stage.max_mflops or most)}")
    if not limits:
        return study, text
    return parse_study(text, f"the study '{study.name}' with small networks", limits)


def _shrink(
    study: Study, text: str, factor: float, workers: int, done: Collection[str]
) -> tuple[Study, str]:
    """Shrink trials, folds and epochs of every stage that is not done.

    A factor of 1 changes nothing; 0 shrinks the most.

    The cost of a search shrinks by the factor, more in trials than in epochs. After a tenth of an
    epoch the fastest learner leads, not the best network. Fits of a stage's own model shrink
    less. Those of the last stage, whose model is handed over, shrink least: more epochs for one
    network gain more than more networks (docs/log.md).
    """
    last = [stage for stage in study.stages if not isinstance(stage, FinalStage)][-1]
    overrides: dict[str, Any] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage) or stage.name in done:
            continue
        own = factor ** (LAST_FIT if stage is last else OTHER_FITS)
        if isinstance(stage, TuneStage):
            epochs = _scale(study.refit_settings(stage).max_epochs, own, 2)
            overrides[f"{stage.name}.refit.max_epochs"] = epochs
            overrides |= _shrink_search(study, stage, factor, workers)
        else:
            epochs = _scale(study.settings(stage).max_epochs, own, 2)
            overrides[f"{stage.name}.training.max_epochs"] = epochs
    settings_text = [f"{key}={value}" for key, value in overrides.items()]
    return parse_study(text, f"the shrunk study '{study.name}'", settings_text)


def _scale(value: float, by: float, least: float) -> float:
    return float(f"{max(min(least, value), value * by):.4g}")


def _shrink_search(study: Study, stage: TuneStage, factor: float, workers: int) -> dict[str, Any]:
    """Return the study values of a shrunk search, by their dotted names."""
    schedule = stage.schedule
    whole = schedule.max_epochs or study.settings(stage).max_epochs
    num_trials = study.brackets(stage)[0].rungs[0].num_trials
    grid = find_sampler(stage.sampler).exhaustive
    # A grid keeps its points, and Hyperband sets its own trials: only epochs shrink.
    sets_trials = SCHEDULES.find(schedule.name).sets_trials
    alone = grid or sets_trials
    exponent = EPOCHS if study.searches_structure(stage) else EPOCHS_OF_ONE_NETWORK
    by = factor if alone else factor**exponent
    most = _scale(whole, by, 1.0 if sets_trials else 0.25)
    shrunk: dict[str, Any] = {}
    first = None
    if schedule.min_epochs is not None:
        first = _scale(schedule.min_epochs, by, 0.25)
    elif schedule.name == "full" and grid and factor < SMALL and num_trials >= GRID_HALVED:
        # At most twice the cost of fitting all points once.
        second = min(_scale(most, GRID_CUT, 0.0), _scale(whole, factor**exponent, 0.25))
        begun = _scale(second, 1 / GRID_CUT, 0.25)
        if second >= 2 * begun:
            first, most = begun, second
            shrunk |= {"schedule.name": "successive-halving", "schedule.factor": GRID_CUT}
    if not alone:
        fewest = min(max(4, 1 + len(stage.points_to_evaluate)), num_trials)
        trials = max(fewest, round(num_trials * factor ** (1 - exponent)))
        if first is not None and factor < SMALL:
            trials, first, most = _plan_few_rounds(
                study, stage, trials, fewest, first, most, workers
            )
        shrunk["trials"] = trials
    shrunk["schedule.max_epochs"] = most
    if first is not None:
        shrunk["schedule.min_epochs"] = first
    if stage.folds:  # Further folds buy certainty; two are still a cross-validation.
        shrunk["folds"] = min(stage.folds, max(2, round(stage.folds * math.sqrt(factor))))
    return {f"{stage.name}.{key}": value for key, value in shrunk.items()}


def _plan_few_rounds(
    study: Study,
    stage: TuneStage,
    trials: int,
    fewest: int,
    first: float,
    most: float,
    workers: int,
) -> tuple[int, float, float]:
    """Return the trials of a small plan's successive halving, and the first and most of its epochs.

    The last round must leave two trials to compare, unless that would cost more than the original
    search. If halving would cost at most a fifth more than fully training the study's named
    points, only those are trained.
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
            kept, longest = _keep_first_points(study, stage, fewest, most, workers)
            return kept, longest, longest
    return trials, first, most


def _keep_first_points(
    study: Study, stage: TuneStage, trials: int, most: float, workers: int
) -> tuple[int, float]:
    """Return how many of a stage's first points fit into the time of all, and their epochs.

    As many points stay as can have the epochs that the study gives: at least two, and at least
    enough to keep the workers busy.
    """
    settings = study.settings(stage)
    whole = stage.schedule.max_epochs or settings.max_epochs
    share = expected_epochs(settings, most) / expected_epochs(settings, whole)
    turns = math.ceil(trials / workers)
    kept = min(trials, max(2, workers * max(1, int(turns * share + 1e-9))))
    longer = float(f"{most * turns / math.ceil(kept / workers):.4g}")
    return (kept, min(whole, longer)) if kept < trials else (trials, most)
