"""The pace of a run whose stages have shares of its minutes: nothing is measured beforehand.

Before each stage, what is left of the minutes is shared out anew among it and the stages after it.
Its fits and its search are given seconds, which they keep by themselves (see
:mod:`burnish.training.pace`); so what one stage does not use, the others get. What is decided here
besides is what would not fit: how many views of an image, and which stages are left out.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import tomli_w

from burnish.data import Dataset
from burnish.data.cache.upkeep import find_limit
from burnish.errors import StudyError
from burnish.features import FeatureSet
from burnish.features.cost import measure_feature_cost
from burnish.features.room import count_views_within
from burnish.models import count_operations
from burnish.planning.forecast import StageForecast
from burnish.planning.kept_plan import KeptPlan
from burnish.runfolder.store import RunFolder
from burnish.stages.fit_requests import Results
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, FittingStage, TuneStage
from burnish.study.study import Study
from burnish.training.frozen import find_feature_set

AROUND = 10.0
"""Seconds that the end of a run takes: the model is written, and the report. It takes about twice
as long as the first model that is written, which says how fast the machine is at the moment."""

WRITING = 4.0
"""Seconds that a model takes to be written, until that is known: a stage has to predict with its
model and to save it, and the best one so far is written for use."""

SPARE = 0.02
"""Share of the minutes that is not shared out: a last step, or a slow disk."""

SEARCH = 0.6
"""Share of a tuning stage's seconds that its search may take; the refit has the rest."""

FEATURES = 0.5
"""Share of a stage's seconds that may go into what frozen layers make of its images; in the first
stage, of all that there are."""

LEAST = 5.0
"""Seconds that a stage after the first must have for its own fits, or it is left out."""

FEWEST_TRIALS = 4
"""Trials that a search must have time for, or it is left out: fewer choose by chance."""

SPEED = 6e10
"""Floating-point operations a second of training that a network's time is guessed by before any of
its kind was trained: two cores with AVX2 reach 58e9 to 66e9 (docs/log.md)."""

SIDES = (192, 160, 128, 96, 64, 48, 32)
"""Sides that images are brought to, where there is no time for their own."""


def has_shares(study: Study) -> bool:
    """Whether all stages that fit have a share of the minutes that are given."""
    fitting = [stage for stage in study.stages if not isinstance(stage, FinalStage)]
    return bool(fitting) and all(stage.share is not None for stage in fitting)


def outline_shares(study: Study, minutes: float) -> list[StageForecast]:
    """Return what each stage may take of the minutes, and the most that it may do in them."""
    fitting = [stage for stage in study.stages if not isinstance(stage, FinalStage)]
    shared = max(0.0, minutes * 60 * (1 - SPARE) - AROUND)
    whole = sum(float(stage.share or 0) for stage in fitting)
    stages = []
    for stage in fitting:
        trials = 1
        if isinstance(stage, TuneStage):
            trials = sum(bracket.rungs[0].num_trials for bracket in study.brackets(stage))
        epochs = study.own_settings(stage).max_epochs
        seconds = shared * float(stage.share or 0) / whole
        stages.append(StageForecast(stage.name, trials, epochs, seconds))
    final = [stage for stage in study.stages if isinstance(stage, FinalStage)]
    return [*stages, *(StageForecast(stage.name, 0, 0.0, 0.0) for stage in final)]


class SharedMinutes:
    """Shares the minutes of a run among its stages.

    Parameters
    ----------
    study, text
        The original study.
    minutes
        Time that the run may take.
    folder
        The run folder.
    workers
        Trials that run at once.
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
        workers: int,
        data: Dataset,
        on_note: Callable[[str], None],
    ) -> None:
        self._given, self._given_text = study, text
        self._seconds = minutes * 60
        self._data = data
        self._on_note = on_note
        self._kept = KeptPlan(text, minutes, folder, data, workers)
        self._end_seconds, self._writing_seconds = AROUND, WRITING

    def begin(self, seconds_before: float) -> tuple[Study, str]:
        """Resume the folder's plan for these minutes, or begin a new plan and its clock."""
        return self._kept.resume(seconds_before) or (self._given, self._given_text)

    def record(self) -> None:
        """Record the plan and the clock that the study file now belongs to."""
        self._kept.record()

    def is_planned(self, number: int, study: Study, results: Results) -> bool:
        """Whether a stage is done or has begun by the plan that was found here."""
        return self._kept.has_begun(number, study, results)

    def foresee_end(self, writing_seconds: float, test_seconds: float) -> None:
        """Learn what the end of the run will take.

        Parameters
        ----------
        writing_seconds
            Taken to write a model that is the best so far; 0 where that was not done now.
        test_seconds
            Forecast of the test split and the certificate.
        """
        self._writing_seconds = writing_seconds or WRITING
        self._end_seconds = (2 * writing_seconds or AROUND) + test_seconds

    def plan(
        self, number: int, text: str, results: Results, seconds: Callable[[], float]
    ) -> tuple[Study, str]:
        """Give the next stage its seconds, or leave it out.

        Parameters
        ----------
        number
            Number of the next stage.
        text
            The plan so far.
        results
            Results of the stages before it.
        seconds
            Returns the seconds that the run has taken.

        Returns
        -------
        The plan, and its text; stage ``number`` of it may be another than before, or the final one.
        """
        while True:
            study, _ = parse_study(text, "the plan so far")
            stage = study.stages[number - 1]
            if isinstance(stage, FinalStage):
                return study, text
            late = self._find_late_search(study, number, results, seconds())
            if late is not None:
                text = self._leave_out(text, late, "there is no time for four trials of it")
                continue
            shared = self._share_out(study, number, seconds())
            whole = math.fsum(shared.values())
            settings, why = self._fit_into(study, stage, results, shared[stage.name], whole)
            if why is None:
                text = _write_settings(text, stage.name, settings)
                return parse_study(text, "the plan so far")
            text = self._leave_out(text, stage.name, why)

    def _leave_out(self, text: str, name: str, why: str) -> str:
        """Return the plan's text without a stage, and say so."""
        self._on_note(f"stage '{name}' is left out: {why}")
        self._kept.notes.setdefault("left_out", {})[name] = why
        self._kept.record()
        return _leave_out(text, name)

    def _find_late_search(
        self, study: Study, number: int, results: Results, taken: float
    ) -> str | None:
        """Return the name of a search still to come that has no time for a few trials, if any.

        Its time is then the other stages' from the start. Trials on frozen features take next to
        none: they are not looked at.
        """
        own = self._share_out(study, number, taken)
        for stage in study.stages[number - 1 :]:
            if not isinstance(stage, TuneStage):
                continue
            epoch = self._forecast_epoch(study, stage, results)
            if epoch is None:
                continue
            trial = epoch * (stage.folds or 1) * study.brackets(stage)[0].rungs[0].epochs
            if FEWEST_TRIALS * trial > SEARCH * own[stage.name]:
                return stage.name
        return None

    def _forecast_epoch(self, study: Study, stage: TuneStage, results: Results) -> float | None:
        """Return about how long the machine takes for an epoch of a search's network.

        ``None`` of a network whose frozen layers are computed once.
        """
        params = study.planned_params(stage)
        family = study.family(stage)
        if find_feature_set(family.name, params, self._data) is not None:
            return None
        base = results.get(stage.base or "", {})
        if base.get("kind") == "train" and base.get("model") == family.name:
            return float(base["seconds"] / base["epochs"])
        try:
            shape, classes = self._data.image_shape, self._data.num_classes
            operations = count_operations(family, params, shape, classes)
        except StudyError:
            return 0.0  # They cannot be counted: it is tried.
        return 3 * operations * len(self._data.train) / SPEED

    def _share_out(self, study: Study, number: int, taken: float) -> dict[str, float]:
        """Return the seconds of a stage and of those after it: their shares of what is left."""
        left = self._seconds * (1 - SPARE) - self._end_seconds
        left -= taken - self._kept.began
        shares = {
            stage.name: float(stage.share or 0)
            for stage in study.stages[number - 1 :]
            if not isinstance(stage, FinalStage)
        }
        whole = sum(shares.values())
        return {name: max(0.0, left) * share / whole for name, share in shares.items()}

    def _fit_into(
        self, study: Study, stage: FittingStage, results: Results, own: float, whole: float
    ) -> tuple[dict[str, Any], str | None]:
        """Return the values by which a stage keeps to its seconds, or why it cannot.

        What the first stage computes of the images is taken from all stages' seconds: of images
        that are shown too small, no stage makes much.
        """
        params = study.initial_params(stage, {n: r["params"] for n, r in results.items()})
        wanted = find_feature_set(study.family(stage).name, params, self._data)
        settings: dict[str, Any] = {}
        left = own - 2 * self._writing_seconds
        if wanted is not None and wanted.find() is None:
            side = int(params.get("input_size") or 0) or max(self._data.image_shape[:2])
            if results:
                settings, seconds = self._choose_features(wanted, own, None)
                left -= seconds
            else:
                settings, seconds = self._choose_features(wanted, whole, side)
                left -= seconds * own / whole if whole else 0.0
            if results and seconds > FEATURES * own:
                return {}, (
                    f"it has {own:.0f} s, and what its frozen layers make of the images takes "
                    f"{seconds:.0f} s"
                )
        if results and left < LEAST:
            return {}, f"{own:.0f} s are left for it"
        left = max(1.0, left) / stage.seeds
        if isinstance(stage, TuneStage):
            return {
                **settings,
                "max_seconds": round(SEARCH * left, 1),
                "refit.max_seconds": round((1 - SEARCH) * left, 1),
            }, None
        return {**settings, "training.max_seconds": round(left, 1)}, None

    def _choose_features(
        self, wanted: FeatureSet, own: float, side: int | None
    ) -> tuple[dict[str, Any], float]:
        """Return how many views of an image there is time for, or of what size; and the seconds.

        ``side`` is the images' own in the stage that comes first, which has no other way than
        smaller ones. The stages after it have their sizes from it: of them the views count.
        """
        cost = measure_feature_cost(wanted)
        room = count_views_within([wanted], find_limit(wanted.path.parent))
        num_train, num_val = len(wanted.dataset.train), len(wanted.dataset.val)

        def estimate(views: int) -> float:
            return cost.estimate_seconds(num_train * views + num_val)

        for views in range(min(wanted.views, max(1, room)), 0, -1):
            if estimate(views) <= FEATURES * own:
                settings = {"params.views": views} if views < wanted.views else {}
                return settings, estimate(views)
        seconds = estimate(1)
        settings = {"params.views": 1} if wanted.views > 1 else {}
        smaller = [s for s in SIDES if side is not None and s < side]
        for size in smaller:
            assert side is not None
            # The time goes with the pixels.
            shrunk = seconds * (size / side) ** 2
            if shrunk <= FEATURES * own or size == smaller[-1]:
                self._on_note(
                    f"images are shown to the network at {size}x{size}: larger ones would take "
                    f"{seconds:.0f} s of the {own:.0f} s that there are"
                )
                return {**settings, "params.input_size": size}, shrunk
        return settings, seconds


def _write_settings(text: str, name: str, settings: Mapping[str, Any]) -> str:
    """Return a study's text with values of one stage, by dotted names."""
    content = tomllib.loads(text)
    stage = next(stage for stage in content["stage"] if stage["name"] == name)
    for key, value in settings.items():
        *tables, last = key.split(".")
        table = stage
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return tomli_w.dumps(content)


def _leave_out(text: str, name: str) -> str:
    """Return a study's text without a stage; those that build on it build on its base."""
    content = tomllib.loads(text)
    gone = next(stage for stage in content["stage"] if stage["name"] == name)
    stages = [stage for stage in content["stage"] if stage is not gone]
    for stage in stages:
        for key in ("base", "start_from"):
            if stage.get(key) == name:
                stage[key] = gone["base"]
    return tomli_w.dumps({**content, "stage": stages})
