"""The page of a report: collects what a run folder holds and renders it as one HTML file."""

from __future__ import annotations

import base64
import io
import shlex
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from burnish.errors import RunFolderError
from burnish.files import read_json, write_whole
from burnish.metrics import balanced_accuracy
from burnish.report import figures
from burnish.study.store import RunFolder, StageRecord

_AUGMENTATION = ("rotation_range", "zoom_range", "width_shift_range", "height_shift_range")
_MAX_CONFUSIONS = 10


@dataclass(frozen=True)
class ParamRow:
    """One hyperparameter of a stage and how it stands to the base stage's."""

    name: str
    value: str
    change: str  # "", "was 0.2", "new"


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
    interval: tuple[float, float] | None
    best_epoch: int | None
    num_epochs: int
    seconds: float
    num_parameters: int | None
    params: Sequence[ParamRow]
    settings: Sequence[tuple[str, str]]
    reading: str
    curve: str | None
    caption: str


@dataclass(frozen=True)
class ClassRow:
    """How the final model does on one class; a rate without images to count is None."""

    name: str
    num_images: int
    num_wrong: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class FinalView:
    """The final stage as the page shows it."""

    chosen: str
    chosen_anchor: str
    model: str
    why: str
    accuracy: float
    interval: tuple[float, float]
    loss: float
    balanced: bool
    balanced_accuracy: float
    num_images: int
    num_correct: int
    classes: Sequence[ClassRow]
    confusions: Sequence[tuple[str, str, int, float]]
    confusion: str
    mistakes: str | None


def write_page(run: RunFolder) -> Path:
    """Draw the pictures of a run and write ``report/index.html``; return its path.

    Raises
    ------
    RunFolderError
        If the folder is not a run, has no finished stage yet, or cannot be read or written.
    """
    run.check()
    records = run.stages()
    fits = [record for record in records if record.kind != "final"]
    if not fits:
        raise RunFolderError(
            f"{run.path} has no finished stage yet, so there is nothing to report. "
            "Let 'burnish run' finish its first stage, then ask again."
        )
    final = next((record for record in records if record.kind == "final"), None)
    provenance = read_json(run.path / "provenance.json")
    state = read_json(run.path / "state.json") if (run.path / "state.json").exists() else {}
    data = _need(provenance, "data", run.path / "provenance.json")
    source = str(_need(data, "source", run.path / "provenance.json"))
    chosen = str(_need(final.result, "chosen", final.folder)) if final else None

    drawn: set[str] = set()
    stages = [_view_stage(run, record, fits, chosen, source, drawn) for record in fits]
    comparison = _embed(
        figures.save(
            figures.draw_comparison(
                [stage.name for stage in stages],
                [stage.val_loss for stage in stages],
                [stage.val_accuracy for stage in stages],
                [stage.interval for stage in stages],
                chosen=chosen,
                source=source,
            ),
            _picture(run, "comparison", drawn),
        )
    )
    final_view = _view_final(run, final, stages, data, source, drawn) if final else None
    _remove_stale(run, drawn)

    study_text = run.study_file.read_text(encoding="utf-8", errors="replace")
    planned = _read_plan(study_text)
    done = {record.name for record in records}
    seconds = [stage.seconds for stage in stages]
    if final:
        seconds.append(float(final.result.get("seconds", 0.0)))
    page = (
        _templates()
        .get_template("report.html")
        .render(
            study=str(state.get("study") or planned.name or run.path.name),
            source=source,
            data=data,
            state=str(state.get("state", "unknown")),
            stages=stages,
            pending=[name for name in planned.stages if name not in done],
            final=final_view,
            comparison=comparison,
            readings=run.readings(),
            # A run that was resumed may count only its last sitting; its stages count them all.
            seconds=max(float(state.get("seconds") or 0.0), sum(seconds)),
            provenance=_list_provenance(provenance, data),
            seed=provenance.get("study_seed"),
            command=_write_command(provenance.get("command")),
            study_text=study_text,
            has_trials=any(stage.kind == "tune" for stage in stages),
            max_mistakes=figures.MAX_MISTAKES,
        )
    )
    path = run.report / "index.html"
    write_whole(path, page.encode())
    return path


# ---- stages


def _view_stage(
    run: RunFolder,
    record: StageRecord,
    fits: Sequence[StageRecord],
    chosen: str | None,
    source: str,
    drawn: set[str],
) -> StageView:
    result = record.result
    for key in ("model", "val_loss", "val_accuracy"):
        _need(result, key, record.folder)
    base = next((fit for fit in fits if fit.name == result.get("base")), None)
    history = record.history()
    params = dict(result.get("params", {}))
    interval = _find_interval(result)
    noise = _name_noise(params)
    best_epoch = result.get("best_epoch")
    curve = None
    if history:
        if best_epoch is None:
            best_epoch = int(min(history, key=lambda row: row["val_loss"])["epoch"])
        figure = figures.draw_curve(
            history, stage=record.name, source=source, best_epoch=int(best_epoch), noise=noise
        )
        slug = record.folder.name[3:]  # without the number
        svg = figures.save(figure, record.folder / "curve", _picture(run, f"{slug}-curve", drawn))
        curve = _embed(svg)
    return StageView(
        anchor=f"stage-{record.folder.name[:2]}",
        name=record.name,
        kind=record.kind,
        model=str(result["model"]),
        base=str(result["base"]) if result.get("base") else None,
        chosen=record.name == chosen,
        val_loss=float(result["val_loss"]),
        val_accuracy=float(result["val_accuracy"]),
        interval=interval,
        best_epoch=None if best_epoch is None else int(best_epoch),
        num_epochs=int(result.get("epochs", len(history))),
        seconds=float(result.get("seconds", 0.0)),
        num_parameters=result.get("num_parameters"),
        params=_compare_params(params, base),
        settings=_list_settings(result),
        reading=" ".join(_read_curve(history, best_epoch) + _read_gain(result, interval, base)),
        curve=curve,
        caption=_caption_curve(noise),
    )


def _find_interval(result: Mapping[str, Any]) -> tuple[float, float] | None:
    """Wilson 95 % interval of a stage's validation accuracy, if its images were counted."""
    from scipy.stats import binomtest

    num_val = result.get("num_val")
    if not num_val:
        return None
    correct = round(float(result["val_accuracy"]) * int(num_val))
    interval = binomtest(correct, int(num_val)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _name_noise(params: Mapping[str, Any]) -> str:
    """Name what disturbs the training numbers: they are taken with it, validation without."""
    names = []
    if params.get("dropout_rate"):
        names.append("dropout")
    if any(params.get(name) for name in _AUGMENTATION):
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
            change = f"was {_show(before[name])}"
        rows.append(ParamRow(name, _show(value), change))
    return rows


def _list_settings(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what a fit was given besides its params; a tuning stage adds how it searched."""
    search = [
        (name, _show(result[name]))
        for name in ("sampler", "schedule", "num_trials", "folds")
        if result.get(name) is not None
    ]
    # What "auto" came to is what a reader wants to know.
    asked = dict(result.get("settings", {}))
    if result.get("precision"):
        asked["precision"] = result["precision"]
    return search + [(name, _show(value)) for name, value in asked.items()]


def _read_curve(history: Sequence[Mapping[str, float]], best_epoch: int | None) -> list[str]:
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
    result: Mapping[str, Any], interval: tuple[float, float] | None, base: StageRecord | None
) -> list[str]:
    """Say what a stage gained over its base, and whether the images suffice to show it."""
    if base is None:
        return []
    before, after = float(base.result["val_loss"]), float(result["val_loss"])
    points = 100 * (float(result["val_accuracy"]) - float(base.result["val_accuracy"]))
    change = f" ({_sign(100 * (after / before - 1), 0)} %)" if before else ""
    said = (
        f"Against its base {base.name}: loss {before:.4f} to {after:.4f}{change}, "
        f"accuracy {_sign(points, 2)} points."
    )
    base_interval = _find_interval(base.result)
    if interval and base_interval:
        apart = interval[0] > base_interval[1] or interval[1] < base_interval[0]
        if not apart:
            said += (
                " The 95 % intervals of the two accuracies overlap, "
                "so they show no difference in accuracy."
            )
    return [said]


def _sign(value: float, num_decimals: int) -> str:
    return f"{value:+.{num_decimals}f}".replace("-", "\N{MINUS SIGN}")


# ---- the final stage


def _view_final(
    run: RunFolder,
    record: StageRecord,
    stages: Sequence[StageView],
    data: Mapping[str, Any],
    source: str,
    drawn: set[str],
) -> FinalView:
    from sklearn.metrics import confusion_matrix

    result = record.result
    test = _need(result, "test", record.folder)
    arrays = _read_arrays(record.folder / "predictions.npz", ("labels", "probabilities"))
    labels, probabilities = arrays["labels"], arrays["probabilities"]
    num_classes = probabilities.shape[1]
    names = [str(name) for name in data.get("class_names") or range(num_classes)]
    if len(names) != num_classes:
        raise RunFolderError(
            f"{record.folder / 'predictions.npz'} has {num_classes} classes, but "
            f"provenance.json names {len(names)}: the files are not of the same run. "
            "Run the study again in a new folder."
        )
    predicted = probabilities.argmax(axis=1)
    counts = confusion_matrix(labels, predicted, labels=np.arange(num_classes))
    confusion = figures.save(
        figures.draw_confusion(counts, names, source=source), _picture(run, "confusion", drawn)
    )
    mistakes = None
    wrong = _read_arrays(record.folder / "mistakes.npz", ("index", "images"))
    index = wrong["index"].astype(int)
    if len(index):
        mistakes = _embed(
            figures.save(
                figures.draw_mistakes(
                    wrong["images"],
                    [names[label] for label in labels[index]],
                    [names[label] for label in predicted[index]],
                    [float(p) for p in probabilities[index, predicted[index]]],
                    source=source,
                    num_wrong=int((labels != predicted).sum()),
                ),
                _picture(run, "mistakes", drawn),
            )
        )
    chosen = str(result["chosen"])
    anchors = {stage.name: stage.anchor for stage in stages}
    low, high = test["accuracy_interval"]
    return FinalView(
        chosen=chosen,
        chosen_anchor=anchors.get(chosen, "stages"),
        model=str(result.get("model", "")),
        why=_explain_choice(chosen, stages),
        accuracy=float(test["accuracy"]),
        interval=(float(low), float(high)),
        loss=float(test["loss"]),
        balanced=result.get("class_weight") == "balanced",
        balanced_accuracy=balanced_accuracy(probabilities, labels),
        num_images=int(test["num_images"]),
        num_correct=int(test["num_correct"]),
        classes=_rate_classes(labels, predicted, names),
        confusions=_list_confusions(counts, names),
        confusion=_embed(confusion),
        mistakes=mistakes,
    )


def _explain_choice(chosen: str, stages: Sequence[StageView]) -> str:
    ranked = sorted(stages, key=lambda stage: stage.val_loss)
    if ranked[0].name != chosen:
        return f"The study's own objective chose {chosen}."
    if len(ranked) == 1:
        return f"There was one candidate, {chosen}."
    return (
        f"Of {len(ranked)} stages, {chosen} has the lowest validation loss, "
        f"{ranked[0].val_loss:.4f}; next is {ranked[1].name} with {ranked[1].val_loss:.4f}."
    )


def _rate_classes(
    labels: NDArray[Any], predicted: NDArray[Any], names: Sequence[str]
) -> list[ClassRow]:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(names)), zero_division=0
    )
    rows = []
    for number, name in enumerate(names):
        present = bool(support[number])
        given = bool((predicted == number).any())
        rows.append(
            ClassRow(
                name=name,
                num_images=int(support[number]),
                num_wrong=int(((labels == number) & (predicted != number)).sum()),
                precision=float(precision[number]) if given else None,
                recall=float(recall[number]) if present else None,
                f1=float(f1[number]) if present or given else None,
            )
        )
    return rows


def _list_confusions(
    counts: NDArray[Any], names: Sequence[str]
) -> list[tuple[str, str, int, float]]:
    """List the most frequent errors: true class, predicted class, images, share of the class."""
    errors = [
        (int(counts[row, column]), int(row), int(column))
        for row, column in np.argwhere(counts > 0)
        if row != column
    ]
    errors.sort(key=lambda error: (-error[0], error[1], error[2]))
    return [
        (names[row], names[column], count, count / int(counts[row].sum()))
        for count, row, column in errors[:_MAX_CONFUSIONS]
    ]


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        # From memory: np.load leaves a file that it cannot read open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}); the final stage writes it with the arrays "
            f"{', '.join(names)}. Run the study again: the final stage is done anew."
        ) from error


# ---- the whole


@dataclass(frozen=True)
class _Plan:
    name: str | None
    stages: Sequence[str]


def _read_plan(study_text: str) -> _Plan:
    """Read from the study file what the run was to do; empty if that cannot be read."""
    try:
        content = tomllib.loads(study_text)
        return _Plan(
            content.get("study", {}).get("name"),
            [str(stage["name"]) for stage in content.get("stage", [])],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Plan(None, [])


def _list_provenance(
    provenance: Mapping[str, Any], data: Mapping[str, Any]
) -> list[tuple[str, str]]:
    shown = {**provenance, **{f"data {name}": value for name, value in data.items()}}
    for name in ("data", "command", "data class_names"):
        shown.pop(name, None)
    return [(name.replace("_", " "), _show(value)) for name, value in shown.items()]


def _write_command(command: Any) -> str:
    if isinstance(command, list):
        return shlex.join(str(word) for word in command)
    return str(command or "")


def _need(content: Mapping[str, Any], key: str, where: Path) -> Any:
    if key not in content:
        raise RunFolderError(
            f"the record in {where} has no '{key}'; it was written by another version of "
            "burnish or changed by hand. Run the study again in a new folder."
        )
    return content[key]


def _picture(run: RunFolder, name: str, drawn: set[str]) -> Path:
    drawn.add(name)
    return run.report / "figures" / name


def _remove_stale(run: RunFolder, drawn: set[str]) -> None:
    """Remove pictures of an earlier report whose stage or mistakes are no more."""
    for path in (run.report / "figures").glob("*"):
        if path.suffix in {".png", ".svg"} and path.stem not in drawn:
            path.unlink(missing_ok=True)


def _embed(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _show(value: Any) -> str:
    """Write a value as a reader expects it.

    >>> _show({"name": "one-cycle", "peak": 0.004}), _show([28, 28, 1]), _show(None)
    ('name = one-cycle, peak = 0.004', '28, 28, 1', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_show(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_show(part) for part in value)
    return str(value)


def show_duration(seconds: float) -> str:
    """Write a duration.

    >>> [show_duration(seconds) for seconds in (4.26, 75, 3_700)]
    ['4.3 s', '1 min 15 s', '1 h 02 min']
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("burnish.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        loss=lambda value: f"{value:.4f}",
        percent=lambda value: f"{100 * value:.2f} %",
        count=lambda value: f"{value:,}",
        duration=show_duration,
    )
    return environment
