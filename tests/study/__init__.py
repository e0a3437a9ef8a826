"""What the tests of studies share: a tiny study on digits, which runs in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.files import read_json
from burnish.runfolder.store import RunFolder
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

TINY = """
[study]
name = "tiny"
seed = 7

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
batch_size = 32
max_epochs = 3

[[stage]]
name = "first"
kind = "train"
model = "fnn"
params = { learning_rate = 0.001 }

[[stage]]
name = "second"
kind = "train"
base = "first"
params = { hidden_layer_size = 32, learning_rate = 0.02 }

[[stage]]
name = "alone"
kind = "train"
model = "fnn"
params = { num_hidden_layers = 0, learning_rate = 0.0001 }

[[stage]]
name = "final"
kind = "final"
"""
FINAL = '[[stage]]\nname = "final"'

FIRST = TINY[: TINY.index('[[stage]]\nname = "second"')] + TINY[TINY.index(FINAL) :]
"""Of the tiny study the first stage alone, and the final one."""


def run_here(
    folder: Path,
    text: str = TINY,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
) -> RunFolder:
    """Run a study in this process."""
    from burnish.runner.run import run_study

    study, text = parse_study(text, "the test's study", overrides)
    run = RunFolder(folder)
    run_study(study, text, run, observer=observer, command="burnish run tiny")
    return run


def read_result(run: RunFolder, stage: str) -> dict[str, Any]:
    """Read the result.json of the stage of that name."""
    (path,) = (run.path / "stages").glob(f"[0-9][0-9]-{stage}/result.json")
    return read_json(path)
