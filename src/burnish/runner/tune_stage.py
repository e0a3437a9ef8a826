"""A tuning stage: a search of its space, then the refit of what won."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from burnish.runfolder.earlier_trials import EarlierTrials
from burnish.runfolder.journal import DiskJournal
from burnish.runfolder.tables import write_trials
from burnish.runner.stage_context import StageContext
from burnish.runner.stage_outline import count_search_epochs, count_trials
from burnish.runner.stage_result import TuneResult
from burnish.runner.worker_pool import WorkerPool
from burnish.stages.fit_requests import SeedStream, fingerprint_trials
from burnish.stages.search_plan import plan_search
from burnish.study.schema import TuneStage
from burnish.tuning.trial import Trial
from burnish.tuning.trials_db import TrialsDatabase, forget_stage, measure_importances
from burnish.tuning.tuner import TuningPlan, tune


def run_tune_stage(context: StageContext, stage: TuneStage, pool: WorkerPool) -> TuneResult:
    """Search the stage's space, then fit the winner with the refit's settings.

    Raises
    ------
    StudyError
        If no network of the stage's space may be tried.
    TrainingError
        If no trial can be fitted, or the winner cannot.
    """
    study, observer = context.study, context.observer
    plan = plan_search(
        study,
        stage,
        context.results,
        context.data,
        context.workers,
        observer.on_note,
        context.find_start(stage),
    )
    request = context.make_own_request(stage, SeedStream.OWN_FIT)
    context.compute_features(request, plan.space)
    trials_of = fingerprint_trials(study, stage, context.results, context.data)
    journal = _open_journal(context, stage, plan, trials_of)
    executor = pool.start(context.data)
    observer.search_started(count_trials(plan.brackets), count_search_epochs(plan.brackets))
    found = tune(plan, executor, journal, observer.trial_finished)
    journal.report_taken_over()
    trials = [trial.describe() for trial in found.trials]
    write_trials(context.stage_dir / "trials.csv", trials)
    if not context.data.train.is_held:
        # Images may fill the memory, and idle workers would keep theirs during the refit.
        executor.release()
    refit = _refit(context, stage, plan, found.best)
    return TuneResult(
        name=stage.name,
        base=stage.base,
        refit=refit,
        sampler=stage.sampler,
        schedule=stage.schedule.name,
        brackets=plan.brackets,
        promotion=plan.promotion,
        folds=stage.folds,
        max_mflops=stage.max_mflops,
        points_to_evaluate=stage.points_to_evaluate,
        workers=context.workers,
        trials_of=trials_of,
        taken_over=journal.describe_taken_over(),
        best_trial=found.best.number,
        best_params=found.best.params,
        trial_loss=found.best.loss,
        importances=measure_importances(plan.space, trials, study.seed),
        trials=trials,
    )


def _open_journal(
    context: StageContext, stage: TuneStage, plan: TuningPlan, trials_of: str
) -> DiskJournal:
    """Return the journal of the search: its finished trials, and those of an earlier search."""
    folder, on_note = context.folder, context.observer.on_note
    if not (context.stage_dir / "trials").exists():
        # A new search: the database's rows under this name belong to a folder moved away.
        forget_stage(folder.trials, stage.name)
    return DiskJournal(
        context.stage_dir,
        TrialsDatabase(folder.trials, stage.name, plan.space, on_note),
        plan.num_folds,
        EarlierTrials(folder.path, stage.name, trials_of, plan.brackets),
        lambda message: on_note(f"stage '{stage.name}' {message}"),
    )


def _refit(
    context: StageContext, stage: TuneStage, plan: TuningPlan, best: Trial
) -> Mapping[str, Any]:
    """Fit the winner's params with the refit's settings, on all training images."""
    request = context.make_own_request(stage, SeedStream.REFIT)
    request = replace(request, params={**plan.fixed, **best.params})
    context.observer.refit_started(best)
    return context.fit_own_model(stage, request)
