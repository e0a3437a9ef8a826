"""Fingerprints: what a stage's result depends on, and the seeds that derive from names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from burnish.files import hash_code

CODE = (
    "backend.py",
    "evaluation.py",
    "metrics.py",
    "onnx_runtime.py",
    "recipe.py",
    "registry.py",
    "space.py",
    "augmentation",
    "data",
    "features",
    "models",
    "runfolder/earlier_trials.py",
    "runfolder/journal.py",
    "runfolder/predictions.py",
    "runner/final_stage.py",
    "runner/stage_context.py",
    "runner/stage_gate.py",
    "runner/stage_result.py",
    "runner/train_stage.py",
    "runner/tune_stage.py",
    "stages",
    "stats",
    "training",
    "tuning",
)
"""Modules, and packages of them, that a stage's result passes through.

No other module can change a stage's result. ``tests/stages/test_fingerprint.py`` gives the reason
for each module that ``runner/run.py`` imports.
"""


def fingerprint(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain data in hexadecimal; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def code_fingerprint() -> str:
    """Return the SHA-256 of the source code that a stage's result depends on.

    It covers the code itself, not a version number. Otherwise whoever changes the code in a
    checkout would see the old code's results.
    """
    return hash_code(CODE)


def derive_seed(study_seed: int, stage: str, trial: int) -> int:
    """Return a 32-bit seed that depends only on study seed, stage and trial number."""
    name = f"{study_seed}/{stage}/{trial}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
