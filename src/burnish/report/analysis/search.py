"""What a tuning stage tried, what it cost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.files import read_json
from burnish.report.formatting import format_value
from burnish.runfolder.store import StageRecord


@dataclass(frozen=True)
class Step:
    """One round of one trial, in the order in which rounds go.

    ``seconds`` and ``num_images`` (training images seen, over all epochs and folds) are sums
    up to and with this round; ``best`` is the lowest loss so far, ``None`` before the first.
    """

    trial: int
    round: int
    epochs: float
    loss: float | None
    seconds: float
    num_images: float
    best: float | None


@dataclass(frozen=True)
class Cost:
    """What a stage took: seconds of the clock, training images seen in search and own fits."""

    seconds: float
    search_images: float
    own_images: float

    @property
    def num_images(self) -> float:
        """Training images seen in all."""
        return self.search_images + self.own_images


def list_steps(record: StageRecord, num_train: int) -> list[Step]:
    """List the rounds of a tuning stage; without its trials' folders their time is shared out."""
    result = record.result
    trials = sorted(result.get("trials") or [], key=lambda t: int(t["number"]))
    workers = int(result.get("workers") or 1)
    depth = max((len(trial["rungs"]) for trial in trials), default=0)
    brackets = sorted({int(trial["bracket"]) for trial in trials})
    steps: list[Step] = []
    seconds = num_images = 0.0
    best: float | None = None
    for bracket in brackets:
        for number in range(depth):
            for trial in trials:
                if trial["bracket"] != bracket or len(trial["rungs"]) <= number:
                    continue
                rung = trial["rungs"][number]
                seconds += _round_seconds(record.folder, trial, number) / workers
                num_images += _round_images(result, trial, number, num_train)
                loss = rung["loss"]
                if loss is not None:
                    best = loss if best is None else min(best, loss)
                steps.append(
                    Step(
                        int(trial["number"]),
                        number + 1,
                        float(rung["epochs"]),
                        loss,
                        seconds,
                        num_images,
                        best,
                    )
                )
    return steps


def count_cost(record: StageRecord, num_train: int) -> Cost:
    """Count what a stage took."""
    result = record.result
    steps = list_steps(record, num_train)
    epochs = sum(float(run["epochs"]) for run in result.get("runs") or [_own_fit(result)])
    return Cost(
        float(result.get("seconds", 0.0)),
        steps[-1].num_images if steps else 0.0,
        epochs * num_train,
    )


def _own_fit(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures of the stage's own fit, also where its gate put its base's in their place."""
    rejected: Mapping[str, Any] | None = (result.get("gate") or {}).get("rejected")
    return rejected or {"epochs": result.get("epochs", 0.0)}


def _round_seconds(folder: Path, trial: Mapping[str, Any], number: int) -> float:
    path = folder / "trials" / f"{trial['number']:04d}" / f"round-{number + 1}.json"
    if path.exists():
        return float(read_json(path)["seconds"])
    return float(trial["seconds"]) / len(trial["rungs"])


def _round_images(
    result: Mapping[str, Any], trial: Mapping[str, Any], number: int, num_train: int
) -> float:
    epochs = float(trial["rungs"][number]["epochs"])
    if result.get("promotion") == "continue" and number > 0:
        epochs -= float(trial["rungs"][number - 1]["epochs"])
    # Each fold trains on all the others.
    folds = int(result.get("folds") or 1)
    return epochs * num_train * (folds - 1 if folds > 1 else 1)


def rank_trials(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Trials, those that were trained longest first, and of these the lowest losses."""
    return sorted(
        trials,
        key=lambda t: (
            -float(t["epochs"]),
            t["loss"] is None,
            t["loss"] if t["loss"] is not None else 0.0,
            t["number"],
        ),
    )


def first_loss(trial: Mapping[str, Any]) -> float | None:
    """Return the loss of a trial's first round."""
    rungs = trial["rungs"]
    return rungs[0]["loss"] if rungs else None


def scored(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the trials of the first bracket whose first round gave a loss.

    They can be compared: losses after different amounts of training cannot.
    """
    known = [trial for trial in trials if first_loss(trial) is not None]
    bracket = min((int(trial["bracket"]) for trial in known), default=0)
    return [trial for trial in known if int(trial["bracket"]) == bracket]


def describe_trials(trials: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return a line for each trial, by its number, to show at its mark."""
    return {
        int(t["number"]): f"trial {t['number']}: "
        + (f"loss {t['loss']:.4f} after {t['epochs']:g} epochs; " if t["loss"] is not None else "")
        + ", ".join(f"{name} {format_value(t['params'][name])}" for name in trials[0]["params"])
        for t in trials
    }
