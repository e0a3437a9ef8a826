"""What a run itself says should be tried next.

The signs are those of Google's Deep Learning Tuning Playbook (V. Godbole, G. E. Dahl, J. Gilmer,
C. J. Shallue, Z. Nado, 2023, github.com/google-research/tuning_playbook), whose incremental
strategy is the method of a study: look whether the best point lies at the boundary of its
space, whether enough points were good, and what the training curves tell, before the next
round. The thresholds are ours, and stand below with what they mean.
"""

from __future__ import annotations

import itertools
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from burnish.errors import RunFolderError
from burnish.runfolder.store import RunFolder
from burnish.space import Choice, Float, Int, Range, parse_range

Kind = Literal[
    "edge",
    "few-good-trials",
    "many-failed",
    "budget-too-short",
    "irregular",
    "overfitting",
    "seeds",
    "does-not-matter",
]

GOOD_WITHIN = 1.25
"""A trial is good whose loss is at most so many times the best at the same budget."""

FEW_GOOD = 3
"""Fewer good trials than these, the winner among them, may be luck."""

FEW_TRIALS = 4
"""Results that a budget must have to be judged by."""

FAILED_SHARE = 0.2
"""Above this share of failed trials, part of the space cannot be trained."""

ZIGZAG = 0.15
"""Curves are irregular whose loss goes up and down by this share of the best, on average."""

SHORTEST_CURVE = 6
"""Epochs that a curve needs in its second half and before to be judged."""

OVERFIT_RISE = 1.2
"""A fit overfits whose loss ends at this many times its best while the training loss falls."""

DOES_NOT_MATTER = 0.02
"""A hyperparameter that explains less than this share of the losses does not matter."""

ENOUGH_FOR_IMPORTANCE = 10
"""Trials from which an importance is believed."""

SECTIONS: Mapping[Kind, str] = {
    "edge": "Identifying bad search space boundaries",
    "few-good-trials": "Not sampling enough points in the search space",
    "many-failed": "Identifying bad search space boundaries",
    "budget-too-short": "Examining the training curves",
    "irregular": "Examining the training curves",
    "overfitting": "Examining the training curves",
    "seeds": "Determining whether to adopt a training pipeline change",
    "does-not-matter": "Isolation plots; nuisance and fixed hyperparameters",
}
"""The playbook's section behind each sign."""


@dataclass(frozen=True)
class Finding:
    """One thing that a stage shows.

    Attributes
    ----------
    stage, kind
        Which stage, and what sign.
    observation
        What was seen, with its numbers.
    remedy
        What to do about it.
    figure
        Picture of the stage in the report that shows it: ``slices``, ``progress``,
        ``curve``, ``seeds`` or ``importances``.
    targets
        The hyperparameters that it is about, if it is about some.
    side
        ``low`` or ``high`` where the best lies at an end of its range.
    """

    stage: str
    kind: Kind
    observation: str
    remedy: str
    figure: str
    targets: tuple[str, ...] = ()
    side: Literal["low", "high"] | None = None

    @property
    def section(self) -> str:
        """The playbook's section that it follows."""
        return SECTIONS[self.kind]


@dataclass(frozen=True)
class StageFacts:
    """What is looked at: a stage's result, the history of its fit, its space, its base's result."""

    result: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    space: Mapping[str, Range]
    base: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Name of the stage."""
        return str(self.result["name"])


def diagnose_run(run: RunFolder) -> list[Finding]:
    """Look through all finished stages of a run, in their order."""
    return [finding for facts in read_facts(run) for finding in diagnose_stage(facts)]


def read_facts(run: RunFolder) -> list[StageFacts]:
    """Read what :func:`diagnose_stage` takes, for every finished stage but the final one.

    Raises
    ------
    RunFolderError
        If the run's study file cannot be read.
    """
    spaces = _read_spaces(run)
    records = [record for record in run.stages() if record.kind != "final"]
    results = {record.name: record.result for record in records}
    return [
        StageFacts(
            result=record.result,
            history=record.history(),
            space=spaces.get(record.name, {}),
            base=results.get(str(record.result.get("base"))),
        )
        for record in records
    ]


def diagnose_stage(facts: StageFacts) -> list[Finding]:
    """Say what one stage shows; nothing where all is well."""
    found = [*_look_at_edges(facts), *_look_at_trials(facts), *_look_at_importances(facts)]
    return [*found, *_look_at_curve(facts), *_look_at_seeds(facts)]


def _read_spaces(run: RunFolder) -> dict[str, dict[str, Range]]:
    try:
        stages = tomllib.loads(run.read_study())["stage"]
        return {
            str(stage["name"]): {n: parse_range(r) for n, r in stage.get("space", {}).items()}
            for stage in stages
        }
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{run.study_file} cannot be read as a study: {error}") from error


# ---- the search


def order_values(r: Range) -> list[int | float] | None:
    """Return a range's ends, or its values in order; ``None`` where they have no order."""
    if isinstance(r, Int | Float):
        if isinstance(r, Float) and r.step is None:
            return [r.low, r.high]
        return list(r.values())
    if isinstance(r, Choice) and all(
        isinstance(o, int | float) and not isinstance(o, bool) for o in r.options
    ):
        return sorted(o for o in r.options if isinstance(o, int | float))
    return None


def _look_at_edges(facts: StageFacts) -> list[Finding]:
    found = []
    importances = facts.result.get("importances") or {}
    for name, r in facts.space.items():
        values = order_values(r)
        best = facts.result.get("best_params", {}).get(name)
        continuous = isinstance(r, Float) and r.step is None
        # Of two values each is an end.
        if values is None or best is None or (len(values) < 3 and not continuous):
            continue
        if importances.get(name, 1.0) < DOES_NOT_MATTER:
            continue
        low, high = values[0], values[-1]
        margin = 0.05 * (high - low) if continuous else 0.0
        if continuous and isinstance(r, Float) and r.log:
            at_low, at_high = (
                best <= low * (high / low) ** 0.05,
                best >= high * (low / high) ** 0.05,
            )
        else:
            at_low, at_high = best <= low + margin, best >= high - margin
        if at_low and low > 0:
            side: Literal["low", "high"] = "low"
        elif at_high:
            side = "high"
        else:
            continue
        found.append(
            Finding(
                facts.name,
                "edge",
                f"The best {name}, {best:g}, is the {side}est of its range "
                f"({low:g} to {high:g}): better values may lie beyond it.",
                f"Widen the range of {name} {'downwards' if side == 'low' else 'upwards'} "
                f"beyond {best:g} and search again.",
                "slices",
                (name,),
                side,
            )
        )
    return found


def losses_at_budget(trials: Sequence[Mapping[str, Any]]) -> tuple[float, list[float]]:
    """The largest budget with enough results to judge by, and its losses; 0 where there is none."""
    losses: dict[float, list[float]] = {}
    for trial in trials:
        for rung in trial["rungs"]:
            if rung["loss"] is not None:
                losses.setdefault(float(rung["epochs"]), []).append(float(rung["loss"]))
    enough = [epochs for epochs, known in losses.items() if len(known) >= FEW_TRIALS]
    return (max(enough), losses[max(enough)]) if enough else (0.0, [])


def _look_at_trials(facts: StageFacts) -> list[Finding]:
    trials = facts.result.get("trials") or []
    if not trials:
        return []
    found = []
    failed = sum(trial["state"] == "failed" for trial in trials)
    if failed > FAILED_SHARE * len(trials):
        found.append(
            Finding(
                facts.name,
                "many-failed",
                f"{failed} of {len(trials)} trials failed: part of the space cannot be trained.",
                "Look at the failures in the trial table, and take what they have in common "
                "(usually high learning rates) out of the space.",
                "progress",
            )
        )
    # A grid that was searched whole has no more points to try.
    if facts.result.get("sampler") == "grid":
        return found
    epochs, losses = losses_at_budget(trials)
    good = sum(loss <= GOOD_WITHIN * min(losses) for loss in losses) if losses else 0
    if good < FEW_GOOD:
        seen = (
            f"Of {len(losses)} trials that were trained for {epochs:g} epochs, {good} came within "
            f"{100 * (GOOD_WITHIN - 1):.0f} % of the best loss, {min(losses):.4f}"
            if losses
            else f"No budget has results of {FEW_TRIALS} trials or more"
        )
        found.append(
            Finding(
                facts.name,
                "few-good-trials",
                f"{seen}: the winner may owe its place to luck.",
                "Give the search more trials, or a space narrowed to where the good ones lie.",
                "progress",
            )
        )
    return found


def _look_at_importances(facts: StageFacts) -> list[Finding]:
    importances = facts.result.get("importances") or {}
    if len(facts.result.get("trials") or []) < ENOUGH_FOR_IMPORTANCE or len(importances) < 2:
        return []
    best = facts.result.get("best_params", {})
    idle = {n: share for n, share in importances.items() if share < DOES_NOT_MATTER and n in best}
    if not idle:
        return []
    listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in idle.items())
    kept = ", ".join(f"{name} = {best[name]}" for name in idle)
    return [
        Finding(
            facts.name,
            "does-not-matter",
            f"Of the differences between the losses these explain next to nothing: {listed}.",
            f"Fix {kept}, and spend the trials on the rest.",
            "importances",
            tuple(idle),
        )
    ]


# ---- the curve


def measure_zigzag(losses: Sequence[float]) -> float:
    """How much a curve goes up and down in its second half, as a share of its best.

    The mean, over neighbouring pairs of steps, of the smaller step where one leads up and the
    other down: 0 for a curve that only falls, or falls and then rises.
    """
    later = losses[len(losses) // 2 :]
    steps = [b - a for a, b in itertools.pairwise(later)]
    turns = [min(abs(a), abs(b)) if a * b < 0 else 0.0 for a, b in itertools.pairwise(steps)]
    return statistics.fmean(turns) / min(losses) if turns and min(losses) > 0 else 0.0


def _look_at_curve(facts: StageFacts) -> list[Finding]:
    history = facts.history
    if not history:
        return []
    result, found = facts.result, []
    losses = [row["val_loss"] for row in history]
    best = min(range(len(losses)), key=losses.__getitem__)
    one_cycle = result.get("settings", {}).get("learning_rate_schedule") == "one-cycle"
    # A cycle is annealed to its end, where it is always best: that says nothing of its length.
    if best == len(history) - 1 and not one_cycle and not result.get("stopped_early"):
        found.append(
            Finding(
                facts.name,
                "budget-too-short",
                f"The lowest validation loss, {losses[best]:.4f}, came in the last of "
                f"{history[-1]['epoch']:g} epochs: it was still falling when the budget ended.",
                "Raise max_epochs, to twice as many for a start.",
                "curve",
            )
        )
    zigzag = measure_zigzag(losses) if len(losses) >= SHORTEST_CURVE else 0.0
    if zigzag > ZIGZAG:
        found.append(
            Finding(
                facts.name,
                "irregular",
                f"In the second half of the fit the validation loss goes up and down by "
                f"{100 * zigzag:.0f} % of its best from epoch to epoch: the kept one is lucky.",
                "Lower the learning rate, or take learning_rate_schedule = 'one-cycle', which "
                "anneals it to zero.",
                "curve",
                ("learning_rate",),
            )
        )
    rise = losses[-1] / losses[best] if losses[best] > 0 else 1.0
    still_learning = history[-1]["train_loss"] < history[best]["train_loss"]
    if rise > OVERFIT_RISE and still_learning and zigzag <= ZIGZAG:
        found.append(
            Finding(
                facts.name,
                "overfitting",
                f"After epoch {history[best]['epoch']:g} the validation loss rises from "
                f"{losses[best]:.4f} to {losses[-1]:.4f} ({100 * (rise - 1):+.0f} %) while the "
                "training loss still falls.",
                "Regularise more (dropout_rate, l2_strength, augmentation), or take a smaller "
                "network.",
                "curve",
            )
        )
    return found


def _look_at_seeds(facts: StageFacts) -> list[Finding]:
    std = facts.result.get("val_loss_std")
    if std is None or facts.base is None:
        return []
    gain = float(facts.base["val_loss"]) - float(facts.result["val_loss_mean"])
    if not 0 < gain < float(std):
        return []
    num = len(facts.result["runs"])
    return [
        Finding(
            facts.name,
            "seeds",
            f"Over {num} seeds the loss deviates by {std:.4f}; the gain over the base "
            f"{facts.base['name']} is {gain:.4f}, which is less.",
            "Do not count on this stage: simplify it away, or fit both with more seeds "
            f"(seeds = {max(5, 2 * num)}).",
            "seeds",
        )
    ]
