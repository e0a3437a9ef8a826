"""Memory of driver and workers over many trials.

    python benchmarks/memory.py [--fits 100]

Fits of the small convolutional network on `digits` through the worker processes; the
resident memory of driver and workers after every tenth fit. Workers are replaced after
40 fits, so that a leak in a backend stays bounded. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from burnish.data import SplitSizes, load_source, prepare
from burnish.models import default_params, find_family
from burnish.training import FitRequest, TrainingSettings
from burnish.tuning.executor import FitTask, LocalExecutor
from record import add_quick


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    add_quick(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.fits = 10
    data, _ = prepare(load_source("digits", None), SplitSizes(1_197, 300, 300), seed=42)
    params = default_params(find_family("cnn"))
    settings = TrainingSettings(batch_size=32, max_epochs=1)
    with tempfile.TemporaryDirectory() as scratch:
        executor = LocalExecutor(
            data, num_workers=arguments.workers, threads=1, scratch=Path(scratch)
        )
        for number in range(arguments.fits):
            executor.submit(FitTask(str(number), FitRequest("cnn", params, settings, number)))
        print(f"{'fits':>5} {'driver MB':>10}   workers MB")
        for number in range(1, arguments.fits + 1):
            outcome = executor.wait()
            assert outcome.result is not None, outcome.failure
            if number % 10 == 0:
                workers = [f"{resident_megabytes(pid):6.0f}" for pid in executor.worker_pids()]
                print(f"{number:5} {resident_megabytes(os.getpid()):10.0f}   {' '.join(workers)}")
        executor.close()


if __name__ == "__main__":
    main()
