"""Each stage of a run as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from burnish.advice.diagnostics import Finding
from burnish.augmentation import OPERATIONS
from burnish.report import evidence_figures, figures, search_figures
from burnish.report.evidence import Comparison, Evidence, StageEvidence
from burnish.report.figure_set import FigureSet
from burnish.report.formatting import need, show_many, show_p_value, show_value, sign
from burnish.report.search import count_cost, list_steps, rank_trials
from burnish.runfolder.store import StageRecord
from burnish.space import Range
from burnish.stats.intervals import Interval, wilson_interval


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
    progress: Markup | None
    parallel: Markup | None
    slices: Markup | None
    rounds: Markup | None


@dataclass(frozen=True)
class SeedsView:
    """The runs of a stage with several seeds."""

    runs: Sequence[Mapping[str, Any]]
    kept: int
    picture: Markup
    said: str


@dataclass(frozen=True)
class StageView:
    """One stage as the page shows it."""

    anchor: str
    slug: str
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
    curve: Markup | None
    caption: str
    calibration: Markup | None
    search: SearchView | None
    seeds: SeedsView | None
    findings: Sequence[Finding]


def view_stage(
    record: StageRecord,
    fits: Sequence[StageRecord],
    evidence: Evidence,
    findings: Sequence[Finding],
    space: Mapping[str, Range],
    chosen: str | None,
    source: str,
    num_train: int,
    figure_set: FigureSet,
) -> StageView:
    """Collect what the page shows of a stage, and draw its pictures.

    Parameters
    ----------
    record, fits
        The stage, and all stages that fitted models.
    evidence, findings
        Of the whole run.
    space
        What the stage searched; empty where it did not.
    chosen
        Name of the chosen stage; ``None`` before there is one.
    source, num_train
        Name of the data, and its number of training images.
    figure_set
        Takes the pictures in.
    """
    result = record.result
    for key in ("model", "val_loss", "val_accuracy"):
        need(result, key, record.folder)
    slug = record.folder.name[3:]  # without the number
    base = next((fit for fit in fits if fit.name == result.get("base")), None)
    comparison = evidence.against_base(record.name)
    cost = count_cost(record, num_train)
    history = record.history()
    params = dict(result.get("params", {}))
    interval = find_interval(result)
    noise = _name_noise(params)
    best_epoch = result.get("best_epoch")
    curve = None
    if history:
        if best_epoch is None:
            best_epoch = min(history, key=lambda row: row["val_loss"])["epoch"]
        curve = _draw_curve(record, history, float(best_epoch), noise, source, slug, figure_set)
    judged = evidence.stages.get(record.name)
    said = _read_curve(history, best_epoch) + _read_gain(result, comparison, base)
    return StageView(
        anchor=f"stage-{record.folder.name[:2]}",
        slug=slug,
        name=record.name,
        kind=record.kind,
        model=str(result["model"]),
        base=str(result["base"]) if result.get("base") else None,
        chosen=record.name == chosen,
        val_loss=float(result["val_loss"]),
        val_accuracy=float(result["val_accuracy"]),
        interval=interval,
        evidence=judged,
        comparison=comparison,
        best_epoch=None if best_epoch is None else float(best_epoch),
        num_epochs=float(result.get("epochs", len(history))),
        seconds=cost.seconds,
        num_images=cost.num_images,
        num_parameters=result.get("num_parameters"),
        params=_compare_params(params, base),
        settings=_list_settings(result),
        reading=" ".join(said),
        gate=_explain_gate(result),
        curve=curve,
        caption=_caption_curve(noise),
        calibration=_draw_calibration(record.name, judged, source, slug, figure_set)
        if judged
        else None,
        search=_view_search(record, space, num_train, source, slug, figure_set)
        if result.get("trials")
        else None,
        seeds=_view_seeds(record, base, source, slug, figure_set) if result.get("runs") else None,
        findings=[finding for finding in findings if finding.stage == record.name],
    )


def find_interval(result: Mapping[str, Any]) -> Interval | None:
    """Wilson 95 % interval of a stage's validation accuracy, if its images were counted."""
    num_val = result.get("num_val")
    if not num_val:
        return None
    correct = round(float(result["val_accuracy"]) * int(num_val))
    return wilson_interval(correct, int(num_val))


def _draw_curve(
    record: StageRecord,
    history: Sequence[Mapping[str, float]],
    best_epoch: float,
    noise: str,
    source: str,
    slug: str,
    figure_set: FigureSet,
) -> Markup:
    figure = figures.draw_curve(
        history, stage=record.name, source=source, best_epoch=best_epoch, noise=noise
    )
    titles, series = {}, {}
    for split, name in (("train", "training"), ("val", "validation")):
        for kind in ("loss", "accuracy"):
            titles[f"dots-{split}-{kind}"] = [
                f"epoch {row['epoch']:g}: {name} {kind} "
                + (
                    f"{row[f'{split}_loss']:.4f}"
                    if kind == "loss"
                    else f"{100 * row[f'{split}_accuracy']:.2f} %"
                )
                for row in history
            ]
            series[f"line-{split}-{kind}"] = series[f"dots-{split}-{kind}"] = name
    name = f"{slug}-curve"
    markup = figure_set.inline(
        name,
        figure,
        f"Training curve of {record.name} on {source}: loss and accuracy by epoch, training "
        "and validation.",
        titles,
        series,
    )
    figure_set.copy(name, record.folder / "curve")
    return markup


def _draw_calibration(
    name: str, judged: StageEvidence, source: str, slug: str, figure_set: FigureSet
) -> Markup:
    figure = evidence_figures.draw_calibration(
        judged.calibration,
        judged.mended,
        judged.temperature,
        title=f"Calibration of {figures.shorten(name, 22)}, validation",
        source=source,
    )
    return figure_set.inline(
        f"{slug}-calibration",
        figure,
        f"Accuracy against confidence of {name} on the validation images of {source}.",
        calibration_titles(judged.calibration, judged.mended),
    )


def calibration_titles(before: Any, after: Any) -> dict[str, list[str]]:
    """Texts for the marks of a calibration curve."""
    return {
        f"calibration-{kind}": [
            f"{b.num_images:,} images: confidence {100 * b.confidence:.2f} %, "
            f"accuracy {100 * b.accuracy:.2f} %"
            for b in found.bins
        ]
        for kind, found in (("before", before), ("after", after))
    }


def _view_search(
    record: StageRecord,
    space: Mapping[str, Range],
    num_train: int,
    source: str,
    slug: str,
    figure_set: FigureSet,
) -> SearchView:
    result = record.result
    trials = list(result["trials"])
    best = int(result["best_trial"])
    importances = dict(result.get("importances") or {})
    names = list(trials[0]["params"])
    steps = list_steps(record, num_train)
    about = {"stage": record.name, "source": source}
    told = {
        str(t["number"]): f"trial {t['number']}: "
        + (f"loss {t['loss']:.4f} after {t['epochs']:g} epochs; " if t["loss"] is not None else "")
        + ", ".join(f"{name} {show_value(t['params'][name])}" for name in names)
        for t in trials
    }
    shown = search_figures.scored(trials)
    progress = parallel = slices = rounds = None
    if any(step.loss is not None for step in steps):
        known = [step for step in steps if step.loss is not None]
        titles = {
            f"progress-{kind}-{number}": [
                f"trial {s.trial}, round {s.round} ({s.epochs:g} epochs): loss {s.loss:.4f}, "
                f"after {s.seconds:.1f} s"
                for s in known
                if s.round == number
            ]
            for kind in ("rounds", "seconds")
            for number in {s.round for s in known}
        }
        progress = figure_set.inline(
            f"{slug}-progress",
            search_figures.draw_progress(steps, **about),
            f"Lowest loss so far of the search of {record.name}, over rounds and seconds.",
            titles,
        )
        # One round and no importances: the pictures above have shown it all.
        if importances or len({step.epochs for step in known}) > 1:
            rounds = figure_set.inline(
                f"{slug}-rounds",
                search_figures.draw_rounds(trials, importances, best, **about),
                f"Losses of the trials of {record.name} in each round, and importances.",
                {f"rounds-{number}": [text] for number, text in told.items()},
            )
    drawn = {name: r for name, r in space.items() if name in names}
    if drawn and shown:
        if len(drawn) > 1:
            parallel = figure_set.inline(
                f"{slug}-parallel",
                search_figures.draw_parallel(trials, drawn, best, **about),
                f"Trials of {record.name} as lines through their values.",
                {f"parallel-{number}": [text] for number, text in told.items()},
            )
        slices = figure_set.inline(
            f"{slug}-slices",
            search_figures.draw_slices(trials, drawn, importances, best, **about),
            f"Each hyperparameter of {record.name} against the loss.",
            {f"slice-{at}": [told[str(t["number"])] for t in shown] for at in range(len(drawn))},
        )
    return SearchView(
        names=names,
        trials=[_list_trial(t, names, best) for t in rank_trials(trials)],
        failures=[(int(t["number"]), str(t["failure"])) for t in trials if t.get("failure")],
        said=_describe_search(record, num_train),
        selection=_describe_selection(result, len(trials)),
        progress=progress,
        parallel=parallel,
        slices=slices,
        rounds=rounds,
    )


def _list_trial(trial: Mapping[str, Any], names: Sequence[str], best: int) -> TrialRow:
    return TrialRow(
        number=int(trial["number"]),
        state=str(trial["state"]),
        num_rounds=len(trial["rungs"]),
        epochs=float(trial["epochs"]),
        first_loss=search_figures.first_loss(trial),
        loss=trial["loss"],
        accuracy=trial["accuracy"],
        seconds=float(trial["seconds"]),
        values=[show_value(trial["params"][name]) for name in names],
        won=int(trial["number"]) == best,
    )


def _describe_search(record: StageRecord, num_train: int) -> str:
    result = record.result
    cost = count_cost(record, num_train)
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


def _describe_selection(result: Mapping[str, Any], num_trials: int) -> str:
    """Name the selection bias: the winner's score against that of its refit."""
    own = (result.get("gate") or {}).get("rejected") or result
    refit = float(result.get("val_loss_mean", own["val_loss"]))
    mean = f", the mean of {len(result['runs'])} seeds" if result.get("runs") else ""
    folds = " (the mean over the folds of the training split)" if result.get("folds") else ""
    return (
        f"Trial {result['best_trial']} won with a loss of {float(result['trial_loss']):.4f}{folds}."
        f" As the lowest of {num_trials} this is optimistic: some of its lead is luck. Its refit, "
        f"trained anew by settings of its own, gives {refit:.4f}{mean}; of it only the epoch was "
        "picked by these images."
    )


def _view_seeds(
    record: StageRecord, base: StageRecord | None, source: str, slug: str, figure_set: FigureSet
) -> SeedsView:
    result = record.result
    runs, kept = list(result["runs"]), int(result["kept_run"])
    figure = search_figures.draw_seeds(
        runs,
        kept,
        (base.name, float(base.result["val_loss"])) if base else None,
        stage=record.name,
        source=source,
    )
    picture = figure_set.inline(
        f"{slug}-seeds",
        figure,
        f"Validation loss of {record.name} with each of {len(runs)} seeds.",
        {
            "seeds": [
                f"seed {run['seed']}: loss {run['val_loss']:.4f}, "
                f"accuracy {100 * run['val_accuracy']:.2f} %"
                for run in runs
            ]
        },
    )
    said = (
        f"With {len(runs)} seeds, all else the same, the validation loss is "
        f"{result['val_loss_mean']:.4f} ± {result['val_loss_deviation']:.4f} and the accuracy "
        f"{100 * result['val_accuracy_mean']:.2f} ± {100 * result['val_accuracy_deviation']:.2f} % "
        f"(mean ± standard deviation). Run {kept} has the lowest loss and is kept as the stage's "
        "model; as the best of several its figures are optimistic, the mean is what to expect."
    )
    return SeedsView(runs, kept, picture, said)


def _explain_gate(result: Mapping[str, Any]) -> str:
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


def _name_noise(params: Mapping[str, Any]) -> str:
    """Name what disturbs the training numbers: they are taken with it, validation without."""
    names = []
    if params.get("dropout_rate"):
        names.append("dropout")
    if any(operation.is_on(params) for operation in OPERATIONS):
        names.append("augmentation")
    return " and ".join(names)


def _caption_curve(noise: str) -> str:
    taken = "Training numbers are an average over each epoch, taken while the weights still change"
    if not noise:
        return f"{taken}; validation numbers are taken at its end."
    return (
        f"{taken} and with {noise} on; validation numbers are taken at its end with {noise} off. "
        "So validation may well look better than training."
    )


def _compare_params(params: Mapping[str, Any], base: StageRecord | None) -> list[ParamRow]:
    rows = []
    before = dict(base.result.get("params", {})) if base else {}
    for name, value in params.items():
        change = ""
        if base and name not in before:
            change = "new"
        elif base and before[name] != value:
            change = f"was {show_value(before[name])}"
        rows.append(ParamRow(name, show_value(value), change))
    return rows


def _list_settings(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what a fit was given besides its params; a tuning stage adds how it searched."""
    search = [
        (name, show_value(result[name]))
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
    return search + [(name, show_value(value)) for name, value in asked.items()]


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


def _read_gain(
    result: Mapping[str, Any], comparison: Comparison | None, base: StageRecord | None
) -> list[str]:
    """Say what a stage gained over its base, and whether the images suffice to show it."""
    if base is None:
        return []
    before, after = float(base.result["val_loss"]), float(result["val_loss"])
    points = 100 * (float(result["val_accuracy"]) - float(base.result["val_accuracy"]))
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
