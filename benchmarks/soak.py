"""Soak: hundreds of tiny trials in one run, and what driver and workers take meanwhile.

    python benchmarks/soak.py [--trials 300] [--workers 2]

One study on `digits`: a search of that many trials of small feed-forward networks, one epoch
each. Sampled twice a second: memory of the driver and of each worker beyond mapped files
(RssAnon and RssShmem of /proc), open file handles, threads, checkpoints and the disk of the
run folder. Printed by numbers of finished trials; then how much each grew a trial after the
first 50 (a straight line through the samples, workers by their incarnation), and the peaks.
Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.tuning.watchdog import measure_memory

SETTLED = 50
"""Trials after which nothing may grow any more."""

STUDY = """
[study]
name = "soak"
[data]
source = "digits"
split = {{ train = 1_197, val = 300, test = 300 }}
[training]
batch_size = 128
[[stage]]
name = "tuned"
kind = "tune"
model = "fnn"
sampler = "random"
trials = {trials}
schedule = {{ name = "full", max_epochs = 1 }}
refit = {{ max_epochs = 2 }}
[stage.space]
hidden_layer_size = [16, 32, 64]
learning_rate = {{ low = 0.0001, high = 0.01, log = true }}
dropout_rate = {{ low = 0.0, high = 0.5 }}
[[stage]]
name = "final"
kind = "final"
"""


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment; memory and disk in megabytes."""

    trials: int
    driver: float
    workers: dict[int, float]
    handles: int
    worker_handles: int
    threads: int
    checkpoints: int
    disk: float


def count_entries(pid: int, folder: str) -> int:
    """Entries of a folder of /proc: open files (``fd``) or threads (``task``)."""
    try:
        return len(os.listdir(f"/proc/{pid}/{folder}"))  # noqa: PTH208
    except OSError:
        return 0


def find_workers(driver: int) -> list[int]:
    """Process numbers of the driver's worker processes, however they are started."""
    parents: dict[int, int] = {}
    commands: dict[int, bytes] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            commands[int(status.parent.name)] = (status.parent / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue  # It ended meanwhile.
        parents[int(status.parent.name)] = parent
    servers = {p for p, c in commands.items() if parents[p] == driver and b"forkserver" in c}
    return sorted(
        pid
        for pid, parent in parents.items()
        if parent in servers or (parent == driver and b"spawn_main" in commands[pid])
    )


def take_sample(driver: int, run: Path) -> Sample:
    """Look at the run as it is now."""
    workers = {pid: (measure_memory(pid) or 0) / 1e6 for pid in find_workers(driver)}
    disk = checkpoints = done = 0
    for base, _, files in os.walk(run):
        for name in files:
            checkpoints += name.endswith(".npz")
            done += name == "round-1.json"
            try:
                disk += os.lstat(Path(base) / name).st_blocks * 512
            except OSError:
                continue
    return Sample(
        done,
        (measure_memory(driver) or 0) / 1e6,
        workers,
        count_entries(driver, "fd"),
        max((count_entries(pid, "fd") for pid in workers), default=0),
        count_entries(driver, "task"),
        checkpoints,
        disk / 1e6,
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth a trial: the slope of the straight line through points."""
    x, y = np.array(points, float).T
    return float(np.polyfit(x, y, 1)[0]) if len(set(x)) > 1 else 0.0


def print_table(samples: Sequence[Sample], trials: int) -> None:
    """Print what was seen whenever another 25 trials were done, and the growth."""
    print(
        f"{'trials':>6} {'driver MB':>9} {'workers MB':>13} {'handles':>8} {'threads':>7}", end=""
    )
    print(f" {'checkpoints':>11} {'disk MB':>8}")
    due = 0
    for s in samples:
        if s.trials >= due and s.workers:
            due += 25
            workers = " ".join(f"{memory:.0f}" for memory in s.workers.values())
            handles = f"{s.handles}+{s.worker_handles}"
            print(f"{s.trials:6} {s.driver:9.0f} {workers:>13} {handles:>8} {s.threads:7}", end="")
            print(f" {s.checkpoints:11} {s.disk:8.2f}")
    settled = [s for s in samples if SETTLED <= s.trials < trials and s.workers]
    grown: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for s in settled:
        for pid, memory in s.workers.items():
            grown[pid].append((s.trials, memory))
    # A worker's first moments are those in which it loads; it is one of several on the trials.
    lives = [points[len(points) // 4 :] for points in grown.values() if len(points) > 20]
    per_fit = [slope(life) * max(len(s.workers) for s in settled) for life in lives]
    peak = max(sum(s.workers.values()) for s in samples)
    print(f"\nafter the first {SETTLED} trials, for each trial more:")
    print(f"  driver     {1e3 * slope([(s.trials, s.driver) for s in settled]):+8.1f} KB")
    print(f"  a worker   {1e3 * float(np.median(per_fit)):+8.1f} KB a fit of its own", end="")
    print(f" (median of {len(per_fit)}, each replaced after 40 fits)")
    print(f"  disk       {1e3 * slope([(s.trials, s.disk) for s in settled]):+8.1f} KB")
    print(f"  handles    {slope([(s.trials, s.handles) for s in settled]):+8.3f}")
    print(f"  threads    {slope([(s.trials, s.threads) for s in settled]):+8.3f}")
    print(
        f"peaks: driver {max(s.driver for s in samples):.0f} MB, "
        f"workers {peak:.0f} MB together, {max(s.checkpoints for s in samples)} checkpoints, "
        f"disk {max(s.disk for s in samples):.1f} MB"
    )


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        study, run = Path(name) / "soak.toml", Path(name) / "run"
        study.write_text(STUDY.format(trials=arguments.trials), encoding="utf-8")
        command = [sys.executable, "-m", "burnish", "run", str(study), "--out", str(run)]
        command += ["--workers", str(arguments.workers)]
        samples: list[Sample] = []
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
            while driver.poll() is None:
                samples.append(take_sample(driver.pid, run))
                time.sleep(0.5)
        if driver.returncode:
            sys.exit(driver.returncode)
        print_table(samples, arguments.trials)
        print(f"{arguments.trials} trials, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
