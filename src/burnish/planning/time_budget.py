"""The pace of a run that is given minutes: before each stage, what is left is planned anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.planning.forecast import Costs, forecast, probe_study, total_seconds
from burnish.planning.kept_plan import KeptPlan
from burnish.planning.shrink import keep_stages, shrink_to
from burnish.runfolder.store import RunFolder
from burnish.stages.fit_requests import Results
from burnish.stages.placement import Placement
from burnish.study.schema import FinalStage
from burnish.study.study import Study

AIM = 0.95
"""Share of the given minutes that plans use; the machine may be busier later."""


class TimeBudget:
    """Keeps a run within its minutes.

    Parameters
    ----------
    study, text
        The original study.
    minutes
        Time that the run may take.
    folder
        The run folder.
    placement
        Where trials are fitted.
    data
        The data that is fitted on.
    on_note
        Called with messages for the user.
    """

    def __init__(
        self,
        study: Study,
        text: str,
        minutes: float,
        folder: RunFolder,
        placement: Placement,
        data: Dataset,
        on_note: Callable[[str], None],
    ) -> None:
        self.given, self.given_text = study, text
        self.minutes = minutes
        self.folder = folder
        self.placement = placement
        self.data = data
        self.on_note = on_note
        self.costs: Costs = {}
        self.stage_seconds: dict[str, float] = {}
        self._probed_with: set[str] = set()
        self._kept = KeptPlan(text, minutes, folder, data, placement.workers)
        self.planned_seconds: dict[str, float] = {}

    def begin(self, seconds_before: float) -> tuple[Study, str]:
        """Resume the folder's plan for these minutes, or begin a new plan and its clock.

        Parameters
        ----------
        seconds_before
            Seconds that the run took before it was interrupted.

        Returns
        -------
        The study to run, and its text: the plan, or the original study.
        """
        return self._kept.resume(seconds_before) or (self.given, self.given_text)

    def record(self) -> None:
        """Record the plan and the clock that the study file now belongs to."""
        self._kept.record()

    def is_planned(self, number: int, study: Study, results: Results) -> bool:
        """Whether a stage is done or has begun by the plan that was found here."""
        return self._kept.has_begun(number, study, results)

    def plan(
        self,
        number: int,
        study: Study,
        text: str,
        results: Results,
        seconds: Callable[[], float],
        release: Callable[[], None],
    ) -> tuple[Study, str]:
        """Fit the remaining stages of the original study into the remaining time.

        The forecast is corrected by its error in the stages that ran.

        Parameters
        ----------
        number
            Number of the next stage.
        study, text
            The plan so far.
        results
            Results of the stages before it.
        seconds
            Returns the seconds that the run has taken.
        release
            Called before anything is measured, or two sets of workers would hold the data.

        Returns
        -------
        The plan, and its text.

        Raises
        ------
        StudyError
            If nothing has been fitted and even the smallest plan takes longer.
        """
        name = study.stages[number - 1].name
        done = {*results, *self._kept.find_done_later(number, study, results)}
        self._measure_costs(study, results, release)
        left = self.minutes * 60 * AIM - (seconds() - self._kept.began)
        correction = self.correct(results)
        at_once = self.placement.at_once
        study, text = keep_stages(self.given_text, text, done)
        usable = max(0.0, left)
        try:
            study, text = shrink_to(
                study, text, self.costs, self.data, at_once, usable / correction, done
            )
        except StudyError as error:
            raise StudyError(
                f"of the {self.minutes:g} minutes given, {usable / 60:.1f} are left after "
                f"measuring: {error}"
            ) from error
        stages = forecast(study, self.costs, self.data, at_once, done)
        self.planned_seconds[name] = stages[0].all_seconds
        late = total_seconds(stages) * correction - left
        if late > self.minutes * 60 * (1 - AIM):
            self.on_note(
                f"behind the plan by {late / 60:.1f} minutes, with the smallest plan there is "
                "for what is left"
            )
        return study, text

    def correct(self, results: Results) -> float:
        """Return seconds taken per second forecast, in the stages that this process ran.

        A stage counts only if its forecast was for the network that it trained: other forecasts
        say nothing about the machine.
        """
        ran = [
            name
            for name, result in results.items()
            if name in self.stage_seconds
            and name in self.planned_seconds
            # If a gate rejected the stage's model, that is the one that was trained.
            and self._is_as_measured(name, result.get("gate", {}).get("rejected", result))
        ]
        expected = sum(self.planned_seconds[name] for name in ran)
        # Nor do stages of a few seconds.
        if expected < 20:
            return 1.0
        return max(0.7, sum(self.stage_seconds[name] for name in ran) / expected)

    def _measure_costs(self, study: Study, results: Results, release: Callable[[], None]) -> None:
        """Measure the cost of fits in the remaining stages, unless it is known.

        Until a search is done, nobody knows the networks of the stages that build on it. Those
        stages are measured again if the search found a network of another size.
        """
        bases = {
            stage.base
            for stage in study.stages
            if not isinstance(stage, FinalStage) and stage.name not in results
        }
        news = {
            name
            for name, result in results.items()
            if name not in self._probed_with and not self._is_as_measured(name, result)
        }
        if self.costs and not bases & news:
            return
        self.on_note(
            "measuring what fits of what was found cost, to plan what is left"
            if self.costs
            else f"measuring what fits cost here, to plan {self.minutes:g} minutes"
        )
        release()
        scratch = self.folder.path / ".scratch" / "probe"
        found = {name: result["params"] for name, result in results.items()}
        self._probed_with = set(found)
        try:
            measured = probe_study(self.given, self.data, scratch, self.placement, found)
        except StudyError as error:
            if not self.costs:
                raise
            self.on_note(f"planned by what was measured before: {error}")
            return
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.costs = {**self.costs, **measured}

    def _is_as_measured(self, name: str, result: Mapping[str, Any]) -> bool:
        """Whether a network has the size of the one that was measured for a stage."""
        cost = self.costs.get(name)
        return cost is not None and cost.own.num_parameters == result["num_parameters"]
