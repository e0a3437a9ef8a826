"""The stage loop: a study, from its file to a tested model, in one run folder.

Everything that is done stands in the run folder, with a fingerprint of all that
it depends on; so the same command goes on where it stopped, and a stage whose
settings have changed is run again together with those that build on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import burnish
from burnish.backend import BACKEND, configure, describe_settings, processor_name
from burnish.bundle import BundleFacts, hash_file, read_contract, write_bundle
from burnish.bundle.contract import ONNX_MODEL
from burnish.bundle.export import certificate_file, export_model
from burnish.data import Dataset, LabelledImages, SealedTest, SplitSizes, prepare
from burnish.errors import (
    BundleError,
    DamageError,
    DataError,
    ExportError,
    RunFolderError,
)
from burnish.evaluation import TestReading, read_test_split
from burnish.files import explain_refusal, read_json, write_json
from burnish.interrupts import is_stopping
from burnish.models.saved import load_saved
from burnish.study.config import (
    FinalStage,
    FittingStage,
    Stage,
    Study,
    TrainStage,
    TuneStage,
)
from burnish.study.data_place import describe_place, refuse_image_folder, refuse_other_data
from burnish.study.disk import refuse_little_disk
from burnish.study.earlier_trials import EarlierTrials
from burnish.study.fingerprint import code_fingerprint
from burnish.study.gate import apply_gate
from burnish.study.hard_images import write_hard_images
from burnish.study.identical_images import write_identical_images
from burnish.study.journal import DiskJournal, drop_checkpoints
from burnish.study.manifest import write_manifest
from burnish.study.mend import set_damage_aside
from burnish.study.misfit import refuse_misfit
from burnish.study.observer import Observer
from burnish.study.pace import Pace
from burnish.study.placement import DETERMINISTIC, LocalPlacement, Placement, Workers
from burnish.study.predictions import FILE as PREDICTIONS
from burnish.study.predictions import Predictions, read_predictions, write_predictions
from burnish.study.requests import (
    ONLY,
    REFIT,
    derive_seeds,
    fingerprint_stage,
    fingerprint_trials,
    library_versions,
    make_request,
)
from burnish.study.search_plan import plan_search
from burnish.study.source import absence_explained, load_data
from burnish.study.stage_fit import fit_stage, stage_named
from burnish.study.store import RunFolder, now, read_arrays, write_arrays, write_trials
from burnish.study.tensorboard import write_events
from burnish.training import FitRequest, Progress, TrainingSettings
from burnish.training.fit import choose_precision
from burnish.tuning.schedule import Bracket
from burnish.tuning.trials_db import (
    TrialsDatabase,
    forget_stage,
    measure_importances,
    restore_stage,
)
from burnish.tuning.tuner import tune


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
) -> None:
    """Run a study, or go on with it, until every stage is done.

    Parameters
    ----------
    study, text
        The study and the TOML that it came from.
    folder
        Where everything goes.
    data_dir
        Folder with one folder per data source.
    observer
        Is told how it goes.
    command
        The command to give again; it is kept with the provenance.
    workers
        Processes that fit trials; one a core when ``None``. A trial is proposed from
        the results of those before it but the last ``workers``, so another number is
        another search.
    minutes
        Shrink numbers of trials, folds and epochs so that the run ends in about that time,
        unless a search finds a network dearer than any that was probed. The plan is kept
        as ``study.toml``, which runs again without the clock.
    memory_per_worker
        Bytes that a process that fits trials may take beyond the images. A trial that
        takes more is tried once more and then recorded as failed. It is no part of
        what results depend on.
    check_disk
        Refuse to begin where less disk is free than the study is forecast to need.
    placement
        Where trials are fitted; ``None``: in ``workers`` processes of this machine.

    Raises
    ------
    BurnishError
        If anything is wrong with the study, the data or the folder; before
        training, unless it cannot be known before.
    """
    try:
        with folder.lock():
            placement = placement or LocalPlacement(workers, memory_per_worker)
            run = _Run(study, text, folder, observer or Observer(), placement, minutes)
            run.check_disk = check_disk
            run.execute(data_dir, command)
    except OSError as error:
        refusal = explain_refusal(error, folder.path)
        if refusal is None:
            raise
        raise RunFolderError(refusal) from error


class _Run:
    """One run while it goes on."""

    def __init__(
        self,
        study: Study,
        text: str,
        folder: RunFolder,
        observer: Observer,
        placement: Placement,
        minutes: float | None,
    ) -> None:
        self.study = study
        self.text = text
        self.folder = folder
        self.observer = observer
        self.placement = placement
        self.workers = placement.workers
        self.minutes = minutes
        self.check_disk = True
        self.lacks_database = not folder.trials.exists()
        self.given = study
        self.pace: Pace | None = None
        self.executor: Workers | None = None
        self.results: dict[str, dict[str, Any]] = {}
        self.started = time.monotonic()
        self.seconds_before = 0.0

    def execute(self, data_dir: Path | None, command: str) -> None:
        refuse_image_folder(self.folder, self.study.data)
        # Nothing is written before the data is there: a fallback may take the same folder.
        with absence_explained(self.study.data):
            raw = load_data(self.study.data, data_dir, self.observer.images_decoded)
        self._refuse_other_study()
        sizes, seed = self.study.data.split.sizes(), self.study.seed
        known = partial(_take_fingerprint, raw, sizes, seed)
        refuse_other_data(self.folder, self.study.data, known)
        del known
        self._record_state("running")
        try:
            try:
                data, sealed = prepare(raw, sizes, seed)
            except DataError as error:
                raise DataError(f"[data] {error}") from error
            identical = raw.identical
            del raw
            self.observer.data_loaded(data, sealed.num_images)
            for warning in data.facts.warnings:
                self.observer.noted(warning)
            refuse_misfit(self.study, data)
            if self.minutes is not None:
                self.pace = Pace(
                    self.study,
                    self.text,
                    self.minutes,
                    self.folder,
                    self.placement,
                    data,
                    self.observer.noted,
                )
                self.study, self.text = self.pace.begin(self.seconds_before)
            configure(deterministic=DETERMINISTIC)
            if self.check_disk:
                # As it was given, as a plan may grow again; as planned, as a grid may be halved.
                num_test, where = sealed.num_images, self.folder.path
                for study in [self.given, *([] if self.pace is None else [self.study])]:
                    refuse_little_disk(study, data, num_test, self.workers, where)
            self.folder.write_study(self.text)
            if self.pace is not None:
                self.pace.record()
            provenance = self._describe_provenance(data, sealed, command)
            write_json(self.folder.path / "provenance.json", provenance)
            write_identical_images(self.folder, identical, data.class_names)
            del identical
            self._set_leftovers_aside()
            for number in range(1, len(self.study.stages) + 1):
                self._revise_plan(number)
                self._run_stage(number, self.study.stages[number - 1], data, sealed, provenance)
        except BaseException as error:
            # Where the disk is full the state cannot be written either: the error is the first.
            with suppress(RunFolderError):
                if isinstance(error, KeyboardInterrupt) or is_stopping():
                    self._record_state("interrupted")
                else:
                    self._record_state("failed", error=str(error))
            raise
        finally:
            self._stop_workers()
        self._record_state("done")

    def _refuse_other_study(self) -> None:
        path = self.folder.path / "state.json"
        # Without a study.toml nothing has begun here: the study did not suit the data.
        if not path.exists() or not self.folder.study_file.exists():
            return
        self.folder.readings()  # What was read of the test split must be there before all else.
        try:
            state = read_json(path)
        except DamageError as error:
            self.observer.noted(f"{error}: it is written anew, without the time taken so far")
            return
        self.seconds_before = float(state.get("seconds", 0.0))
        if state["study"] != self.study.name:
            raise RunFolderError(
                f"{self.folder.path} holds a run of the study '{state['study']}', "
                f"not of '{self.study.name}': choose another folder with --out"
            )

    def _revise_plan(self, number: int) -> None:
        """Plan what is left anew, where minutes are given and the next stage has not begun."""
        if self.pace is None or isinstance(self.study.stages[number - 1], FinalStage):
            return
        if self.pace.is_planned(number, self.study, self.results):
            return  # It stays, or goes on, as it was planned when it began.
        self.study, self.text = self.pace.plan(
            number, self.study, self.text, self.results, self._seconds, self._stop_workers
        )
        self.folder.write_study(self.text)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _run_stage(
        self,
        number: int,
        stage: Stage,
        data: Dataset,
        sealed: SealedTest,
        provenance: dict[str, Any],
    ) -> None:
        place = self.folder.stage(number, stage.name)
        print_ = self._fingerprint_stage(stage, data)
        for note in set_damage_aside(self.folder, place):
            self.observer.noted(f"stage '{stage.name}': {note}")
        self._supersede_changed(number, place, print_)
        reused = (place / "result.json").exists()
        if reused and isinstance(stage, FinalStage) and not self._has_bundle(print_):
            self.observer.noted(
                f"{self.folder.model} is missing, damaged or of another format: it is written anew"
            )
            reused = False
        begun = time.monotonic()
        if reused and isinstance(stage, TuneStage) and self.lacks_database:
            trials = read_json(place / "result.json")["trials"]
            space, told = stage.search_space(), self.observer.noted
            restore_stage(self.folder.trials, stage.name, space, trials, told)
        if not reused:
            self._record_state("running", stage=stage.name)
            begun_at = {"fingerprint": print_, "time": now(), "epochs": self._count_stage(stage)}
            if isinstance(stage, TuneStage):
                begun_at["trials_of"] = fingerprint_trials(self.study, stage, self.results, data)
            write_json(place / "begun.json", begun_at)
            self.observer.stage_started(
                number, len(self.study.stages), stage.name, self._describe_stage(stage)
            )
            with stage_named(stage.name):
                if isinstance(stage, FinalStage):
                    result = self._run_final(stage, place, data, sealed, provenance)
                elif isinstance(stage, TuneStage):
                    result = self._run_tune(stage, place, data)
                else:
                    result = self._run_train(stage, place, data)
            result = self._apply_gate(stage, result, place)
            try:
                write_events(self.folder, place)
            except RunFolderError as error:
                self.observer.noted(f"TensorBoard will not show stage '{stage.name}': {error}")
            write_manifest(place, fingerprint=print_)
            write_json(place / "result.json", {**result, "fingerprint": print_})
            if self.pace is not None:
                self.pace.stage_seconds[stage.name] = time.monotonic() - begun
        # Only now: killed before, a stage still goes on from what stands here.
        drop_checkpoints(place)
        (place / "begun.json").unlink(missing_ok=True)
        self.results[stage.name] = read_json(place / "result.json")
        if self.results[stage.name].get("taken_over"):
            provenance["taken_over"][stage.name] = self.results[stage.name]["taken_over"]
            write_json(self.folder.path / "provenance.json", provenance)
        self.observer.stage_finished(self.results[stage.name], reused=reused)

    def _fingerprint_stage(self, stage: Stage, data: Dataset) -> str:
        return fingerprint_stage(self.study, stage, self.results, data, self.workers)

    def _supersede_changed(self, number: int, place: Path, print_: str) -> None:
        """Move away what stands in this stage's place and is of other settings."""
        for old in sorted(place.parent.glob(f"{number:02d}-*")):
            known = [old / name for name in ("result.json", "begun.json")]
            if old != place or any(
                read_json(path).get("fingerprint") != print_ for path in known if path.exists()
            ):
                self._set_aside(old)
                self._set_dependents_aside(number)

    def _set_dependents_aside(self, number: int) -> None:
        """Move away the stages that build on one whose result is void, and the final one.

        They would be found out when their turn comes; until then they would pass for done.
        """
        void = {self.study.stages[number - 1].name}
        for later, stage in enumerate(self.study.stages[number:], start=number + 1):
            if isinstance(stage, FinalStage) or stage.base in void:
                void.add(stage.name)
                place = self.folder.stage(later, stage.name)
                if (place / "result.json").exists():
                    self._set_aside(place)

    def _set_leftovers_aside(self) -> None:
        """Move away stages that lie beyond the last, from when the study had more."""
        for old in sorted((self.folder.path / "stages").glob("[0-9][0-9]-*")):
            if int(old.name[:2]) > len(self.study.stages):
                self._set_aside(old)

    def _set_aside(self, old: Path) -> None:
        # A stage that stands elsewhere in the study now has its trials under the same name.
        places = {
            self.folder.stage(number, stage.name)
            for number, stage in enumerate(self.study.stages, start=1)
            if isinstance(stage, TuneStage) and stage.name == old.name[3:]
        }
        if places <= {old}:
            forget_stage(self.folder.trials, old.name[3:])
        kept = self.folder.supersede(old)
        self.observer.noted(
            f"stage '{old.name[3:]}' has changed since it was run: "
            f"what it gave is kept in {kept.relative_to(self.folder.path)}"
        )

    def _make_request(
        self, stage: FittingStage, settings: TrainingSettings, trial: int, checkpoint: Path | None
    ) -> FitRequest:
        return make_request(self.study, stage, self.results, settings, trial, checkpoint)

    def _run_train(self, stage: TrainStage, place: Path, data: Dataset) -> dict[str, Any]:
        checkpoint = place / "checkpoint.npz"
        request = self._make_request(stage, self.study.own_settings(stage), ONLY, checkpoint)
        return {
            "name": stage.name,
            "kind": "train",
            "base": stage.base,
            **self._fit_stage(stage, request, place, data),
        }

    def _fit_stage(
        self, stage: FittingStage, request: FitRequest, place: Path, data: Dataset
    ) -> dict[str, Any]:
        """Fit a stage's own model with as many seeds as it asks for."""
        seeds = derive_seeds(self.study, stage, request.seed)
        return fit_stage(request, seeds, place, data, self._watch_fit)

    def _apply_gate(self, stage: Stage, result: dict[str, Any], place: Path) -> dict[str, Any]:
        """Let the base stay where a stage must beat it and does not."""
        if isinstance(stage, FinalStage) or stage.base is None or stage.gate != "must_beat_base":
            return result
        number = [s.name for s in self.study.stages].index(stage.base) + 1
        base_place = self.folder.stage(number, stage.base)
        gated = apply_gate(result, place, self.results[stage.base], base_place)
        if not gated["gate"]["passed"]:
            self.observer.noted(
                f"stage '{stage.name}' does not beat its base '{stage.base}' by more than "
                "chance: the base's params and model stay"
            )
        return gated

    def _run_tune(self, stage: TuneStage, place: Path, data: Dataset) -> dict[str, Any]:
        """Search the stage's space, then fit what won by the refit's settings."""
        plan = plan_search(self.study, stage, self.results, data, self.workers, self.observer.noted)
        space, brackets = plan.space, plan.brackets
        if not (place / "trials").exists():
            # It begins: what the database has under its name is of a folder moved away.
            forget_stage(self.folder.trials, stage.name)
        database = TrialsDatabase(self.folder.trials, stage.name, space, self.observer.noted)
        trials_of = fingerprint_trials(self.study, stage, self.results, data)
        journal = DiskJournal(
            place,
            database,
            plan.num_folds,
            EarlierTrials(self.folder.path, stage.name, trials_of, brackets),
            lambda message: self.observer.noted(f"stage '{stage.name}' {message}"),
        )
        executor = self._start_workers(data)
        num_trials = sum(bracket.rungs[0].num_trials for bracket in brackets)
        self.observer.search_started(num_trials, sum(_count_epochs(b) for b in brackets))
        found = tune(plan, executor, journal, self.observer.trial_finished)
        journal.tell_taken_over()
        trials = [trial.describe() for trial in found.trials]
        write_trials(place / "trials.csv", trials)
        request = replace(
            self._make_request(
                stage, self.study.own_settings(stage), REFIT, place / "checkpoint.npz"
            ),
            params={**plan.fixed, **found.best.params},
        )
        if not data.train.is_held and self.executor is not None:
            # Images that fill the memory: idle workers would keep theirs through the refit.
            self.executor.release()
        self.observer.refit_started(found.best)
        refit = self._fit_stage(stage, request, place, data)
        search_seconds = sum(trial["seconds"] for trial in trials) / self.workers
        return {
            "name": stage.name,
            "kind": "tune",
            "base": stage.base,
            **refit,
            "seconds": search_seconds + refit["seconds"],
            "sampler": stage.sampler,
            "schedule": stage.schedule.name,
            "brackets": [asdict(bracket) for bracket in brackets],
            "promotion": plan.promotion,
            "folds": stage.folds,
            "max_mflops": stage.max_mflops,
            "points_to_evaluate": stage.points_to_evaluate or None,
            "workers": self.workers,
            "num_trials": len(trials),
            "taken_over": journal.describe_taken_over(),
            "trials_of": trials_of,
            "best_trial": found.best.number,
            "best_params": found.best.params,
            "trial_loss": found.best.loss,
            "search_seconds": search_seconds,
            "importances": measure_importances(space, trials, self.study.seed),
            "trials": trials,
        }

    def _start_workers(self, data: Dataset) -> Workers:
        if self.executor is None:
            self.executor = self.placement.start(data, self.folder.path / ".scratch")
        return self.executor

    def _stop_workers(self) -> None:
        if self.executor is not None:
            self.executor.close()
            self.executor = None
        self.folder.placed.unlink(missing_ok=True)
        shutil.rmtree(self.folder.path / ".scratch", ignore_errors=True)

    def _watch_fit(self) -> Any:
        last_epoch = 0

        def watch(progress: Progress) -> None:
            nonlocal last_epoch
            self.observer.fit_progressed(progress)
            epoch = progress.step // progress.steps_per_epoch
            if epoch != last_epoch:
                last_epoch = epoch
                self._record_state("running", stage=self.stage_now)

        return watch

    def _run_final(
        self,
        stage: FinalStage,
        place: Path,
        data: Dataset,
        sealed: SealedTest,
        provenance: Mapping[str, Any],
    ) -> dict[str, Any]:
        chosen = min(self.results.values(), key=lambda result: float(result["val_loss"]))
        number = [s.name for s in self.study.stages].index(chosen["name"]) + 1
        model_file = self.folder.stage(number, chosen["name"]) / "model.keras"
        candidates = [
            {key: result[key] for key in ("name", "val_loss", "val_accuracy")}
            for result in self.results.values()
        ]
        # From here on the choice is frozen; only then is the test split opened.
        selection = {"chosen": chosen["name"], "candidates": candidates}
        write_json(place / "selection.json", selection)
        reading = self._read_test_once(place, model_file, sealed)
        test = reading.summary()
        write_hard_images(self.folder, place, chosen["name"], data.val)
        exports = self._export_network(model_file, data)
        write_bundle(
            self.folder.model,
            model_file,
            BundleFacts(
                study=self.study.name,
                study_fingerprint=self._fingerprint_stage(stage, data),
                stage=chosen["name"],
                family=chosen["model"],
                params=chosen["params"],
                spec=data.input,
                class_names=data.class_names,
                source=data.source,
                data_fingerprint=data.fingerprint,
                validation={
                    "accuracy": chosen["val_accuracy"],
                    "loss": chosen["val_loss"],
                    "num_images": len(data.val),
                },
                test=test,
                num_parameters=chosen["num_parameters"],
                provenance=provenance,
            ),
            exports,
        )
        kept = ("model", "params", "val_loss", "val_accuracy", "epochs", "num_parameters")
        return {
            "name": stage.name,
            "kind": "final",
            **selection,
            **{key: chosen[key] for key in kept},
            "class_weight": chosen["settings"]["class_weight"],
            "seconds": 0.0,
            "test": test,
        }

    def _has_bundle(self, print_: str) -> bool:
        """Whether the bundle stands, whole, that a final stage of this fingerprint wrote."""
        try:
            contract = read_contract(self.folder.model)
        except BundleError:
            return False
        return bool(contract["study_fingerprint"] == print_)

    def _export_network(self, model_file: Path, data: Dataset) -> list[Path]:
        """Write the chosen model as ONNX, certified on the validation split.

        A family from outside may have what ONNX has not. Its study is not lost for that.
        """
        scratch = self.folder.path / ".scratch" / "export"
        if scratch.exists():
            shutil.rmtree(scratch)
        network = scratch / ONNX_MODEL
        try:
            export_model(model_file, network, "onnx", data)
        except ExportError as error:
            self.observer.noted(
                f"{self.folder.model} has no {ONNX_MODEL}, so that it can neither be served nor "
                f"used by 'burnish predict' or burnish.load, only by Keras: {error}"
            )
            return []
        return [network, certificate_file(network)]

    def _read_test_once(self, place: Path, model_file: Path, sealed: SealedTest) -> TestReading:
        """Read the test split, unless this model's reading stands there already."""
        digest = hash_file(model_file)
        predictions = place / PREDICTIONS
        found = _load_reading(place, digest) if predictions.exists() else None
        if found is None:
            reading, read_at = read_test_split(load_saved(model_file), sealed), now()
            mistakes = reading.mistakes
            write_arrays(place / "mistakes.npz", index=mistakes.index, images=mistakes.images)
            facts = {"model_sha256": digest, "read_at": read_at}
            kept = Predictions(reading.labels, reading.probabilities, facts, reading.names)
            write_predictions(predictions, kept)
        else:
            reading, read_at = found
        summary = reading.summary()
        entry = {
            "time": read_at,
            "model_sha256": digest,
            "reason": f"final stage of the study '{self.study.name}'",
            "num_images": summary["num_images"],
            "accuracy": summary["accuracy"],
            "loss": summary["loss"],
        }
        # A reading that was found is in the ledger, unless the run was killed in between.
        if found is None or entry not in self.folder.readings():
            self.folder.append_reading(entry)
        return reading

    stage_now: str | None = None

    def _record_state(self, state: str, stage: str | None = None, error: str | None = None) -> None:
        self.stage_now = stage if state == "running" else self.stage_now
        write_json(
            self.folder.path / "state.json",
            {
                "study": self.study.name,
                "state": state,
                "stage": None if state == "done" else self.stage_now,
                "error": error,
                "seconds": self._seconds(),
                "time": now(),
                "readings": len(self.folder.readings()),
            },
        )

    def _count_stage(self, stage: Stage) -> float:
        """Epochs of a stage at most, in all folds and seeds, for those who watch it."""
        if isinstance(stage, FinalStage):
            return 0.0
        own = self.study.own_settings(stage).max_epochs * stage.seeds
        if not isinstance(stage, TuneStage):
            return own
        return own + (stage.folds or 1) * sum(_count_epochs(b) for b in self.study.brackets(stage))

    def _describe_stage(self, stage: Stage) -> str:
        if isinstance(stage, FinalStage):
            return "lowest validation loss of all stages, then the test split, once"
        family = self.study.family(stage)
        settings = self.study.settings(stage)
        base = f", from '{stage.base}'" if stage.base else ""
        if isinstance(stage, TuneStage):
            num_trials = sum(b.rungs[0].num_trials for b in self.study.brackets(stage))
            return (
                f"{family.name}{base}, {num_trials} trials, {stage.sampler} x "
                f"{stage.schedule.name}" + (f", {stage.folds} folds" if stage.folds else "")
            )
        return (
            f"{family.name}{base}, up to {settings.max_epochs:g} epochs, "
            f"{choose_precision(settings.precision, family)}"
        )

    def _describe_provenance(
        self, data: Dataset, sealed: SealedTest, command: str
    ) -> dict[str, Any]:
        precisions = {
            choose_precision(self.study.settings(stage).precision, self.study.family(stage))
            for stage in self.study.stages
            if not isinstance(stage, FinalStage)
        }
        return {
            "burnish": burnish.__version__,
            "code": code_fingerprint(),
            "python": platform.python_version(),
            **library_versions(),
            "backend": BACKEND,
            "settings": describe_settings(),
            "numpy": np.__version__,
            "platform": platform.platform(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "precision": ", ".join(sorted(precisions)),
            "deterministic": DETERMINISTIC,
            "study_seed": self.study.seed,
            "command": command or " ".join(["burnish", *sys.argv[1:]]),
            **self.placement.describe(),
            "taken_over": {},  # By stage, what came from trials of an earlier search.
            "data": {
                "source": data.source,
                **describe_place(self.study.data, self.folder),
                "fingerprint": data.fingerprint,
                "class_names": list(data.class_names),
                "num_train": len(data.train),
                "num_val": len(data.val),
                "num_test": sealed.num_images,
                "image_shape": list(data.image_shape),
                "facts": data.facts.describe(),
            },
        }


def _take_fingerprint(raw: LabelledImages, sizes: SplitSizes | None, seed: int) -> str:
    return prepare(raw, sizes, seed)[0].fingerprint


def _count_epochs(bracket: Bracket) -> float:
    return sum(rung.num_trials * rung.epochs for rung in bracket.rungs)


def _load_reading(place: Path, digest: str) -> tuple[TestReading, str] | None:
    """Give the reading in a final stage's folder and its time, if it is whole and of this model."""
    from burnish.evaluation import Mistakes

    kept = read_predictions(place / PREDICTIONS)
    # The mistakes are written first: where they are gone, they were damaged and set aside.
    if kept.facts.get("model_sha256") != digest or not (place / "mistakes.npz").exists():
        return None
    mistakes = read_arrays(place / "mistakes.npz")
    shown = Mistakes(mistakes["index"], mistakes["images"])
    reading = TestReading(kept.labels, kept.probabilities, shown, kept.names)
    return reading, kept.facts["read_at"]
