"""A training stage: one configuration, fitted."""

from __future__ import annotations

from burnish.runner.stage_context import StageContext
from burnish.runner.stage_result import TrainResult
from burnish.stages.fit_requests import SeedStream
from burnish.study.schema import TrainStage


def run_train_stage(context: StageContext, stage: TrainStage) -> TrainResult:
    """Fit the stage's configuration and keep its model.

    Raises
    ------
    TrainingError
        If the configuration cannot be fitted.
    """
    fit = context.fit_own_model(stage, context.make_own_request(stage, SeedStream.OWN_FIT))
    return TrainResult(name=stage.name, base=stage.base, fit=fit)
