"""A study of photographs with frozen features, that faults are caused in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import load_study

from ..support.photographs import cut_photographs
from .bench import describe_stages

STUDY = """
[study]
name = "photographs"
seed = 3

[data]
path = "photographs"
size = [32, 32]
split = { train = 12, val = 6, test = 6 }

[training]
batch_size = 4
max_epochs = 3

[[stage]]
name = "head"
kind = "tune"
model = "pretrained"
sampler = "random"
trials = 2
folds = 2
params = { views = 24, horizontal_flip = true, crop_range = 0.2 }
[stage.space]
learning_rate = [0.003, 0.01]

[[stage]]
name = "last-blocks"
kind = "train"
base = "head"
start_from = "head"
params = { num_trainable_blocks = 1, learning_rate = 0.0005 }

[[stage]]
name = "final"
kind = "final"
"""

ROWS = 12 * 24 + 6
"""Of each file of features; a process that is killed leaves 256 of them."""


class Ended(BaseException):
    """The run has come as far as it was to come."""


class Counter(Observer):
    """Notes how many rows of each file of features were there when it was begun, and all notes.

    Parameters
    ----------
    until
        The stage after which the run ends.
    """

    def __init__(self, until: str = "") -> None:
        self.until = until
        self.begun: list[int] = []
        self.notes: list[str] = []
        self._last = 0

    def features_computed(self, num_done: int, num_views: int) -> None:
        if not self._last or num_done < self._last:
            self.begun.append(num_done)
        self._last = 0 if num_done == num_views else max(1, num_done)

    def on_note(self, message: str) -> None:
        self.notes.append(message)

    def stage_finished(self, result: Any, *, reused: bool) -> None:
        if result["name"] == self.until:
            raise Ended


class Project:
    """A folder with photographs, the study, its run and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = folder / "photographs.toml"
        self.run = folder / "run"
        self.cache = folder / "cache"

    @property
    def features(self) -> Path:
        """Where features lie in the cache."""
        return self.cache / "burnish" / "features"

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Write the photographs and the study."""
        for number, image in enumerate(cut_photographs(24, 32)):
            place = folder / "photographs" / ("china", "flower")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number:02}.png")
        project = cls(folder)
        project.study.write_text(STUDY, encoding="utf-8")
        return project

    def copy(self, folder: Path) -> Project:
        """Copy it as it is."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Project(folder)

    def go_on(self, until: str = "") -> Counter:
        """Run the study in this process, or resume it, to its end or that of a stage."""
        observer = Counter(until)
        study, text = load_study(str(self.study))
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(self.cache))
            try:
                run_study(study, text, RunFolder(self.run), observer=observer, workers=1)
            except Ended:
                assert until
        return observer

    def kill_at(self, moment: str, count: int) -> None:
        """Run the study in a process that kills itself; see `_KILLED`."""
        code = _KILLED.format(root=str(Path(__file__).parents[2]))
        words = [sys.executable, "-c", code, str(self.study), str(self.run), moment, str(count)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr

    def start(self) -> subprocess.Popen[str]:
        """Start the study in a process of its own."""
        words = [sys.executable, "-m", "burnish", "run", str(self.study), "--out", str(self.run)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        return subprocess.Popen(
            [*words, "--workers", "1"], env=environment, stdout=subprocess.DEVNULL, text=True
        )

    def describe(self) -> dict[str, Any]:
        """Return what must be the same in two runs; of what has not ended, it raises."""
        described = describe_stages(self.run)
        assert list(described["results"]) == ["head", "last-blocks", "final"]
        return described


_KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from burnish.features.store import FeatureFile
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.study.parse import load_study

moment, left = sys.argv[3], [int(sys.argv[4])]
fit = importlib.import_module("burnish.training.fit")  # The package has a function of this name.
write, save = FeatureFile.write, fit.save_checkpoint

def end():
    os.kill(os.getpid(), signal.SIGKILL)

def write_and_end(self, compute, rows_at_once, on_progress):
    def tell(done, total):
        if done >= left[0]:
            end()
        on_progress(done, total)
    write(self, compute, rows_at_once, tell)

def save_and_end(*words):
    save(*words)
    left[0] -= 1
    if not left[0]:
        end()

if moment == "features":
    FeatureFile.write = write_and_end
else:
    fit.save_checkpoint = save_and_end
study, text = load_study(sys.argv[1])
run_study(study, text, RunFolder(Path(sys.argv[2])), workers=1)
"""
"""Kills itself while so many rows are there, or after so many checkpoints of a stage's own fit."""
