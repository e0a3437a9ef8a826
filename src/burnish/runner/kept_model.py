"""The best model of a run as a bundle: of a finished one, and of one that goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.bundle import BundleFacts, write_bundle
from burnish.bundle.contract import ONNX_MODEL
from burnish.bundle.export import certificate_file, export_model
from burnish.bundle.formats.onnx import ONNX
from burnish.data import Dataset
from burnish.errors import ExportError, StudyError
from burnish.models import find_family, sum_operations
from burnish.models.saved import load_saved
from burnish.planning.shares import has_shares
from burnish.runner.stage_context import StageContext

INTERIM_IMAGES, TIMED_IMAGES = 64, 256
"""Validation images that certify the ONNX network: while a run with shares goes on, and at its end.
Where there is time, all of them do."""

SPEED = 4e10
"""Floating-point operations a second of a prediction by TensorFlow: what two cores reach with
depthwise convolutions, which are the slowest (EfficientNet-Lite0: 75 images/s of 0.8e9)."""


def keep_model(
    context: StageContext,
    chosen: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
) -> None:
    """Write the bundle of a stage's model into the run folder.

    Parameters
    ----------
    context
        The stage that writes it.
    chosen
        The result of the stage whose model it is.
    test
        Figures on the test split; ``None`` while the run goes on, which has not opened it.
    provenance
        The record of the bundle's origin.
    """
    model_file = context.find_stage_dir(chosen["name"]) / "model.keras"
    num_images = None
    if has_shares(context.study):
        num_images = INTERIM_IMAGES if test is None else TIMED_IMAGES
    exports = _export_network(context, model_file, _take_few(context.data, num_images))
    facts = _describe_bundle(context, chosen, test, provenance)
    write_bundle(context.folder.model, model_file, facts, exports)


def forecast_final(model_file: Path, num_test: int, num_val: int) -> float:
    """Return about how many seconds the test split and the final certificate take.

    Parameters
    ----------
    model_file
        The model that is the best so far.
    num_test, num_val
        Images of the splits.
    """
    try:
        operations = sum_operations(load_saved(model_file))
    except StudyError:  # They cannot be counted.
        return 0.0
    # The certificate needs Keras, and onnxruntime beside it.
    return (num_test + 2 * min(num_val, TIMED_IMAGES)) * operations / SPEED


def _take_few(data: Dataset, num_images: int | None) -> Dataset:
    """Return a data set with some validation images from all over the split."""
    if num_images is None or len(data.val) <= num_images:
        return data
    picked = np.linspace(0, len(data.val) - 1, num_images).astype(np.int64)
    return replace(data, val=data.val.take(picked))


def _describe_bundle(
    context: StageContext,
    chosen: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
) -> BundleFacts:
    data = context.data
    return BundleFacts(
        study=context.study.name,
        study_fingerprint=context.fingerprint,
        stage=chosen["name"],
        family=chosen["model"],
        params=chosen["params"],
        spec=data.input,
        class_names=data.class_names,
        source=data.source,
        data_fingerprint=data.fingerprint,
        validation={
            "accuracy": chosen["val_accuracy"],
            "loss": chosen["val_loss"],
            "num_images": len(data.val),
        },
        test=test,
        num_parameters=chosen["num_parameters"],
        provenance=provenance,
        credit=find_family(chosen["model"]).credit(chosen["params"]),
    )


def _export_network(context: StageContext, model_file: Path, data: Dataset) -> list[Path]:
    """Write the chosen model as ONNX, certified on validation images.

    A plug-in's family may use what ONNX lacks. Then the study continues without ONNX.
    """
    scratch = context.folder.path / ".scratch" / "export"
    if scratch.exists():
        shutil.rmtree(scratch)
    network = scratch / ONNX_MODEL
    try:
        export_model(model_file, network, ONNX, data)
    except ExportError as error:
        context.observer.on_note(
            f"{context.folder.model} has no {ONNX_MODEL}, so that it can neither be served nor "
            f"used by 'burnish predict' or burnish.load, only by Keras: {error}"
        )
        return []
    return [network, certificate_file(network)]
