"""What a tuning stage does: the plan that the tuner carries out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from burnish.data import Dataset
from burnish.stages.fingerprint import derive_seed
from burnish.stages.fit_requests import Results, SeedStream, choose_first_points, make_request
from burnish.stages.network_limit import limit_networks, refuse_small_limit
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.tuning.samplers import find_sampler
from burnish.tuning.tuner import TuningPlan


def plan_search(
    study: Study,
    stage: TuneStage,
    results: Results,
    data: Dataset,
    workers: int,
    on_note: Callable[[str], None],
    start: Path | None = None,
) -> TuningPlan:
    """Return the plan of a tuning stage.

    Parameters
    ----------
    study, stage, results
        Which stage of which study, and the results of the stages before it.
    data
        The data that trials are fitted on.
    workers
        Trials that run at once.
    on_note
        Called for each point of the study that may not be tried.
    start
        The saved model that trials start from, where the stage names one.

    Raises
    ------
    StudyError
        If no network of the stage's space may be tried.
    """
    space = stage.search_space()
    request = make_request(
        study, stage, results, study.settings(stage), SeedStream.OWN_FIT, None, start
    )
    refuse_small_limit(study, stage, request.params, data)
    allows = limit_networks(study, stage, request.params, data)
    return TuningPlan(
        model=request.model,
        fixed={name: v for name, v in request.params.items() if name not in space.ranges},
        settings=request.settings,
        space=space,
        sampler=find_sampler(stage.sampler),
        brackets=study.brackets(stage),
        promotion=study.promotion(stage),
        num_folds=stage.folds or 1,
        first=choose_first_points(study, stage, request.params, allows, on_note),
        concurrency=workers,
        derive_seed=lambda trial: derive_seed(study.seed, stage.name, trial),
        folds_seed=derive_seed(study.seed, stage.name, SeedStream.FOLDS),
        resources=stage.resources.resources(),
        allows=allows,
        start=request.start,
        max_seconds=stage.max_seconds,
    )
