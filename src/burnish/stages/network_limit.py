"""``max_mflops``: a search that leaves out networks of more operations than that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, product

import numpy as np

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.models import count_operations, find_family
from burnish.models.family import Family
from burnish.space import Float, Params, Value, ends_of
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.tuning.samplers import Allows, Point, draw_value

MAX_NETWORKS = 64
"""Networks of a space that are counted to find the smallest, at 30 ms each."""


def limit_networks(study: Study, stage: TuneStage, params: Params, data: Dataset) -> Allows:
    """Return which points of a stage's space ``max_mflops`` allows; without a limit, all.

    Parameters
    ----------
    study, stage
        Which stage of which study.
    params
        Complete params of the stage; a point replaces those that it names.
    data
        Source of the images' size and the number of classes.
    """
    most = stage.max_mflops
    if most is None:
        return lambda point: True
    family = study.family(stage)

    def allows(point: Point) -> bool:
        try:
            return count_mflops(family, {**params, **point}, data) <= most
        except StudyError:
            return True  # Its trial will say what is wrong with it.

    return allows


def refuse_small_limit(study: Study, stage: TuneStage, params: Params, data: Dataset) -> None:
    """Refuse a ``max_mflops`` that excludes every network of the stage's space.

    Parameters
    ----------
    study, stage, params, data
        As in :func:`limit_networks`.

    Raises
    ------
    StudyError
        Says how many operations the smallest network takes, or why they cannot be counted. If
        a space has more than ``MAX_NETWORKS`` structures, only its lowest and highest values
        and ``MAX_NETWORKS`` random points are counted.
    """
    most = stage.max_mflops
    if most is None:
        return
    family = study.family(stage)
    smallest, reason = math.inf, ""
    for point in _find_structures(study, stage):
        try:
            count = count_mflops(family, {**params, **point}, data)
        except StudyError as error:  # Too deep for the images, say; others are not.
            reason = str(error)
            continue
        smallest = min(smallest, count)
        if count <= most:
            return
    if smallest == math.inf:
        raise StudyError(f"stage '{stage.name}': max_mflops = {most:g}: {reason}")
    raise StudyError(
        f"stage '{stage.name}': max_mflops = {most:g} leaves no network of its space: the "
        f"smallest takes {smallest:.3g} million operations an image. Raise max_mflops, or take "
        "smaller networks into the space"
    )


def count_mflops(family: Family, params: Params, data: Dataset) -> float:
    """Return the operations of a prediction per image, in millions.

    Raises
    ------
    StudyError
        If the network does not fit the images, or its operations cannot be counted.
    """
    shaping = {
        name: family.defaults[name] if name in family.training_only else params[name]
        for name in family.defaults
    }
    return _count(family.name, tuple(shaping.items()), data.image_shape, data.num_classes)


@lru_cache(maxsize=10_000)
def _count(
    family: str,
    params: tuple[tuple[str, Value], ...],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> float:
    return count_operations(find_family(family), dict(params), image_shape, num_classes) / 1e6


def _find_structures(study: Study, stage: TuneStage) -> Iterator[Point]:
    ranges = {
        name: r
        for name, r in stage.search_space().ranges.items()
        if study.is_structure(stage, name)
    }
    countless = any(isinstance(r, Float) and r.step is None for r in ranges.values())
    if not countless and math.prod(len(r.values()) for r in ranges.values()) <= MAX_NETWORKS:
        for values in product(*(r.values() for r in ranges.values())):
            yield dict(zip(ranges, values, strict=True))
        return
    ends = {name: ends_of(r) for name, r in ranges.items()}
    generator = np.random.default_rng(0)
    drawn = (tuple(draw_value(r, generator) for r in ranges.values()) for _ in range(MAX_NETWORKS))
    for values in chain(product(*ends.values()), drawn):
        yield dict(zip(ranges, values, strict=True))
