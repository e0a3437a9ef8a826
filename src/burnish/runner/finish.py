"""A run that is to end with what it has: its study without the stages that are not done."""

from __future__ import annotations

import tomllib

import tomli_w

from burnish.errors import RunFolderError
from burnish.runfolder.store import RunFolder


def cut_to_finished(folder: RunFolder) -> str:
    """Return the text of a run's study with the stages that are done, and the final one.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RunFolderError
        If no stage is done, or the study has no final stage.
    """
    content = tomllib.loads(folder.read_study())
    stages = content["stage"]
    done = [
        stage
        for number, stage in enumerate(stages, start=1)
        if stage["kind"] != "final"
        and (folder.stage(number, stage["name"]) / "result.json").exists()
    ]
    final = [stage for stage in stages if stage["kind"] == "final"]
    if not final:
        raise RunFolderError(
            f"the study of {folder.path} has no stage of kind 'final', which tests the best model: "
            "add one at its end"
        )
    if not done:
        raise RunFolderError(
            f"no stage of {folder.path} is done yet, so there is no model to test: "
            "the same 'burnish run' again goes on with the first"
        )
    kept = {stage["name"] for stage in done}
    # A stage may be done while one before it is not: of a study that was changed.
    orphans = [s["name"] for s in done if s.get("base") not in {None, *kept}]
    if orphans:
        raise RunFolderError(
            f"stage '{orphans[0]}' of {folder.path} builds on a stage that is not done: "
            "give the same 'burnish run' again, which does it"
        )
    if len(done) + 1 == len(stages):
        return folder.read_study()
    return tomli_w.dumps({**content, "stage": [*done, *final]})
