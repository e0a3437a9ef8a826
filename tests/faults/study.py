"""The study that faults are caused in, and what two runs of it must have in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

STUDY = """
[study]
name = "faults"
seed = 5

[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }

[training]
batch_size = 50
max_epochs = 2

[[stage]]
name = "start"
kind = "train"
model = "fnn"
params = { num_hidden_layers = 1, hidden_layer_size = 16, learning_rate = 0.003 }

[[stage]]
name = "tuned"
kind = "tune"
base = "start"
sampler = "random"
trials = 4
schedule = { name = "successive-halving", min_epochs = 1, max_epochs = 2, factor = 2 }
refit = { max_epochs = 2 }
[stage.space]
hidden_layer_size = [8, 16, 32]
learning_rate = { low = 0.001, high = 0.02, log = true }

[[stage]]
name = "final"
kind = "final"
"""
"""A fit with checkpoints, a search whose trials go on from theirs, and the test split."""

_CLOCK = frozenset({"seconds", "search_seconds", "time", "fingerprint", "workers", "model_sha256"})
"""Entries that say when, how fast or by which code; archives hold the time in their bytes."""

_DIGESTS = frozenset({"digest", "files"})
"""Entries that hold digests of what the clock is part of."""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write the study file into a folder."""
    path = folder / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return path


def command(study: Path, run: Path, *options: str) -> list[str]:
    """Return the command that runs the study with one worker, as a user would."""
    burnish = [sys.executable, "-m", "burnish.cli"]
    return [*burnish, "run", str(study), "--out", str(run), "--workers", "1", *options]


def run_command(
    study: Path,
    run: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run the study in a process of its own, to its end or its error."""
    return subprocess.run(
        command(study, run, *options),
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def describe_run(run: Path) -> dict[str, Any]:
    """Return what must be the same in two runs: stages, trials, weights, the test split's figures.

    Raises if anything of it is missing: a run that is described has ended.
    """
    results = [
        json.loads(path.read_text("utf-8")) for path in sorted(run.glob("stages/*/result.json"))
    ]
    assert [result["name"] for result in results] == ["start", "tuned", "final"]
    ledger = [
        json.loads(line) for line in (run / "test-ledger.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    return {
        "results": without_clock(results),
        "weights": {
            path.relative_to(run).as_posix(): hash_weights(path)
            for path in sorted([*run.glob("stages/*/model.keras"), run / "model" / "model.keras"])
        },
        "ledger": without_clock(ledger),
        "trials": without_clock(
            [
                json.loads(path.read_text("utf-8"))
                for path in sorted(run.glob("stages/*/trials/*/*.json"))
            ]
        ),
        "state": json.loads((run / "state.json").read_text("utf-8"))["state"],
    }


def hash_weights(model: Path) -> dict[str, str]:
    """Return the SHA-256 of every array of weights in a ``.keras`` file."""
    import h5py

    found: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = sha256(item[()].tobytes()).hexdigest()

    with (
        zipfile.ZipFile(model) as archive,
        h5py.File(BytesIO(archive.read("model.weights.h5")), "r") as weights,
    ):
        weights.visititems(visit)
    assert found
    return found


def without_clock(content: Any) -> Any:
    """Leave out, at any depth, what depends on the clock."""
    if isinstance(content, Mapping):
        return {k: without_clock(v) for k, v in content.items() if k not in _CLOCK | _DIGESTS}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [without_clock(part) for part in content]
    return content
