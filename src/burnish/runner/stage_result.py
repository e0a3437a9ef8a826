"""What stages give, as it stands in their ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from burnish.space import Value
from burnish.tuning.schedules import Bracket, Promotion


@dataclass(frozen=True)
class TrainResult:
    """Result of a training stage.

    Parameters
    ----------
    name, base
        Name of the stage, and of the stage that it builds on.
    fit
        The request and the figures of the kept fit (see
        :func:`burnish.stages.stage_fit.fit_stage`).
    """

    name: str
    base: str | None
    fit: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``result.json``."""
        return {"name": self.name, "kind": "train", "base": self.base, **self.fit}


@dataclass(frozen=True)
class TuneResult:
    """Result of a tuning stage: how it searched, every trial, and the refit of the winner.

    Parameters
    ----------
    name, base
        Name of the stage, and of the stage that it builds on.
    refit
        Like ``fit`` of :class:`TrainResult`.
    sampler, schedule, brackets, promotion, folds, max_mflops, points_to_evaluate, workers
        Settings of the search.
    trials_of
        Fingerprint of everything that its trials depend on.
    taken_over
        Record of what came from an earlier search's trials, if anything did.
    best_trial, best_params, trial_loss
        Number, params and loss of the winning trial.
    importances
        Share of the losses' variance that each hyperparameter explains.
    trials
        Every trial as plain data, including its ``seconds``.
    """

    name: str
    base: str | None
    refit: Mapping[str, Any]
    sampler: str
    schedule: str
    brackets: tuple[Bracket, ...]
    promotion: Promotion
    folds: int | None
    max_mflops: float | None
    points_to_evaluate: Sequence[Mapping[str, Any]]
    workers: int
    trials_of: str
    taken_over: Mapping[str, Any] | None
    best_trial: int
    best_params: Mapping[str, Value]
    trial_loss: float | None
    importances: Mapping[str, float]
    trials: Sequence[Mapping[str, Any]]

    @property
    def search_seconds(self) -> float:
        """Seconds that the trials took, divided by the number of workers."""
        return float(sum(trial["seconds"] for trial in self.trials)) / self.workers

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``result.json``."""
        return {
            "name": self.name,
            "kind": "tune",
            "base": self.base,
            **self.refit,
            "seconds": self.search_seconds + self.refit["seconds"],
            "sampler": self.sampler,
            "schedule": self.schedule,
            "brackets": [asdict(bracket) for bracket in self.brackets],
            "promotion": self.promotion,
            "folds": self.folds,
            "max_mflops": self.max_mflops,
            "points_to_evaluate": list(self.points_to_evaluate) or None,
            "workers": self.workers,
            "num_trials": len(self.trials),
            "taken_over": self.taken_over,
            "trials_of": self.trials_of,
            "best_trial": self.best_trial,
            "best_params": self.best_params,
            "trial_loss": self.trial_loss,
            "search_seconds": self.search_seconds,
            "importances": self.importances,
            "trials": list(self.trials),
        }


@dataclass(frozen=True)
class Selection:
    """The stage that the final stage chose, and the validation figures of all candidates."""

    chosen: str
    candidates: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``selection.json``."""
        return {"chosen": self.chosen, "candidates": list(self.candidates)}


@dataclass(frozen=True)
class FinalResult:
    """Result of a final stage.

    Parameters
    ----------
    name
        Name of the stage.
    selection
        The chosen stage, and the candidates.
    chosen
        The result of the chosen stage.
    test
        Figures of the chosen model on the test split.
    """

    name: str
    selection: Selection
    chosen: Mapping[str, Any]
    test: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``result.json``."""
        kept = ("model", "params", "val_loss", "val_accuracy", "epochs", "num_parameters")
        return {
            "name": self.name,
            "kind": "final",
            **self.selection.as_dict(),
            **{key: self.chosen[key] for key in kept},
            "class_weight": self.chosen["settings"]["class_weight"],
            "seconds": 0.0,
            "test": self.test,
        }


StageResult = TrainResult | TuneResult | FinalResult
