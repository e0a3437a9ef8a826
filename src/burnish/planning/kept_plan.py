"""The plan of a run that is given minutes, as its folder keeps it.

A plan is a study of its own, kept as ``study.toml``. ``plan.json`` records its original study, the
minutes and when its clock began, so that the same command resumes the plan.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from burnish.data import Dataset
from burnish.errors import DamageError
from burnish.files import read_json, write_json
from burnish.runfolder.store import RunFolder
from burnish.stages.fingerprint import fingerprint
from burnish.stages.fit_requests import Results, fingerprint_stage
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, Stage
from burnish.study.study import Study


class KeptPlan:
    """The plan in a run folder, and how far it has been carried out.

    Parameters
    ----------
    text
        The original study.
    minutes
        Time that the run may take.
    folder
        The run folder.
    data
        The data that is fitted on.
    workers
        Trials that run at once.
    """

    def __init__(
        self, text: str, minutes: float, folder: RunFolder, data: Dataset, workers: int
    ) -> None:
        self._text = text
        self._minutes = minutes
        self._folder = folder
        self._data = data
        self._workers = workers
        self._stands = False
        self.began = 0.0
        self.notes: dict[str, Any] = {}

    def resume(self, seconds_before: float) -> tuple[Study, str] | None:
        """Return the folder's plan for these minutes; ``None`` where a new one begins.

        Parameters
        ----------
        seconds_before
            Seconds that the run took before it was interrupted; a new plan's clock begins there.
        """
        folder = self._folder
        known = read_json(folder.plan) if folder.plan.exists() else {}
        if known.get("given") == self._describe_given() and folder.study_file.exists():
            self._stands = True
            self.began = float(known.get("began", 0.0))
            self.notes = known.get("notes", {})
            return parse_study(folder.read_study(), str(folder.study_file), folder=folder.path)
        self.began = seconds_before
        # No plan stands until the study file belongs to this one.
        folder.plan.unlink(missing_ok=True)
        return None

    def record(self) -> None:
        """Record the plan and the clock that the study file now belongs to."""
        known = {"given": self._describe_given(), "began": self.began}
        write_json(self._folder.plan, known | ({"notes": self.notes} if self.notes else {}))

    def has_begun(self, number: int, study: Study, results: Results) -> bool:
        """Whether a stage is done or has begun, by its present settings, in a plan found here."""
        if not self._stands:
            return False
        stage: Stage = study.stages[number - 1]
        stage_dir = self._folder.stage(number, stage.name)
        known = [stage_dir / name for name in ("begun.json", "result.json")]
        try:
            begun = [read_json(path).get("fingerprint") for path in known if path.exists()]
        except DamageError:  # What is damaged is set aside when the stage's turn comes.
            return True
        return bool(begun) and set(begun) == {
            fingerprint_stage(study, stage, results, self._data, self._workers)
        }

    def find_done_later(self, number: int, study: Study, results: Results) -> set[str]:
        """Return the names of stages after this one that are known to be done."""
        return {
            stage.name
            for later, stage in enumerate(study.stages[number:], start=number + 1)
            if not isinstance(stage, FinalStage)
            and (stage.base is None or stage.base in results)
            and (self._folder.stage(later, stage.name) / "result.json").exists()
            and self.has_begun(later, study, results)
        }

    def _describe_given(self) -> Mapping[str, Any]:
        # The path of the user's images is not part of a plan: a project may move.
        content = tomllib.loads(self._text)
        content["data"].pop("path", None)
        return {"minutes": self._minutes, "study": fingerprint({"content": content})}
