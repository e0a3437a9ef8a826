"""What a study will compute of features: which files, how long it takes, and the room they need.

A file is counted once, by the stage that first asks for it; what is in the cache counts nothing.
What a search will find is not known: of all that it may find, what takes longest stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from burnish.augmentation import augmentation_limits
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.features import FeatureSet
from burnish.features.cost import FeatureCost, measure_feature_cost
from burnish.space import Float, Params, Range, Value
from burnish.study.schema import FinalStage, FittingStage, TuneStage
from burnish.study.study import Study
from burnish.training import find_feature_set

MOST_POINTS = 256
"""Most points of a space whose features are looked at; of a larger one, as many, evenly spread."""

MOST_INHERITED = 8
"""Most of what earlier searches may find that is looked at."""

MOST_MEASURED = 6
"""Most networks that are measured; others are taken to be as slow as the slowest of them."""

Found = Mapping[str, Mapping[str, Value]]
"""Params of finished stages, by name."""


@dataclass(frozen=True)
class FeatureForecast:
    """Features that are still to be computed.

    Attributes
    ----------
    files
        How many.
    views
        Views of images in all of them.
    num_bytes
        On disk.
    seconds
        That computing them takes; 0 where nothing was measured.
    """

    files: int = 0
    views: int = 0
    num_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: FeatureForecast) -> FeatureForecast:
        return FeatureForecast(
            self.files + other.files,
            self.views + other.views,
            self.num_bytes + other.num_bytes,
            self.seconds + other.seconds,
        )


NOTHING_NEW = FeatureForecast()
"""All features are there, or none are asked for."""


def list_features(
    study: Study,
    data: Dataset,
    found: Found,
    weigh: Callable[[FeatureSet], float] = lambda one: one.num_bytes,
) -> dict[str, list[FeatureSet]]:
    """List the files of features that each stage may need at the same time, there or not.

    Parameters
    ----------
    study, data
        The study and its data.
    found
        Params of finished stages, which ask for nothing.
    weigh
        Says what a file takes: of what a search may find, or draw, the largest counts.

    Returns
    -------
    By the name of each stage that is left and asks for any; no file twice in one stage.
    """
    memory: dict[tuple[Value | None, ...], FeatureSet | None] = {}
    listed: dict[str, list[FeatureSet]] = {}
    for stage in study.stages:
        if isinstance(stage, FinalStage) or stage.name in found:
            continue
        alternatives = [
            _list_own(study, stage, params, data, weigh, memory)
            for params in _list_inherited(study, stage, found)
        ]
        chosen = max(alternatives, key=lambda files: sum(weigh(one) for one in files))
        if chosen:
            listed[stage.name] = chosen
    return listed


def forecast_features(
    study: Study, data: Dataset, found: Found, costs: Mapping[str, FeatureCost] | None = None
) -> dict[str, FeatureForecast]:
    """Forecast the features that each stage will compute, by its name.

    Parameters
    ----------
    study, data, found
        As in :func:`list_features`.
    costs
        By the identity of a frozen part, as :func:`measure_features` returns them; without, no
        seconds are forecast.
    """

    def estimate(one: FeatureSet) -> float:
        if costs is None:
            return 0.0
        slowest = max(costs.values(), key=lambda cost: cost.view_seconds, default=None)
        cost = costs.get(one.part.identity, slowest)
        return 0.0 if cost is None else cost.estimate_seconds(one.num_rows)

    weigh = (lambda one: one.num_bytes) if costs is None else estimate
    counted: set[str] = set()
    forecasts: dict[str, FeatureForecast] = {}
    for name, files in list_features(study, data, found, weigh).items():
        for one in files:
            if one.key in counted or one.find() is not None:
                continue
            counted.add(one.key)
            more = FeatureForecast(1, one.num_rows, one.num_bytes, estimate(one))
            forecasts[name] = forecasts.get(name, NOTHING_NEW) + more
    return forecasts


def measure_features(study: Study, data: Dataset, found: Found) -> dict[str, FeatureCost]:
    """Measure what each network takes whose features are still to be computed.

    Returns
    -------
    By the identity of the frozen part; of at most `MOST_MEASURED` of them, evenly spread.

    Raises
    ------
    DataError
        If the cache, where they will be kept, cannot be written.
    """
    files = [one for of in list_features(study, data, found).values() for one in of]
    missing = list({one.part.identity: one for one in files if one.find() is None}.items())
    measured = [missing[number] for number in _spread_numbers(len(missing), MOST_MEASURED)]
    return {identity: measure_feature_cost(one) for identity, one in measured}


def _list_own(
    study: Study,
    stage: FittingStage,
    params: Params,
    data: Dataset,
    weigh: Callable[[FeatureSet], float],
    memory: dict[tuple[Value | None, ...], FeatureSet | None],
) -> list[FeatureSet]:
    """List the files of a stage, given what it inherits; of a search at most one a trial."""
    family = study.family(stage)
    names = _list_changing(study, stage)
    points: list[Params] = [params]
    if isinstance(stage, TuneStage):
        points = _list_points(study, stage, params, MOST_POINTS)
    files: dict[str, FeatureSet] = {}
    for point in points:
        place = (family.name, *(point.get(name) for name in names))
        if place not in memory:
            memory[place] = None
            with suppress(StudyError):  # A corner of the space that does not fit the images.
                memory[place] = find_feature_set(family.name, point, data)
        one = memory[place]
        if one is not None:
            files[one.key] = one
    largest = sorted(files.values(), key=weigh, reverse=True)
    return largest[: _count_trials(study, stage)] if isinstance(stage, TuneStage) else largest


def _list_inherited(study: Study, stage: FittingStage, found: Found) -> list[dict[str, Value]]:
    """List params that a stage may begin with: its own, and what its bases may have found."""
    base = study.stage(stage.base) if stage.base is not None else None
    if base is None or isinstance(base, FinalStage):
        return [study.initial_params(stage, {})]
    if base.name in found:
        return [study.initial_params(stage, found)]
    names = _list_changing(study, stage)
    distinct: dict[tuple[Value | None, ...], dict[str, Value]] = {}
    for inherited in _list_inherited(study, base, found):
        points: list[Params] = [inherited]
        if isinstance(base, TuneStage):
            points = _list_points(study, base, inherited, MOST_INHERITED)
        for point in points:
            params = study.initial_params(stage, {base.name: point})
            distinct.setdefault(tuple(params.get(name) for name in names), params)
    return list(distinct.values())[:MOST_INHERITED]


def _list_points(study: Study, stage: TuneStage, params: Params, most: int) -> list[Params]:
    """List points of a space that differ in what features depend on, at most so many."""
    names = set(_list_changing(study, stage))
    ranges = {n: r for n, r in stage.search_space().ranges.items() if n in names}
    trials = min(most, _count_trials(study, stage))
    values = [_spread(r, trials) for r in ranges.values()]
    shape = [len(of) for of in values]
    total = math.prod(shape)
    points: list[Params] = []
    for number in _spread_numbers(total, most):
        places = np.unravel_index(number, shape) if shape else ()
        chosen = {n: of[int(i)] for n, of, i in zip(ranges, values, places, strict=True)}
        points.append({**params, **chosen})
    return points


def _spread(r: Range, num_values: int) -> Sequence[Value]:
    """Return the values of a range; of a continuous one so many, evenly spread."""
    if isinstance(r, Float) and r.step is None:
        space = np.geomspace if r.log else np.linspace
        return [float(value) for value in space(r.low, r.high, num_values)]
    return r.values()


def _spread_numbers(total: int, most: int) -> Iterator[int]:
    """Return numbers from 0, all of them or so many, evenly spread, the largest with them."""
    if total <= most:
        return iter(range(total))
    return (round(i * (total - 1) / (most - 1)) for i in range(most))


def _list_changing(study: Study, stage: FittingStage) -> list[str]:
    """Return the hyperparameters that features depend on."""
    return [*study.family(stage).frozen_by, *augmentation_limits().ranges]


def _count_trials(study: Study, stage: TuneStage) -> int:
    return sum(bracket.rungs[0].num_trials for bracket in study.brackets(stage))
