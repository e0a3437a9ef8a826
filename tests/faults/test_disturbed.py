"""A whole study whose workers are killed and stopped: it ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish.runfolder.store import RunFolder

from . import TORTURE
from .conftest import Tally
from .study import describe_run, run_command, write_study

pytestmark = pytest.mark.skipif(
    not TORTURE or not sys.platform.startswith("linux"), reason="make torture, on Linux"
)

WORKERS = "kill -9 and SIGSTOP of a worker, hung worker, memory limit"

DRIVER = """
from burnish.tuning import watchdog
watchdog.SILENT_SECONDS = 6.0
from burnish.cli import main
main()
"""
"""burnish, with less patience."""


def find_workers(driver: int) -> list[int]:
    """Process numbers of workers: the driver's children, or those of its fork server."""
    family: dict[int, tuple[int, bytes]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            family[int(status.parent.name)] = parent, (status.parent / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue  # It ended meanwhile.
    servers = {pid for pid, (p, said) in family.items() if p == driver and b"forkserver" in said}
    return [
        pid
        for pid, (parent, said) in family.items()
        if parent in servers or (parent == driver and b"spawn_main" in said)
    ]


def test_a_study_whose_workers_are_killed_and_stopped_ends_as_ever(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    study = write_study(tmp_path)
    run = tmp_path / "run"
    command = [sys.executable, "-c", DRIVER, "run", str(study), "--out", str(run)]
    random_ = random.Random(7)
    struck: set[int] = set()
    faults = [signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL]
    with subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL) as driver:
        while driver.poll() is None:
            fresh = [pid for pid in find_workers(driver.pid) if pid not in struck]
            # A fit may lose one worker: the next one is struck at when a round is over.
            done = len(list(run.glob("stages/02-tuned/trials/*/round-*.json")))
            if faults and fresh and done > len(struck) - (not struck):
                time.sleep(random_.random())
                try:
                    os.kill(fresh[0], faults[0])
                except ProcessLookupError:
                    continue
                struck.add(fresh[0])
                faults.pop(0)
            time.sleep(0.01)
    assert driver.returncode == 0
    assert len(struck) >= 2
    assert describe_run(run) == describe_run(finished)
    tally(WORKERS, len(struck))


LIMITED = """
[study]
name = "limited"
[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }
[training]
batch_size = 50
max_epochs = 2
[[stage]]
name = "tuned"
kind = "tune"
model = "fnn"
sampler = "grid"
params = { num_hidden_layers = 2, learning_rate = 0.01 }
space = { hidden_layer_size = [8192, 16] }
[[stage]]
name = "final"
kind = "final"
"""


def test_a_trial_over_the_limit_of_memory_is_recorded_and_the_limit_is_no_part_of_the_study(
    tmp_path: Path, tally: Tally
) -> None:
    """Row: kill -9 and SIGSTOP of a worker, a hung worker, memory limit exceeded."""
    study, run = write_study(tmp_path, LIMITED), tmp_path / "run"
    done = run_command(study, run, "--memory-per-worker", "900MB")
    assert done.returncode == 0, done.stderr
    tuned = RunFolder(run).stages()[0].result
    large, small = tuned["trials"]
    assert (large["state"], small["state"]) == ("failed", "complete")
    assert large["failure"].startswith("its worker process took ")
    assert "0.90 GB are allowed (--memory-per-worker)" in large["failure"]
    assert tuned["params"]["hidden_layer_size"] == 16
    began = (run / "stages" / "01-tuned" / "result.json").stat().st_mtime_ns
    assert run_command(study, run).returncode == 0  # Without it: what stands is not run again.
    assert (run / "stages" / "01-tuned" / "result.json").stat().st_mtime_ns == began
    tally(WORKERS)
