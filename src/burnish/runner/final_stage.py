"""The final stage: the best model of all stages, the test split, once, and the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.bundle import hash_file
from burnish.data import SealedTest
from burnish.evaluation import Mistakes, TestReading, read_test_split
from burnish.files import write_json
from burnish.models.saved import load_saved
from burnish.runfolder.clock import now
from burnish.runfolder.hard_images import write_hard_images
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import SplitPredictions, read_predictions, write_predictions
from burnish.runfolder.tables import read_arrays, write_arrays
from burnish.runner.kept_model import keep_model
from burnish.runner.stage_context import StageContext
from burnish.runner.stage_result import FinalResult, Selection
from burnish.stages.fit_requests import Results
from burnish.study.schema import FinalStage


def run_final_stage(
    context: StageContext, stage: FinalStage, sealed: SealedTest, provenance: Mapping[str, Any]
) -> FinalResult:
    """Choose the model with the lowest validation loss, read the test split, write the bundle.

    Parameters
    ----------
    context, stage
        The final stage and its inputs.
    sealed
        The test split; it is opened after the choice is recorded.
    provenance
        The record of the bundle's origin.
    """
    selection = select(context.results)
    chosen = context.results[selection.chosen]
    model_file = context.find_stage_dir(selection.chosen) / "model.keras"
    # From here on the choice is frozen; only then is the test split opened.
    write_json(context.stage_dir / "selection.json", selection.as_dict())
    test = _read_test_once(context, model_file, sealed).summary()
    write_hard_images(context.folder, context.stage_dir, selection.chosen, context.data.val)
    keep_model(context, chosen, test, provenance)
    return FinalResult(name=stage.name, selection=selection, chosen=chosen, test=test)


def select(results: Results) -> Selection:
    """Return the stage with the lowest validation loss; the first if several are equal."""
    chosen = min(results.values(), key=lambda result: float(result["val_loss"]))
    candidates = tuple(
        {key: result[key] for key in ("name", "val_loss", "val_accuracy")}
        for result in results.values()
    )
    return Selection(str(chosen["name"]), candidates)


def _read_test_once(context: StageContext, model_file: Path, sealed: SealedTest) -> TestReading:
    """Read the test split, unless this model's reading is recorded already."""
    digest = hash_file(model_file)
    found = _load_reading(context.stage_dir, digest)
    if found is None:
        reading, read_at = read_test_split(load_saved(model_file), sealed), now()
        _keep_reading(context.stage_dir, reading, digest, read_at)
    else:
        reading, read_at = found
    summary = reading.summary()
    entry = {
        "time": read_at,
        "model_sha256": digest,
        "reason": f"final stage of the study '{context.study.name}'",
        "num_images": summary["num_images"],
        "accuracy": summary["accuracy"],
        "loss": summary["loss"],
    }
    # The ledger has this reading already, unless the run was killed in between.
    if found is None or entry not in context.folder.readings():
        context.folder.append_reading(entry)
    return reading


def _keep_reading(stage_dir: Path, reading: TestReading, digest: str, read_at: str) -> None:
    mistakes = reading.mistakes
    # The predictions are written last: they make a reading complete.
    write_arrays(stage_dir / "mistakes.npz", index=mistakes.index, images=mistakes.images)
    facts = {"model_sha256": digest, "read_at": read_at}
    kept = SplitPredictions(reading.labels, reading.probabilities, facts, reading.names)
    write_predictions(stage_dir / PREDICTIONS, kept)


def _load_reading(stage_dir: Path, digest: str) -> tuple[TestReading, str] | None:
    """Return the reading in a final stage's folder and its time, if complete and of this model."""
    if not (stage_dir / PREDICTIONS).exists():
        return None
    kept = read_predictions(stage_dir / PREDICTIONS)
    # The mistakes are written first: if they are missing, they were damaged and set aside.
    if kept.facts.get("model_sha256") != digest or not (stage_dir / "mistakes.npz").exists():
        return None
    mistakes = read_arrays(stage_dir / "mistakes.npz")
    shown = Mistakes(mistakes["index"], mistakes["images"])
    reading = TestReading(kept.labels, kept.probabilities, shown, kept.names)
    return reading, kept.facts["read_at"]
