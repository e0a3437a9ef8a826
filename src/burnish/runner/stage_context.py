"""What a stage of any kind is done with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.augmentation import augmentation_limits
from burnish.data import Dataset
from burnish.models import find_family
from burnish.runfolder.store import RunFolder
from burnish.space import SearchSpace
from burnish.stages.fit_requests import Results, derive_seeds, make_request
from burnish.stages.observer import Observer
from burnish.stages.stage_fit import Watch, fit_stage
from burnish.study.schema import FittingStage
from burnish.study.study import Study
from burnish.training import FitRequest, freeze

MOST_FROZEN = 16
"""Most frozen parts, or sets of views, that are computed before a search begins."""


@dataclass(frozen=True)
class StageContext:
    """The inputs of a stage of any kind.

    Parameters
    ----------
    study, number
        The study as planned now, and the number of this stage, from 1.
    results
        Results of the stages before it.
    data
        Train and validation splits.
    folder
        The run folder.
    fingerprint
        Fingerprint of everything that the stage's result depends on.
    workers
        Trials that run at once.
    observer
        Receives the events of the run.
    watch
        Returns a progress callback for a fit.
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
        """Return the request for the stage's own fit; its seed derives from ``trial``."""
        settings, checkpoint = self.study.own_settings(stage), self.stage_dir / "checkpoint.npz"
        start = self.find_start(stage)
        return make_request(self.study, stage, self.results, settings, trial, checkpoint, start)

    def compute_features(self, request: FitRequest, space: SearchSpace | None = None) -> None:
        """Compute once what the frozen parts of a stage's networks make of the images.

        Where a search has more of them than `MOST_FROZEN`, its fits compute what they need.
        """
        changing = {*find_family(request.model).frozen_by, *augmentation_limits().ranges}
        ranges = {n: r for n, r in space.ranges.items() if n in changing} if space else {}
        num_points = SearchSpace(ranges).size if ranges else 1
        if num_points is None or num_points > MOST_FROZEN:
            return
        names, values = list(ranges), [r.values() for r in ranges.values()]
        for chosen in itertools.product(*values):
            params = {**request.params, **dict(zip(names, chosen, strict=True))}
            freeze(replace(request, params=params), self.data, self.observer.features_computed)

    def find_start(self, stage: FittingStage) -> Path | None:
        """Return the saved model that a stage's fits start from, if it names one."""
        if stage.start_from is None:
            return None
        return self.find_stage_dir(stage.start_from) / "model.keras"

    def fit_own_model(self, stage: FittingStage, request: FitRequest) -> Mapping[str, Any]:
        """Fit the stage's own model with each of its seeds."""
        self.compute_features(request)
        seeds = derive_seeds(self.study, stage, request.seed)
        return fit_stage(request, seeds, self.stage_dir, self.data, self.watch)
