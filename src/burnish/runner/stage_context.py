"""What a stage of any kind is done with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data import Dataset
from burnish.runfolder.store import RunFolder
from burnish.stages.fit_requests import Results, derive_seeds, make_request
from burnish.stages.observer import Observer
from burnish.stages.stage_fit import Watch, fit_stage
from burnish.study.schema import FittingStage
from burnish.study.study import Study
from burnish.training import FitRequest


@dataclass(frozen=True)
class StageContext:
    """What a stage of any kind is done with.

    Parameters
    ----------
    study, number
        The study, as it is planned now, and which of its stages this is, from 1.
    results
        What the stages before it gave.
    data
        Train and validation splits.
    folder
        Of the run.
    fingerprint
        Of all that the stage's result depends on.
    workers
        Trials under way at a time.
    observer
        Is told how it goes.
    watch
        Watches fits.
    """

    study: Study
    number: int
    results: Results
    data: Dataset
    folder: RunFolder
    fingerprint: str
    workers: int
    observer: Observer
    watch: Watch

    @property
    def stage_dir(self) -> Path:
        """Folder of the stage."""
        return self.folder.stage(self.number, self.study.stages[self.number - 1].name)

    def find_stage_dir(self, name: str) -> Path:
        """Return the folder of a stage by its name."""
        number = [stage.name for stage in self.study.stages].index(name) + 1
        return self.folder.stage(number, name)

    def make_own_request(self, stage: FittingStage, trial: int) -> FitRequest:
        """Ask for the fit of a stage's own model; ``trial`` is what its seed derives from."""
        settings, checkpoint = self.study.own_settings(stage), self.stage_dir / "checkpoint.npz"
        return make_request(self.study, stage, self.results, settings, trial, checkpoint)

    def fit_own_model(self, stage: FittingStage, request: FitRequest) -> Mapping[str, Any]:
        """Fit a stage's own model with as many seeds as it asks for."""
        seeds = derive_seeds(self.study, stage, request.seed)
        return fit_stage(request, seeds, self.stage_dir, self.data, self.watch)
