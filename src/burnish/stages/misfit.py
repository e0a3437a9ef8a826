"""Whether a study suits the images that it is to be fitted on: said before anything is fitted."""

from __future__ import annotations

from burnish.data import Dataset
from burnish.data.folds import refuse_many_folds
from burnish.errors import StudyError
from burnish.space import Float
from burnish.stages.network_limit import refuse_small_limit
from burnish.study.schema import FinalStage, TuneStage
from burnish.study.study import Study


def refuse_misfit(study: Study, data: Dataset) -> None:
    """Refuse a study whose networks or folds do not fit the images, as far as its file shows.

    Raises
    ------
    StudyError
        If a stage's networks, or its shifts at prediction, do not fit the images; names it.
    DataError
        If a stage's folds do not fit the images; names it.
    """
    for stage in study.stages:
        if isinstance(stage, FinalStage):
            continue
        if isinstance(stage, TuneStage) and stage.folds:
            refuse_many_folds(data, stage.folds, f"stage '{stage.name}': ")
        height, width, _ = data.image_shape
        shift = study.own_settings(stage).prediction_shift
        if shift >= min(height, width):
            raise StudyError(
                f"stage '{stage.name}': prediction_shift = {shift} leaves nothing of images "
                f"of {height}x{width}: expected at most {min(height, width) - 1}"
            )
        family = study.family(stage)
        planned = study.planned_params(stage)
        if isinstance(stage, TuneStage) and study.knows_structure(stage):
            refuse_small_limit(study, stage, planned, data)
        space = stage.search_space().ranges if isinstance(stage, TuneStage) else {}
        varied = [
            {**planned, name: value}
            for name, r in space.items()
            if not (isinstance(r, Float) and r.step is None)
            for value in r.values()
        ]
        for params in [planned, *varied]:
            misfit = family.explain_misfit(params, data.image_shape)
            if misfit:
                raise StudyError(f"stage '{stage.name}': {misfit}")
            try:
                family.find_files(params)
            except StudyError as error:
                raise StudyError(f"stage '{stage.name}': {error}") from error
