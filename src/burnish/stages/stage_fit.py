"""A stage's own fit, once or with several seeds, and what is kept of it.

    history.csv  model.keras  predictions.parquet     of the kept fit
    seeds/2/...  with its result.json                 of every fit, if there are several

When a killed run resumes, a fit recorded under ``seeds`` is not done again.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data import Dataset
from burnish.errors import BurnishError, StudyError, TrainingError, describe_exception
from burnish.files import make_folder, read_json, write_json, write_whole, written_whole
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import SplitPredictions, write_predictions
from burnish.runfolder.tables import write_history
from burnish.training import (
    FitRequest,
    FitResult,
    Progress,
    fit,
    predict_val,
    restore_model,
)

KEPT = ("history.csv", "model.keras", PREDICTIONS)
"""Files that a fit leaves."""

Watch = Callable[[], Callable[[Progress], None]]
"""Returns a new progress callback for each fit."""


def fit_stage(
    request: FitRequest, seeds: Sequence[int], stage_dir: Path, data: Dataset, watch: Watch
) -> dict[str, Any]:
    """Fit a stage's model with each seed, and keep the fit with the lowest val loss.

    Parameters
    ----------
    request
        What to fit, with its checkpoint in ``stage_dir``; its seed is replaced.
    seeds
        One seed per fit; everything random in the fit derives from it.
    stage_dir
        Folder of the stage.
    data
        Train and validation splits.
    watch
        Returns the progress callback of a fit.

    Returns
    -------
    Content for the stage's ``result.json``: the request and the figures of the kept fit. With
    several seeds it also has ``runs`` (the figures of each fit), ``val_loss_mean``,
    ``val_loss_std`` and the same for ``val_accuracy``; ``seconds`` is then their sum.
    """
    if len(seeds) == 1:
        return _fit_and_keep(replace(request, seed=seeds[0]), stage_dir, data, watch)
    runs = []
    for number, seed in enumerate(seeds, start=1):
        folder = stage_dir / "seeds" / str(number)
        own = replace(request, seed=seed, checkpoint=folder / "checkpoint.npz")
        runs.append(_find_run(folder, own) or _fit_run(folder, own, data, watch))
    kept = min(range(len(runs)), key=lambda number: float(runs[number]["val_loss"]))
    for name in KEPT:
        write_whole(stage_dir / name, (stage_dir / "seeds" / str(kept + 1) / name).read_bytes())
    figures = ("seed", "val_loss", "val_accuracy", "best_epoch", "epochs", "seconds")
    return {
        **runs[kept],
        "seconds": sum(run["seconds"] for run in runs),
        "kept_run": kept + 1,
        "runs": [{name: run[name] for name in figures} for run in runs],
        **_spread(runs, "val_loss"),
        **_spread(runs, "val_accuracy"),
    }


@contextmanager
def stage_named(name: str) -> Iterator[None]:
    """Add the stage's name to an error of a fit or a proposal."""
    try:
        yield
    except (TrainingError, StudyError) as error:
        raise type(error)(f"stage '{name}': {error}") from error


def _find_run(folder: Path, request: FitRequest) -> dict[str, Any] | None:
    """Return the recorded result of a fit, if it belongs to this request."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result = read_json(path)
    # Compared as JSON, where a tuple and a list are the same.
    asked = json.loads(json.dumps(request.identity()))
    return result if all(result.get(key) == value for key, value in asked.items()) else None


def _fit_run(folder: Path, request: FitRequest, data: Dataset, watch: Watch) -> dict[str, Any]:
    if folder.exists() and (folder / "result.json").exists():
        shutil.rmtree(folder)
    make_folder(folder)
    result = _fit_and_keep(request, folder, data, watch)
    write_manifest(folder)
    write_json(folder / "result.json", result)
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    return result


def _fit_and_keep(
    request: FitRequest, stage_dir: Path, data: Dataset, watch: Watch
) -> dict[str, Any]:
    """Fit, keep history, weights and predictions, and describe them."""
    try:
        fitted = fit(request, data, watch())
    except BurnishError:
        raise
    except Exception as error:  # A layer or a callback from outside, or memory that ran out.
        raise TrainingError(
            f"the fit of '{request.model}' failed: {describe_exception(error)}"
        ) from error
    write_history(stage_dir / "history.csv", [asdict(epoch) for epoch in fitted.history])
    model = restore_model(request, fitted.weights, data)
    save_model(stage_dir / "model.keras", model)
    probabilities = predict_val(request, fitted.weights, data, model)
    predictions = SplitPredictions(data.val.labels, probabilities, names=data.val.names)
    write_predictions(stage_dir / PREDICTIONS, predictions)
    result = {**request.identity(), **_summarise(fitted), "num_val": len(data.val)}
    result["num_parameters"] = int(model.count_params())  # Its frozen part's, too.
    if fitted.pace:
        result["pace"] = [list(decision) for decision in fitted.pace]
    if request.settings.averages_views:
        # The fit's predictions used the images alone; the kept ones use other views as well.
        weights = predictions.weights(request.settings.class_weight)
        result |= {
            "val_loss": float(np.average(predictions.losses, weights=weights)),
            "val_accuracy": float(predictions.right.mean()),
        }
    return result


def _summarise(fitted: FitResult) -> dict[str, Any]:
    names = (
        "val_loss",
        "val_accuracy",
        "best_epoch",
        "epochs",
        "seconds",
        "num_parameters",
        "precision",
        "stopped_early",
    )
    return {name: getattr(fitted, name) for name in names}


def _spread(runs: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    values = [float(run[name]) for run in runs]
    return {
        f"{name}_mean": math.fsum(values) / len(values),
        f"{name}_std": statistics.stdev(values),
    }


def save_model(path: Path, model: Any) -> None:
    """Save a Keras model whole or not at all."""
    with written_whole(path, ".keras") as temporary:
        model.save(temporary)
