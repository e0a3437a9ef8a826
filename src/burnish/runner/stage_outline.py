"""What a stage is about to do, for those who watch it: a line of text, and its epochs."""

from __future__ import annotations

from burnish.study.schema import FinalStage, Stage, TuneStage
from burnish.study.study import Study
from burnish.training.fit import choose_precision
from burnish.tuning.schedules import Bracket


def describe_stage(study: Study, stage: Stage) -> str:
    """Return a line that says what a stage does."""
    if isinstance(stage, FinalStage):
        return "lowest validation loss of all stages, then the test split, once"
    family = study.family(stage)
    settings = study.settings(stage)
    base = f", from '{stage.base}'" if stage.base else ""
    if isinstance(stage, TuneStage):
        num_trials = count_trials(study.brackets(stage))
        return (
            f"{family.name}{base}, {num_trials} trials, {stage.sampler} x "
            f"{stage.schedule.name}" + (f", {stage.folds} folds" if stage.folds else "")
        )
    return (
        f"{family.name}{base}, up to {settings.max_epochs:g} epochs, "
        f"{choose_precision(settings.precision, family)}"
    )


def count_epochs(study: Study, stage: Stage) -> float:
    """Return the most epochs that a stage can take, in all folds and seeds."""
    if isinstance(stage, FinalStage):
        return 0.0
    own = study.own_settings(stage).max_epochs * stage.seeds
    if not isinstance(stage, TuneStage):
        return own
    return own + (stage.folds or 1) * count_search_epochs(study.brackets(stage))


def count_trials(brackets: tuple[Bracket, ...]) -> int:
    """Return the most trials that a search can begin."""
    return sum(bracket.rungs[0].num_trials for bracket in brackets)


def count_search_epochs(brackets: tuple[Bracket, ...]) -> float:
    """Return the most epochs that a search can take, in one fold."""
    # One sum per bracket: floating-point numbers are added in this order.
    return sum(sum(rung.num_trials * rung.epochs for rung in bracket.rungs) for bracket in brackets)
