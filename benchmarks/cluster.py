"""How the executor of a Ray cluster scales, and what a trial costs the driver.

    python benchmarks/cluster.py [--seconds 5] [--rounds 4] [--slots 1 2 4 8 16 32 64]

Trials that sleep for a set time instead of computing, on a Ray of 64 logical CPUs that is
started here: all but the fit is real. Each number of slots runs ``rounds`` trials a slot; the
ideal is as many times ``seconds``. Processes are started before the clock is. The driver's cost
is the processor time of this process, with Ray's threads in it, in the run of the most slots.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import ray

from burnish.data import Dataset, SplitSizes, load_source, prepare
from burnish.tuning.executor import FitTask, Outcome
from burnish.tuning.ray.cluster import Cluster, connect
from burnish.tuning.ray.executor import RayExecutor


@dataclass(frozen=True)
class Nap:
    """What a task asks for here, in the place of a fit."""

    seconds: float
    checkpoint: None = None
    resume_from: None = None


def nap(task: FitTask, load: Callable[[], Dataset]) -> Outcome:
    """Sleep; the data are not asked for, and TensorFlow is not loaded."""
    time.sleep(cast(Any, task.request).seconds)
    return Outcome(task.key, None, None)


def run_naps(executor: RayExecutor, number: int, seconds: float) -> None:
    """Run so many trials to their end."""
    for key in range(number):
        executor.submit(FitTask(f"{key}/0/0", cast(Any, Nap(seconds))))
    failures = [executor.wait().failure for _ in range(number)]
    assert failures == [None] * number, failures


def measure(
    data: Dataset, cluster: Cluster, slots: int, rounds: int, seconds: float
) -> tuple[float, float]:
    """Return the seconds of a run, and the processor time that it took here."""
    executor = RayExecutor(data, cluster, num_workers=slots, identify=dict, run=nap)
    try:
        # Long enough for every slot to have a process of its own before the clock starts.
        run_naps(executor, slots, 1.0 + 0.5 * slots)
        begun, used = time.perf_counter(), time.process_time()
        run_naps(executor, slots * rounds, seconds)
        return time.perf_counter() - begun, time.process_time() - used
    finally:
        executor.close()


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        "local",
        num_cpus=max(arguments.slots),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    cluster = connect(None)
    data, _ = prepare(load_source("digits", None), SplitSizes(1_197, 300, 300), seed=42)
    ideal = arguments.rounds * arguments.seconds
    print(f"{'slots':>5} {'trials':>7} {'seconds':>8} {'ideal':>6} {'of ideal':>9} {'ms/trial':>9}")
    for slots in arguments.slots:
        seconds, used = measure(data, cluster, slots, arguments.rounds, arguments.seconds)
        trials = slots * arguments.rounds
        print(
            f"{slots:5} {trials:7} {seconds:8.2f} {ideal:6.1f} {ideal / seconds:9.1%} "
            f"{1000 * used / trials:9.1f}",
            flush=True,
        )
    ray.shutdown()


if __name__ == "__main__":
    main()
