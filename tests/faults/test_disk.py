"""The disk that a study needs: forecast, measured, and looked for before the start."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from burnish.data import load_source, prepare
from burnish.errors import RunFolderError
from burnish.planning.disk import DiskForecast, forecast_disk
from burnish.report import write_report
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.study.parse import parse_study

from . import TORTURE
from .conftest import Tally
from .study import STUDY, describe_run, run_command, write_study

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROW = "disk forecast, bounded, checked before the start"

Usage = namedtuple("Usage", "total used free")

_HEAD = """
[study]
name = "space"
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
params = { num_hidden_layers = 1, hidden_layer_size = 16 }
"""

_SMALL = "num_hidden_layers = 1, hidden_layer_size = 16"

_SEARCH = """
[[stage]]
name = "tuned"
kind = "tune"
base = "start"
sampler = "random"
trials = 8
params = { num_hidden_layers = 2, hidden_layer_size = 1000 }
schedule = { name = "successive-halving", min_epochs = 1, max_epochs = 4, factor = 2 }
[stage.space]
learning_rate = { low = 0.001, high = 0.02, log = true }
"""

_FINAL = """
[[stage]]
name = "final"
kind = "final"
"""

STUDIES = {
    "small": _HEAD + _FINAL,
    "large": _HEAD.replace(_SMALL, "num_hidden_layers = 2, hidden_layer_size = 1500") + _FINAL,
    "search": STUDY,
    "large search": _HEAD + _SEARCH + _FINAL,
}
"""What the report takes, what networks take, and what checkpoints of trials take."""


def forecast(text: str) -> DiskForecast:
    study, _ = parse_study(text, "the test's study")
    data, sealed = prepare(load_source("digits", None), study.data.split.sizes(), study.seed)
    return forecast_disk(study, data, sealed.num_images, workers=1)


def run_here(text: str, folder: Path, **options: Any) -> None:
    study, text = parse_study(text, "the test's study")
    run_study(study, text, RunFolder(folder), workers=1, **options)


class Gauge:
    """Looks at a folder, in a thread, until it is left; the most bytes that it took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak = 0

    def __enter__(self) -> Gauge:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._left.wait(0.01):
            self._look()

    def _look(self) -> None:
        taken = 0
        for base, _, names in os.walk(self._folder):
            for name in [".", *names]:
                try:
                    taken += os.lstat(f"{base}/{name}").st_blocks * 512
                except OSError:
                    continue
        self.peak = max(self.peak, taken)


@pytest.mark.parametrize("name", ["large", *TORTURE * ["small", "search", "large search"]])
def test_a_run_takes_what_was_forecast(name: str, tmp_path: Path, tally: Tally) -> None:
    """The disk that a study needs is bounded, and forecast by `plan`."""
    expected = forecast(STUDIES[name])
    with Gauge(tmp_path) as gauge:
        run_here(STUDIES[name], tmp_path)
        if TORTURE:  # Of this network's megabytes it would be a small part.
            write_report(RunFolder(tmp_path))
    assert gauge.peak <= expected.peak <= 3 * gauge.peak
    assert not list(tmp_path.rglob("*.npz.*"))
    assert not list(tmp_path.glob("stages/*/trials/*/*.npz"))
    tally(ROW)


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The free disk that the system tells, which the test sets."""
    free = [0]

    def tell(path: Path) -> Usage:
        assert Path(path) == tmp_path
        return Usage(10**12, 10**12 - free[0], free[0])

    monkeypatch.setattr("burnish.planning.disk.shutil.disk_usage", tell)
    return free


def test_too_little_disk_is_one_error_before_anything_is_fitted(
    little: list[int], tmp_path: Path, tally: Tally
) -> None:
    """The disk that a study needs is checked before the start."""
    needed = forecast(STUDIES["small"]).peak
    little[0] = needed // 2
    with pytest.raises(RunFolderError) as caught:
        run_here(STUDIES["small"], tmp_path)
    said = str(caught.value)
    assert f"{tmp_path} has {needed / 2e6:.1f} MB of free disk" in said
    assert f"needs {needed / 1e6:.1f} MB there" in said
    assert "--skip-disk-check" in said
    assert not (tmp_path / "stages").exists()
    # Anyway; and then what stands already need not be free once more.
    run_here(STUDIES["small"], tmp_path, check_disk=False)
    standing = sum(path.lstat().st_size for path in tmp_path.rglob("*"))
    little[0] = needed - standing + 100_000
    run_here(STUDIES["small"], tmp_path)
    little[0] = needed - standing - 100_000
    with pytest.raises(RunFolderError, match="of free disk"):
        run_here(STUDIES["small"], tmp_path)
    tally(ROW, 2)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_on_a_small_disk_a_run_begins_when_there_is_room(tmp_path: Path, tally: Tally) -> None:
    """The disk that a study needs is checked before the start."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    small = tmp_path / "small"
    small.mkdir()
    if mount is None or umount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("making a small disk needs root")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False)
    if made.returncode:
        pytest.skip("no disk may be made here")
    try:
        study = write_study(tmp_path)
        refused = run_command(study, small / "run")
        assert refused.returncode == 2
        assert "of free disk" in refused.stderr
        assert "Traceback" not in refused.stderr
        remount = [mount, "-o", "remount,size=60m", str(small)]
        subprocess.run(remount, check=True)
        done = run_command(study, small / "run")
        assert done.returncode == 0, done.stderr
        describe_run(small / "run")
    finally:
        subprocess.run([umount, str(small)], check=False)
    tally(ROW)
