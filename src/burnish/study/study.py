"""A whole study, checked, and what follows from its tables for each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from burnish.models import default_params, find_family
from burnish.models.family import Family
from burnish.space import Float, Value
from burnish.study.schema import (
    DataSection,
    FinalStage,
    FittingStage,
    Stage,
    Strict,
    StudySection,
    TrainingSection,
    TuneStage,
)
from burnish.training import TrainingSettings
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import SCHEDULES, Bracket, Promotion, ScheduleOptions


class Study(Strict):
    """A whole study, checked: every stage's model exists, its base goes before it."""

    study: StudySection
    data: DataSection
    training: TrainingSection = TrainingSection()
    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def seed(self) -> int:
        """Seed that every random choice derives from."""
        return self.study.seed

    def stage(self, name: str) -> Stage:
        """Return a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def family(self, stage: FittingStage) -> Family:
        """Return the model family of a stage: its own, or its base's."""
        if stage.model is not None:
            return find_family(stage.model)
        base = self.stage(stage.base or "")
        assert not isinstance(base, FinalStage)
        return self.family(base)

    def settings(self, stage: FittingStage) -> TrainingSettings:
        """Return a stage's training settings: its own, then the study's, then the defaults."""
        given = {**_take_up(self.training), **_take_up(stage.training)}
        settings = TrainingSettings(**given, class_weight=self.data.class_weight)
        # A trial that ended by the clock could not be compared with others.
        timeless = isinstance(stage, TuneStage)
        return replace(settings, max_seconds=None, pace=()) if timeless else settings

    def refit_settings(self, stage: TuneStage) -> TrainingSettings:
        """Return the settings by which a tuning stage's winner is trained again."""
        return replace(self.settings(stage), **_take_up(stage.refit))

    def is_structure(self, stage: FittingStage, name: str) -> bool:
        """Whether a hyperparameter changes which network a stage's family builds."""
        return self.family(stage).is_structure(name)

    def searches_structure(self, stage: TuneStage) -> bool:
        """Whether the networks of a stage's trials differ from one another."""
        return any(self.is_structure(stage, name) for name in stage.space)

    def knows_structure(self, stage: FittingStage) -> bool:
        """Whether no search before it decides what a stage's own params say of its network."""
        if stage.base is None:
            return True
        base = self.stage(stage.base)
        assert not isinstance(base, FinalStage)
        searched = isinstance(base, TuneStage) and self.searches_structure(base)
        return not searched and self.knows_structure(base)

    def explain_start(
        self, stage: FittingStage, before: Mapping[str, Value], params: Mapping[str, Value]
    ) -> str | None:
        """Say why fits of a stage cannot start from what it names; ``None`` where they can.

        Parameters
        ----------
        stage
            Which stage; of a tuning stage, no network of its space may be unfit.
        before
            The params of the fit whose weights are started from.
        params
            The stage's, but for what it searches.
        """
        family = self.family(stage)
        ranges = stage.search_space().ranges if isinstance(stage, TuneStage) else {}
        searched = {
            name: r.values()
            for name, r in ranges.items()
            if family.is_structure(name) and not (isinstance(r, Float) and r.step is None)
        }
        first = {**params, **{name: values[0] for name, values in searched.items()}}
        varied = [{**first, name: value} for name, values in searched.items() for value in values]
        for tried in varied or [first]:
            why = family.explain_start(family.structure(before), family.structure(tried))
            if why is not None:
                return f"the model of '{stage.start_from}' {why}"
        return None

    def own_settings(self, stage: FittingStage) -> TrainingSettings:
        """Return the settings by which a stage's own model, or its winner, is trained."""
        if isinstance(stage, TuneStage):
            return self.refit_settings(stage)
        return self.settings(stage)

    def brackets(self, stage: TuneStage) -> tuple[Bracket, ...]:
        """Return a tuning stage's rounds."""
        return SCHEDULES.find(stage.schedule.name).plan(self.schedule_options(stage))

    def schedule_options(self, stage: TuneStage) -> ScheduleOptions:
        """Return what a tuning stage says of its schedule."""
        schedule = stage.schedule
        return ScheduleOptions(
            max_epochs=schedule.max_epochs or self.settings(stage).max_epochs,
            trials=stage.trials,
            num_points=stage.search_space().size,
            exhaustive=find_sampler(stage.sampler).exhaustive,
            min_epochs=schedule.min_epochs,
            factor=schedule.factor,
        )

    def promotion(self, stage: TuneStage) -> Promotion:
        """Whether a promoted trial continues; a cut-off cycle is no start to go on from."""
        one_cycle = self.settings(stage).learning_rate_schedule == "one-cycle"
        return stage.schedule.promotion or ("restart" if one_cycle else "continue")

    def initial_params(
        self, stage: FittingStage, best: Mapping[str, Mapping[str, Value]]
    ) -> dict[str, Value]:
        """Return a stage's params: the family's defaults, its base's best, its own.

        Parameters
        ----------
        stage
            Which stage.
        best
            The best params of the stages before it, by stage name.
        """
        inherited = best[stage.base] if stage.base is not None else {}
        return {**default_params(self.family(stage)), **inherited, **stage.params}

    def planned_params(self, stage: FittingStage) -> dict[str, Value]:
        """Return a stage's params as far as the study file alone determines them.

        What a tuning stage will find is not known: the middle of each range stands for it.
        """
        base = self.stage(stage.base) if stage.base is not None else None
        known = base is not None and not isinstance(base, FinalStage)
        best = {base.name: self.planned_params(base)} if base and known else {}  # type: ignore[arg-type]
        params = self.initial_params(stage, best)
        if isinstance(stage, TuneStage):
            for name, r in stage.search_space().ranges.items():
                if isinstance(r, Float) and r.step is None:
                    params[name] = (r.low * r.high) ** 0.5 if r.log else (r.low + r.high) / 2
                else:
                    values = r.values()
                    params[name] = values[len(values) // 2]
        return params


def _take_up(section: TrainingSection) -> dict[str, Any]:
    """Return the settings that a table names."""
    given = section.model_dump(exclude_none=True)
    if "pace" in given:  # Settings are compared and hashed.
        given["pace"] = tuple(tuple(decision) for decision in given["pace"])
    return given
