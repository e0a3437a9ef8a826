"""The stage loop: a study, from its file to a tested model, in one run folder.

The run folder keeps every result, with a fingerprint of everything that it depends on. So the
same command resumes where it stopped, and a stage whose settings have changed runs again, together
with the stages that build on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from burnish.backend import configure
from burnish.data import Dataset, LabelledImages, SealedTest, SplitSizes, prepare
from burnish.errors import DataError, RunFolderError
from burnish.files import explain_refusal, read_json, write_json
from burnish.planning.disk import refuse_little_disk
from burnish.planning.shares import SharedMinutes, has_shares
from burnish.planning.time_budget import TimeBudget
from burnish.runfolder.clock import now
from burnish.runfolder.identical_images import write_identical_images
from burnish.runfolder.journal import drop_checkpoints
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tensorboard import write_events
from burnish.runner.data_place import refuse_image_folder, refuse_other_data
from burnish.runner.final_stage import run_final_stage, select
from burnish.runner.kept_model import forecast_final, keep_model
from burnish.runner.options import RunOptions
from burnish.runner.paced_study import write_paced_study
from burnish.runner.provenance import describe_provenance, write_provenance
from burnish.runner.reuse import is_done, restore_trials, set_leftovers_aside
from burnish.runner.stage_context import StageContext
from burnish.runner.stage_gate import pass_gate
from burnish.runner.stage_outline import count_epochs, describe_stage
from burnish.runner.stage_result import StageResult
from burnish.runner.state import RunState
from burnish.runner.train_stage import run_train_stage
from burnish.runner.tune_stage import run_tune_stage
from burnish.runner.worker_pool import WorkerPool
from burnish.stages.fit_requests import fingerprint_stage, fingerprint_trials
from burnish.stages.misfit import refuse_misfit
from burnish.stages.observer import Observer
from burnish.stages.placement import DETERMINISTIC, Placement
from burnish.stages.stage_fit import stage_named
from burnish.study.schema import FinalStage, Stage, TuneStage
from burnish.study.source import absence_explained, load_data
from burnish.study.study import Study


def run_study(
    study: Study,
    text: str,
    folder: RunFolder,
    data_dir: Path | None = None,
    observer: Observer | None = None,
    command: str = "",
    workers: int | None = None,
    minutes: float | None = None,
    memory_per_worker: int | None = None,
    check_disk: bool = True,
    placement: Placement | None = None,
    began: float | None = None,
) -> None:
    """Run a study, or resume it, until every stage is done.

    Parameters
    ----------
    study, text
        The study and its TOML text.
    folder
        The run folder.
    data_dir
        Folder with one folder per data source.
    observer
        Receives the events of the run.
    command
        The command to give again; the provenance records it.
    workers
        Processes that fit trials; ``None`` means one per core. A proposal uses the results of
        all trials before it except the last ``workers``, so another number gives another
        search.
    minutes
        Shrink numbers of trials, folds and epochs so that the run ends in about this time,
        unless a search finds a network slower than every probed one. The plan is kept as
        ``study.toml``, which runs again without a time limit.
    memory_per_worker
        Bytes that a process that fits trials may use beyond the images. A trial that uses more
        is tried once more and then recorded as failed. Results do not depend on this
        number.
    check_disk
        Refuse to begin if less disk space is free than the study is forecast to need.
    placement
        Where trials are fitted; ``None`` means in ``workers`` processes on this machine.
    began
        When the clock of the run began, by `time.monotonic`; ``None`` means now.

    Raises
    ------
    BurnishError
        If anything is wrong with the study, the data or the folder. It is raised before
        training whenever the fault can be known then.
    """
    options = RunOptions(
        data_dir=data_dir,
        observer=observer or Observer(),
        command=command,
        workers=workers,
        minutes=minutes,
        memory_per_worker=memory_per_worker,
        check_disk=check_disk,
        placement=placement,
        began=began,
    )
    try:
        with folder.lock():
            _run(study, text, folder, options)
    except OSError as error:
        refusal = explain_refusal(error, folder.path)
        if refusal is None:
            raise
        raise RunFolderError(refusal) from error


def _run(study: Study, text: str, folder: RunFolder, options: RunOptions) -> None:
    """Load the data, refuse a study that cannot succeed, and run the stages in a locked folder."""
    state, placement = RunState(folder, study.name, options.began), options.choose_placement()
    observer = options.observer
    # Nothing is written before the data is found: a fallback may use the same folder.
    refuse_image_folder(folder, study.data)
    with absence_explained(study.data):
        raw = load_data(study.data, options.data_dir, observer.images_decoded)
    state.resume(observer.on_note)
    sizes, seed = study.data.split.sizes(), study.seed
    refuse_other_data(folder, study.data, partial(_take_fingerprint, raw, sizes, seed))
    state.record("running")
    with WorkerPool(placement, folder) as pool, state.failure_recorded():
        try:
            data, sealed = prepare(raw, sizes, seed)
        except DataError as error:
            raise DataError(f"[data] {error}") from error
        identical = raw.identical
        del raw  # The images as they were loaded would fill the memory once more.
        observer.data_loaded(data, sealed.num_images)
        for warning in data.facts.warnings:
            observer.on_note(warning)
        refuse_misfit(study, data)
        loop = _StageLoop(study, text, data, sealed, folder, options, placement, pool, state)
        loop.begin()
        write_identical_images(folder, identical, data.class_names)
        del identical
        loop.run()
    state.record("done")


def _take_fingerprint(raw: LabelledImages, sizes: SplitSizes | None, seed: int) -> str:
    return prepare(raw, sizes, seed)[0].fingerprint


@dataclass
class _StageLoop:
    """The stages of a run, one after the other.

    If minutes are given, ``study`` and ``text`` are the plan so far. ``results`` and
    ``provenance`` grow with every stage. Nothing else changes.
    """

    study: Study
    text: str
    data: Dataset
    sealed: SealedTest
    folder: RunFolder
    options: RunOptions
    placement: Placement
    pool: WorkerPool
    state: RunState
    budget: TimeBudget | SharedMinutes | None = None
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    observer: Observer = field(init=False)
    lacks_database: bool = field(init=False)

    def __post_init__(self) -> None:
        self.observer = self.options.observer
        self.lacks_database = not self.folder.trials.exists()

    def begin(self) -> None:
        """Take the plan, check the disk space, and record what will run."""
        given = self.study
        if self.options.minutes is not None:
            self.budget = self._make_budget(self.options.minutes)
            self.study, self.text = self.budget.begin(self.state.seconds_before)
        configure(deterministic=DETERMINISTIC)
        num_test, workers = self.sealed.num_images, self.placement.workers
        if self.options.check_disk:
            # The original study, as a plan may grow again; the plan, as a grid may be halved.
            for study in [given, *([] if self.budget is None else [self.study])]:
                refuse_little_disk(study, self.data, num_test, workers, self.folder.path)
        self.folder.write_study(self.text)
        if self.budget is not None:
            self.budget.record()
        self.provenance = describe_provenance(
            self.study, self.data, num_test, self.folder, self.placement, self.options.command
        )
        write_provenance(self.folder, self.provenance)

    def _make_budget(self, minutes: float) -> TimeBudget | SharedMinutes:
        study, text, folder, data = self.study, self.text, self.folder, self.data
        on_note = self.observer.on_note
        if has_shares(study):
            workers = self.placement.workers
            return SharedMinutes(study, text, minutes, folder, workers, data, on_note)
        return TimeBudget(study, text, minutes, folder, self.placement, data, on_note)

    def run(self) -> None:
        """Run every stage that has no valid result."""
        set_leftovers_aside(self.study, self.folder, self.observer.on_note)
        number = 0
        while number < len(self.study.stages):
            number += 1
            self._revise_plan(number)
            stage = self.study.stages[number - 1]
            context = self._make_context(number, stage)
            reused = is_done(context, stage)
            if not reused:
                self._do(context, stage)
            elif isinstance(stage, TuneStage) and self.lacks_database:
                restore_trials(context, stage)
            self._finish(context, stage, reused=reused)

    def _revise_plan(self, number: int) -> None:
        """Plan the remaining stages again, if minutes are given and the next one has not begun."""
        if self.budget is None or isinstance(self.study.stages[number - 1], FinalStage):
            return
        if self.budget.is_planned(number, self.study, self.results):
            return  # It stays, or goes on, as it was planned when it began.
        if isinstance(self.budget, SharedMinutes):
            self.study, self.text = self.budget.plan(
                number, self.text, self.results, self.state.seconds
            )
        else:
            self.study, self.text = self.budget.plan(
                number, self.study, self.text, self.results, self.state.seconds, self.pool.close
            )
        self.folder.write_study(self.text)

    def _make_context(self, number: int, stage: Stage) -> StageContext:
        workers = self.placement.workers
        return StageContext(
            study=self.study,
            number=number,
            results=self.results,
            data=self.data,
            folder=self.folder,
            fingerprint=fingerprint_stage(self.study, stage, self.results, self.data, workers),
            workers=workers,
            observer=self.observer,
            watch=self.state.watch_with(self.observer),
        )

    def _do(self, context: StageContext, stage: Stage) -> None:
        """Run a stage and keep its files; its result is written last."""
        begun = time.monotonic()
        self._announce(context, stage)
        with stage_named(stage.name):
            result = self._run_kind(context, stage)
        content = pass_gate(context, stage, result)
        stage_dir = context.stage_dir
        try:
            write_events(self.folder, stage_dir)
        except RunFolderError as error:
            self.observer.on_note(f"TensorBoard will not show stage '{stage.name}': {error}")
        write_manifest(stage_dir, fingerprint=context.fingerprint)
        write_json(stage_dir / "result.json", {**content, "fingerprint": context.fingerprint})
        if isinstance(self.budget, TimeBudget):
            self.budget.stage_seconds[stage.name] = time.monotonic() - begun

    def _announce(self, context: StageContext, stage: Stage) -> None:
        """Record that a stage begins, and its settings."""
        study = context.study
        self.state.record("running", stage=stage.name)
        begun = {
            "fingerprint": context.fingerprint,
            "time": now(),
            "epochs": count_epochs(study, stage),
        }
        if isinstance(stage, TuneStage):
            begun["trials_of"] = fingerprint_trials(study, stage, context.results, context.data)
        write_json(context.stage_dir / "begun.json", begun)
        detail = describe_stage(study, stage)
        self.observer.stage_started(context.number, len(study.stages), stage.name, detail)

    def _run_kind(self, context: StageContext, stage: Stage) -> StageResult:
        if isinstance(stage, FinalStage):
            return run_final_stage(context, stage, self.sealed, self.provenance)
        if isinstance(stage, TuneStage):
            return run_tune_stage(context, stage, self.pool)
        return run_train_stage(context, stage)

    def _finish(self, context: StageContext, stage: Stage, *, reused: bool) -> None:
        """Delete a stage's checkpoints, and hand its result to later stages."""
        # Not earlier: a stage that is killed before resumes from these files.
        drop_checkpoints(context.stage_dir)
        (context.stage_dir / "begun.json").unlink(missing_ok=True)
        result = read_json(context.stage_dir / "result.json")
        self.results[stage.name] = result
        if result.get("taken_over"):
            self.provenance["taken_over"][stage.name] = result["taken_over"]
            write_provenance(self.folder, self.provenance)
        self.observer.stage_finished(result, reused=reused)
        if isinstance(stage, FinalStage):
            write_paced_study(self.folder, self.text, self.results)
        elif isinstance(self.budget, SharedMinutes) and select(self.results).chosen == stage.name:
            began = time.monotonic()
            if not reused:  # From now on there is a model to use; the test split stays sealed.
                keep_model(context, result, None, self.provenance)
            written = time.monotonic() - began
            model_file = context.stage_dir / "model.keras"
            sizes = self.sealed.num_images, len(self.data.val)
            self.budget.foresee_end(0.0 if reused else written, forecast_final(model_file, *sizes))
