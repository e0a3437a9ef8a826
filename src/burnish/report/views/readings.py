"""What is said of a stage in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report.analysis.facts import StageFacts
from burnish.report.formatting import show_many, show_p_value, sign


def describe_search(facts: StageFacts) -> str:
    """Say how much was tried, how, and what it cost."""
    result, cost = facts.result, facts.cost
    states = [trial["state"] for trial in result["trials"]]
    counts = ", ".join(
        f"{states.count(state)} {word}"
        for state, word in (
            ("complete", "went through all rounds"),
            ("pruned", "were set aside"),
            ("failed", "failed"),
        )
        if states.count(state)
    )
    folds = f", {result['folds']} folds" if result.get("folds") else ""
    return (
        f"{len(states)} trials by {result.get('sampler')} and {result.get('schedule')}{folds}: "
        f"{counts}. The search took {float(result.get('search_seconds', 0.0)):.1f} s and showed "
        f"{show_many(cost.search_images)} training images; the stage's own fit showed "
        f"{show_many(cost.own_images)}."
    )


def describe_selection(result: Mapping[str, Any]) -> str:
    """Name the selection bias: the winner's score against that of its refit."""
    own = (result.get("gate") or {}).get("rejected") or result
    refit = float(result.get("val_loss_mean", own["val_loss"]))
    mean = f", the mean of {len(result['runs'])} seeds" if result.get("runs") else ""
    folds = " (the mean over the folds of the training split)" if result.get("folds") else ""
    return (
        f"Trial {result['best_trial']} won with a loss of {float(result['trial_loss']):.4f}{folds}."
        f" As the lowest of {len(result['trials'])} this is optimistic: some of its lead is "
        "luck. Its refit, "
        f"trained anew by settings of its own, gives {refit:.4f}{mean}; of it only the epoch was "
        "picked by these images."
    )


def explain_gate(result: Mapping[str, Any]) -> str:
    """Say whether a stage beat its base, where it had to; else nothing."""
    gate = result.get("gate")
    if not gate:
        return ""
    low, high = gate["interval"]
    measured = (
        f"paired loss difference {sign(gate['difference'], 4)} "
        f"({sign(low, 4)} to {sign(high, 4)}, {show_p_value(gate['p_value'])})"
    )
    if gate["passed"]:
        return f"The stage must beat its base, and does: {measured}."
    return (
        f"The stage must beat its base, and does not: {measured}. Its own fit had a loss of "
        f"{gate['rejected']['val_loss']:.4f}; the base's params and model stay, and are what is "
        "shown here."
    )


def describe_seeds(result: Mapping[str, Any]) -> str:
    """Say how much the seed alone changes."""
    return (
        f"With {len(result['runs'])} seeds, all else the same, the validation loss is "
        f"{result['val_loss_mean']:.4f} ± {result['val_loss_std']:.4f} and the accuracy "
        f"{100 * result['val_accuracy_mean']:.2f} ± {100 * result['val_accuracy_std']:.2f} % "
        f"(mean ± standard deviation). Run {int(result['kept_run'])} has the lowest loss and is "
        "kept as the stage's model; as the best of several its figures are optimistic, the mean is "
        "what to expect."
    )


def describe_fit(facts: StageFacts) -> str:
    """Say what a reader should see in a stage's curve, and what it gained over its base."""
    said = _read_curve(facts.history, facts.best_epoch)
    return " ".join(said + _read_gain(facts))


def _read_curve(history: Sequence[Mapping[str, float]], best_epoch: float | None) -> list[str]:
    """Say in a sentence what a reader should see in a curve."""
    best = next((row for row in history if row["epoch"] == best_epoch), None)
    if best is None:
        return ["No history was recorded for this stage."] if not history else []
    last = history[-1]
    kept = f"Validation loss is lowest in epoch {best_epoch:g} of {len(history)}"
    if len(history) == 1:
        return ["A single epoch was trained."]
    if best is last:
        rates = [row.get("learning_rate", 0.0) for row in history]
        if rates[-1] < 0.2 * max(rates):
            return [f"{kept}, the last, with the learning rate run down as scheduled."]
        return [f"{kept}, the last: it was still falling, and more epochs may lower it."]
    if last["val_loss"] > 1.03 * best["val_loss"] and last["train_loss"] < best["train_loss"]:
        return [
            f"{kept}; after it the validation loss rises while the training loss still falls "
            f"(overfitting), so the weights of epoch {best_epoch:g} are kept."
        ]
    return [f"{kept}; the epochs after it bring no gain, so its weights are kept."]


def _read_gain(facts: StageFacts) -> list[str]:
    """Say what a stage gained over its base, and whether the images suffice to show it."""
    base, comparison = facts.base, facts.comparison
    if base is None:
        return []
    before, after = float(base.result["val_loss"]), facts.val_loss
    points = 100 * (facts.val_accuracy - float(base.result["val_accuracy"]))
    change = f" ({sign(100 * (after / before - 1), 0)} %)" if before else ""
    said = (
        f"Against its base {base.name}: loss {before:.4f} to {after:.4f}{change}, "
        f"accuracy {sign(points, 2)} points."
    )
    if comparison is None:
        return [said]
    low, high = comparison.loss_interval
    return [
        said,
        f"On the same images the loss differs by {sign(comparison.loss, 4)} "
        f"({sign(low, 4)} to {sign(high, 4)}, {show_p_value(comparison.loss_p)}): "
        f"{comparison.loss_verdict}. {comparison.only_second:,} images only this stage gets "
        f"right, {comparison.only_first:,} only its base ({show_p_value(comparison.accuracy_p)}): "
        f"{comparison.accuracy_verdict}.",
    ]
