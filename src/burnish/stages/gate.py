"""The gate behind a stage: whether what it found may stand, or its base stays.

With ``gate = "must_beat_base"`` a stage's own model must have a lower loss on the validation
images than its base's by more than chance: the 95 % interval of the paired difference must lie
below zero. Otherwise the stage takes its base's params and model, and its own files go to
``rejected/`` in its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.files import write_whole
from burnish.runfolder.predictions import FILE as PREDICTIONS
from burnish.runfolder.predictions import read_predictions
from burnish.stages.stage_fit import KEPT
from burnish.stats.paired_tests import compare_means

_OWN = ("params", "val_loss", "val_accuracy", "best_epoch", "epochs", "num_parameters", "seed")
"""Figures of a fit that a rejected stage takes from its base."""


def apply_gate(
    result: Mapping[str, Any], stage_dir: Path, base: Mapping[str, Any], base_dir: Path
) -> dict[str, Any]:
    """Compare a stage with its base; if it fails, put the base's model and params in its folder.

    Parameters
    ----------
    result, stage_dir
        The stage's result from its own fit, and its folder.
    base, base_dir
        The same for its base.

    Returns
    -------
    The result with ``gate`` added: ``rule``, ``passed``, ``difference`` (mean loss of the
    stage minus that of its base, in nats), ``interval`` (95 %) and ``p_value``. If the base
    stays, ``rejected`` has the stage's own figures.
    """
    own, before = (read_predictions(folder / PREDICTIONS) for folder in (stage_dir, base_dir))
    weights = own.weights(str(result["settings"]["class_weight"]))
    found = compare_means(before.losses, own.losses, weights)
    passed = found.interval[1] < 0
    gate: dict[str, Any] = {
        "rule": "must_beat_base",
        "passed": passed,
        "difference": found.difference,
        "interval": list(found.interval),
        "p_value": found.p_value,
    }
    if passed:
        return {**result, "gate": gate}
    for name in KEPT:
        write_whole(stage_dir / "rejected" / name, (stage_dir / name).read_bytes())
        write_whole(stage_dir / name, (base_dir / name).read_bytes())
    gate["rejected"] = {name: result[name] for name in _OWN}
    return {**result, **{name: base[name] for name in _OWN}, "gate": gate}
