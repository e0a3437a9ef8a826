"""What of an earlier run stands: a stage whose result is of the settings that it has now.

Files that are damaged, have other settings or belong to a removed stage go to ``superseded/``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from burnish.bundle import read_contract
from burnish.errors import BundleError
from burnish.files import read_json
from burnish.runfolder.repair import set_damage_aside
from burnish.runfolder.store import RunFolder
from burnish.runner.stage_context import StageContext
from burnish.study.schema import FinalStage, Stage, TuneStage
from burnish.study.study import Study
from burnish.tuning.trials_db import forget_stage, restore_stage


def is_done(context: StageContext, stage: Stage) -> bool:
    """Whether a stage has a complete result with its fingerprint.

    Files in its folder that cannot stay are moved away first, and so are stages that build on them.
    """
    folder, on_note = context.folder, context.observer.on_note
    for note in set_damage_aside(folder, context.stage_dir):
        on_note(f"stage '{stage.name}': {note}")
    _supersede_changed(context)
    if not (context.stage_dir / "result.json").exists():
        return False
    if isinstance(stage, FinalStage) and not _has_bundle(folder, context.fingerprint):
        on_note(f"{folder.model} is missing, damaged or of another format: it is written anew")
        return False
    return True


def restore_trials(context: StageContext, stage: TuneStage) -> None:
    """Write the trials of a finished search again, into a new database."""
    trials = read_json(context.stage_dir / "result.json")["trials"]
    space, on_note = stage.search_space(), context.observer.on_note
    restore_stage(context.folder.trials, stage.name, space, trials, on_note)


def set_leftovers_aside(study: Study, folder: RunFolder, on_note: Callable[[str], None]) -> None:
    """Move away stages beyond the last, from when the study had more."""
    for old in sorted((folder.path / "stages").glob("[0-9][0-9]-*")):
        if int(old.name[:2]) > len(study.stages):
            _set_aside(old, study, folder, on_note)


def _supersede_changed(context: StageContext) -> None:
    """Move away folders of this stage's number that have another name or other settings."""
    stage_dir = context.stage_dir
    for old in sorted(stage_dir.parent.glob(f"{context.number:02d}-*")):
        known = [old / name for name in ("result.json", "begun.json")]
        if old != stage_dir or any(
            read_json(path).get("fingerprint") != context.fingerprint
            for path in known
            if path.exists()
        ):
            _set_aside(old, context.study, context.folder, context.observer.on_note)
            _set_dependents_aside(context)


def _set_dependents_aside(context: StageContext) -> None:
    """Move away stages that build on one with a void result, and the final stage.

    Their own turn would reveal them, but until then they would count as done.
    """
    study, folder, number = context.study, context.folder, context.number
    void = {study.stages[number - 1].name}
    for later, stage in enumerate(study.stages[number:], start=number + 1):
        if isinstance(stage, FinalStage) or stage.base in void:
            void.add(stage.name)
            stage_dir = folder.stage(later, stage.name)
            if (stage_dir / "result.json").exists():
                _set_aside(stage_dir, study, folder, context.observer.on_note)


def _set_aside(old: Path, study: Study, folder: RunFolder, on_note: Callable[[str], None]) -> None:
    name = old.name[3:]
    # A stage that has moved within the study has its trials under the same name.
    stage_dirs = {
        folder.stage(number, stage.name)
        for number, stage in enumerate(study.stages, start=1)
        if isinstance(stage, TuneStage) and stage.name == name
    }
    if stage_dirs <= {old}:
        forget_stage(folder.trials, name)
    kept = folder.supersede(old)
    on_note(
        f"stage '{name}' has changed since it was run: "
        f"what it gave is kept in {kept.relative_to(folder.path)}"
    )


def _has_bundle(folder: RunFolder, fingerprint: str) -> bool:
    """Whether there is a complete bundle of a final stage with this fingerprint."""
    try:
        contract = read_contract(folder.model)
    except BundleError:
        return False
    return bool(contract["study_fingerprint"] == fingerprint)
