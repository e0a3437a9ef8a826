"""``max_mflops``: a search that leaves out networks of more operations than that."""

from __future__ import annotations

from itertools import product

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.models import count_operations
from burnish.models.family import Family
from burnish.space import Choice, Params, Range, Value
from burnish.study.config import Study, TuneStage
from burnish.tuning.sampler import Admits, Point

MAX_NETWORKS = 64
"""As many networks of a space are counted to find the smallest, at 30 ms each."""


def limit_networks(study: Study, stage: TuneStage, params: Params, data: Dataset) -> Admits:
    """Say which points of a stage's space its ``max_mflops`` admits: without one, all.

    Parameters
    ----------
    study, stage
        Which stage of which study.
    params
        Complete params of the stage; a point replaces what it names.
    data
        Gives the size of images and the number of classes.
    """
    most = stage.max_mflops
    if most is None:
        return lambda point: True
    family = study.family(stage)
    counted: dict[tuple[Value, ...], float] = {}

    def admits(point: Point) -> bool:
        key = tuple(v for name, v in point.items() if study.is_structure(stage, name))
        if key not in counted:
            try:
                counted[key] = count_mflops(family, {**params, **point}, data)
            except StudyError:
                return True  # Its trial will say what is wrong with it.
        return counted[key] <= most

    return admits


def refuse_small_limit(study: Study, stage: TuneStage, params: Params, data: Dataset) -> None:
    """Refuse a ``max_mflops`` that no network of the stage's space keeps to.

    Parameters
    ----------
    study, stage, params, data
        As in :func:`limit_networks`.

    Raises
    ------
    StudyError
        Says how many operations the smallest network takes. Of a space of more than
        ``MAX_NETWORKS`` structures the lowest and highest values are looked at.
    """
    most = stage.max_mflops
    if most is None:
        return
    family = study.family(stage)
    structure = {
        name: r
        for name, r in stage.search_space().ranges.items()
        if study.is_structure(stage, name)
    }
    values = {name: list(r.values()) for name, r in structure.items()}
    num_networks = 1
    for listed in values.values():
        num_networks *= len(listed)
    if num_networks > MAX_NETWORKS:
        values = {name: _extremes(r) for name, r in structure.items()}
    smallest = float("inf")
    for point in product(*values.values()):
        try:
            count = count_mflops(family, {**params, **dict(zip(values, point, strict=True))}, data)
        except StudyError:  # Too deep for the images, say; others are not.
            continue
        smallest = min(smallest, count)
        if count <= most:
            return
    raise StudyError(
        f"stage '{stage.name}': max_mflops = {most:g} leaves no network of its space: the "
        f"smallest takes {smallest:.3g} million operations an image. Raise max_mflops, or take "
        "smaller networks into the space"
    )


def count_mflops(family: Family, params: Params, data: Dataset) -> float:
    """Count a prediction's operations an image, in millions."""
    return count_operations(family, params, data.image_shape, data.num_classes) / 1e6


def _extremes(r: Range) -> list[Value]:
    """The lowest and the highest value, of texts all."""
    values = list(r.values())
    if isinstance(r, Choice) and not all(isinstance(v, int | float) for v in values):
        return values
    return sorted({min(values), max(values)}, key=float)
