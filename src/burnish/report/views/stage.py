"""Each stage of a run as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.report.analysis.evidence import Comparison, StageEvidence
from burnish.report.analysis.facts import StageFacts
from burnish.report.analysis.search import first_loss, rank_trials
from burnish.report.drawing.figure_set import FigureSet
from burnish.report.formatting import format_value
from burnish.report.views.pictures import PictureView, draw_section
from burnish.report.views.readings import (
    describe_fit,
    describe_search,
    describe_seeds,
    describe_selection,
    explain_gate,
)
from burnish.runfolder.store import StageRecord
from burnish.stats.intervals import Interval


@dataclass(frozen=True)
class ParamRow:
    """One hyperparameter of a stage and how it stands to the base stage's."""

    name: str
    value: str
    change: str  # "", "was 0.2", "new"


@dataclass(frozen=True)
class TrialRow:
    """One trial of a tuning stage; losses that there are not are ``None``."""

    number: int
    state: str
    num_rounds: int
    epochs: float
    first_loss: float | None
    loss: float | None
    accuracy: float | None
    seconds: float
    values: Sequence[str]
    won: bool


@dataclass(frozen=True)
class SearchView:
    """How a tuning stage searched."""

    names: Sequence[str]
    trials: Sequence[TrialRow]
    failures: Sequence[tuple[int, str]]
    said: str
    selection: str
    pictures: Mapping[str, PictureView]


@dataclass(frozen=True)
class StageView:
    """One stage as the page shows it."""

    anchor: str
    name: str
    kind: str
    model: str
    base: str | None
    chosen: bool
    val_loss: float
    val_accuracy: float
    interval: Interval | None
    evidence: StageEvidence | None
    comparison: Comparison | None
    best_epoch: float | None
    num_epochs: float
    seconds: float
    num_images: float
    num_parameters: int | None
    params: Sequence[ParamRow]
    settings: Sequence[tuple[str, str]]
    reading: str
    gate: str
    pictures: Mapping[str, PictureView]
    search: SearchView | None
    said_of_seeds: str


def view_stage(facts: StageFacts, chosen: str | None, figure_set: FigureSet) -> StageView:
    """Collect what the page shows of a stage, and draw its pictures.

    Parameters
    ----------
    facts
        Of the stage.
    chosen
        Name of the chosen stage; ``None`` before there is one.
    figure_set
        Takes the pictures in.
    """
    result = facts.result
    return StageView(
        anchor=f"stage-{facts.record.folder.name[:2]}",
        name=facts.name,
        kind=facts.record.kind,
        model=str(result["model"]),
        base=str(result["base"]) if result.get("base") else None,
        chosen=facts.name == chosen,
        val_loss=facts.val_loss,
        val_accuracy=facts.val_accuracy,
        interval=facts.interval,
        evidence=facts.evidence,
        comparison=facts.comparison,
        best_epoch=facts.best_epoch,
        num_epochs=float(result.get("epochs", len(facts.history))),
        seconds=facts.cost.seconds,
        num_images=facts.cost.num_images,
        num_parameters=result.get("num_parameters"),
        params=_compare_params(facts.params, facts.base),
        settings=_list_settings(result),
        reading=describe_fit(facts),
        gate=explain_gate(result),
        pictures=draw_section("stage", facts, figure_set, f"{facts.slug}-"),
        search=_view_search(facts, figure_set) if facts.trials else None,
        said_of_seeds=describe_seeds(result) if result.get("runs") else "",
    )


def _view_search(facts: StageFacts, figure_set: FigureSet) -> SearchView:
    trials, best = facts.trials, facts.best_trial
    names = list(trials[0]["params"])
    return SearchView(
        names=names,
        trials=[_list_trial(t, names, best) for t in rank_trials(trials)],
        failures=[(int(t["number"]), str(t["failure"])) for t in trials if t.get("failure")],
        said=describe_search(facts),
        selection=describe_selection(facts.result),
        pictures=draw_section("search", facts, figure_set, f"{facts.slug}-"),
    )


def _list_trial(trial: Mapping[str, Any], names: Sequence[str], best: int) -> TrialRow:
    return TrialRow(
        number=int(trial["number"]),
        state=str(trial["state"]),
        num_rounds=len(trial["rungs"]),
        epochs=float(trial["epochs"]),
        first_loss=first_loss(trial),
        loss=trial["loss"],
        accuracy=trial["accuracy"],
        seconds=float(trial["seconds"]),
        values=[format_value(trial["params"][name]) for name in names],
        won=int(trial["number"]) == best,
    )


def _compare_params(params: Mapping[str, Any], base: StageRecord | None) -> list[ParamRow]:
    rows = []
    before = dict(base.result.get("params", {})) if base else {}
    for name, value in params.items():
        change = ""
        if base and name not in before:
            change = "new"
        elif base and before[name] != value:
            change = f"was {format_value(before[name])}"
        rows.append(ParamRow(name, format_value(value), change))
    return rows


def _list_settings(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what a fit was given besides its params; a tuning stage adds how it searched."""
    search = [
        (name, format_value(result[name]))
        for name in (
            "sampler",
            "schedule",
            "num_trials",
            "folds",
            "max_mflops",
            "points_to_evaluate",
        )
        if result.get(name) is not None
    ]
    # What "auto" came to is what a reader wants to know.
    asked = dict(result.get("settings", {}))
    if result.get("precision"):
        asked["precision"] = result["precision"]
    return search + [(name, format_value(value)) for name, value in asked.items()]
