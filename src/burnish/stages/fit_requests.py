"""What the fits of a stage are asked for, and the fingerprint of all that its result depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from burnish.augmentation import OPERATIONS
from burnish.backend import describe_settings, keras
from burnish.bundle import hash_file
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.models import FAMILIES, find_family
from burnish.space import Float, Range, Value
from burnish.stages.fingerprint import code_fingerprint, derive_seed, fingerprint
from burnish.study.schema import FinalStage, FittingStage, Stage, TuneStage
from burnish.study.study import Study
from burnish.study.text import quote
from burnish.training import FitRequest, Start, TrainingSettings
from burnish.tuning.samplers import SAMPLERS, Allows, Point, draw_value
from burnish.tuning.schedules import SCHEDULES


class SeedStream(IntEnum):
    """Trial numbers that seeds outside a search derive from."""

    OWN_FIT = 0
    """The only fit of a stage."""
    FOLDS = -1
    """The cut into folds."""
    REFIT = -2
    """The winner of a search, trained again."""
    FURTHER_SEEDS = -10
    """Further seeds of a stage: this number and those below it."""


Results = Mapping[str, Mapping[str, Any]]
"""Results of finished stages by name, as in ``result.json``."""


def make_request(
    study: Study,
    stage: FittingStage,
    results: Results,
    settings: TrainingSettings,
    trial: int,
    checkpoint: Path | None,
    start: Path | None = None,
) -> FitRequest:
    """Return the request for a fit of a stage, with the params that its base found.

    Parameters
    ----------
    study, stage
        Which stage of which study; its base is among ``results``.
    results
        Results of the stages before it.
    settings
        How the fit is trained.
    trial
        The number that the fit's seed derives from.
    checkpoint
        Path of its checkpoint, if it keeps one.
    start
        The saved model of the stage that it starts from; a request for fingerprints does without.

    Raises
    ------
    StudyError
        If it cannot start from the weights that its stage names.
    """
    params = study.initial_params(stage, {name: r["params"] for name, r in results.items()})
    given: Start | None = None
    if stage.start_from is not None:
        before = results[stage.start_from]
        why = study.explain_start(stage, before["params"], params)
        if why is not None:
            raise StudyError(f"stage '{stage.name}', start_from: {why}")
        given = Start(start or Path(), str(before["fingerprint"]))
    return FitRequest(
        model=study.family(stage).name,
        params=params,
        settings=settings,
        seed=derive_seed(study.seed, stage.name, trial),
        checkpoint=checkpoint,
        start=given,
    )


def derive_seeds(study: Study, stage: FittingStage, first: int) -> list[int]:
    """Return the seeds of a stage's own fits, as many as it asks for; ``first`` comes first."""
    return [first] + [
        derive_seed(study.seed, stage.name, SeedStream.FURTHER_SEEDS - number)
        for number in range(1, stage.seeds)
    ]


def choose_first_points(
    study: Study,
    stage: TuneStage,
    params: Mapping[str, Value],
    allows: Allows,
    on_note: Callable[[str], None] = lambda message: None,
) -> tuple[Point, ...]:
    """Return the points that a search tries before its sampler proposes any, each point once.

    The base's best point comes first, if it lies in the space, then ``points_to_evaluate`` of
    the stage. Values that a point does not name are the stage's own, or drawn if those are
    outside the space.

    Parameters
    ----------
    study, stage
        Which stage of which study.
    params
        Complete params of the stage, including what its base found.
    allows
        Says whether a point may be tried.
    on_note
        Called for each point of the study that may not be tried.
    """
    space = stage.search_space()
    seed = derive_seed(study.seed, f"points of {stage.name}", SeedStream.OWN_FIT)
    chosen: list[Point] = []
    if stage.base is not None and params in space:
        point = {name: params[name] for name in space.ranges}
        chosen.extend([point] if allows(point) else [])
    for number, given in enumerate(stage.points_to_evaluate):
        generator = np.random.default_rng((seed, number))
        point = {}
        for name, r in space.ranges.items():
            drawn = draw_value(r, generator)
            value = given.get(name, params[name] if params[name] in r else drawn)
            point[name] = _as_range_has_it(r, value)
        if not allows(point):
            shown = ", ".join(f"{name} = {quote(repr(v))}" for name, v in given.items())
            on_note(
                f"stage '{stage.name}': of its points_to_evaluate, {shown} is not tried: "
                "max_mflops leaves out its network"
            )
        elif point not in chosen:
            chosen.append(point)
    return tuple(chosen)


def _as_range_has_it(r: Range, value: Value) -> Value:
    """Return the range's value that equals this one: 32 for 32.0, 0.1 for 0.1000000001."""
    if isinstance(r, Float):
        number = float(value)
        return number if r.step is None else min(r.values(), key=lambda v: abs(v - number))
    return next(v for v in r.values() if v == value)


def fingerprint_stage(
    study: Study, stage: Stage, results: Results, data: Dataset, workers: int
) -> str:
    """Return the fingerprint of everything that a stage's result depends on.

    Parameters
    ----------
    study, stage, results
        As in :func:`make_request`.
    data
        The data that it is fitted on.
    workers
        Trials that run at once; proposals depend on this number.
    """
    common = {
        "code": code_fingerprint(),
        "versions": library_versions(),
        "settings": describe_settings(),
        "data": data.fingerprint,
        "name": stage.name,
    }
    if isinstance(stage, FinalStage):
        stages = {name: result["fingerprint"] for name, result in results.items()}
        return fingerprint({**common, "stages": stages})
    base = results[stage.base]["fingerprint"] if stage.base is not None else None
    request = make_request(
        study, stage, results, study.own_settings(stage), SeedStream.OWN_FIT, None
    )
    files = [hash_file(path) for path in find_family(request.model).find_files(request.params)]
    content = {**common, "base": base, "request": request.identity(), "files": files}
    # Added only if the study sets them, so that runs from before they existed stay valid.
    plugins = _list_plugins(stage, request)
    content |= {"plugins": plugins} if plugins else {}
    content |= {"seeds": stage.seeds} if stage.seeds > 1 else {}
    content |= {"gate": stage.gate} if stage.gate != "lowest_val_loss" else {}
    if isinstance(stage, TuneStage):
        content |= {"max_mflops": stage.max_mflops} if stage.max_mflops is not None else {}
        content |= {"max_seconds": stage.max_seconds} if stage.max_seconds is not None else {}
        points = stage.points_to_evaluate
        content |= {"points_to_evaluate": points} if points else {}
        content["trials"] = study.settings(stage).as_dict()
        content["search"] = {
            "space": stage.space,
            "sampler": stage.sampler,
            "brackets": [asdict(bracket) for bracket in study.brackets(stage)],
            "promotion": study.promotion(stage),
            "folds": stage.folds,
            "concurrency": workers,
        }
    return fingerprint(content)


def fingerprint_trials(study: Study, stage: TuneStage, results: Results, data: Dataset) -> str:
    """Return the fingerprint of what a search's fits depend on, besides the trials themselves.

    If two searches have this fingerprint in common, a trial with the same number, params and
    budgets has the same result in both. It does not matter what proposed the trial, or how many
    trials there are.

    Parameters
    ----------
    study, stage, results, data
        As in :func:`fingerprint_stage`.
    """
    request = make_request(study, stage, results, study.settings(stage), SeedStream.OWN_FIT, None)
    settings = request.settings.as_dict()
    del settings["max_epochs"]  # A trial has the budget of its round.
    return fingerprint(
        {
            "code": code_fingerprint(),
            "versions": library_versions(),
            "data": data.fingerprint,
            "name": stage.name,
            "seed": study.seed,
            "model": request.model,
            "plugins": _list_plugins(stage, request),
            "fixed": {name: v for name, v in request.params.items() if name not in stage.space},
            **({"start": request.start.fingerprint} if request.start is not None else {}),
            "settings": settings,
            "promotion": study.promotion(stage),
            "folds": stage.folds,
            "files": [hash_file(p) for p in find_family(request.model).find_files(request.params)],
        }
    )


def _list_plugins(stage: FittingStage, request: FitRequest) -> list[str]:
    """Return the plug-ins that a stage's result depends on, with version and digest of each.

    Sources and formats are not included: the data's fingerprint covers what they produce.
    """
    origins = {FAMILIES.origin(request.model)}
    searched = stage.space if isinstance(stage, TuneStage) else {}
    origins |= {
        OPERATIONS.origin(operation.name)
        for operation in OPERATIONS
        if operation.is_on(request.params) or set(operation.defaults) & set(searched)
    }
    if isinstance(stage, TuneStage):
        origins |= {SAMPLERS.origin(stage.sampler), SCHEDULES.origin(stage.schedule.name)}
    return sorted(origin for origin in origins if origin is not None)


def library_versions() -> dict[str, str]:
    """Return the versions that a fit's result depends on."""
    import tensorflow as tf

    return {"keras": keras.__version__, "tensorflow": tf.__version__}
