"""The samplers on one of the study's own spaces.

    python benchmarks/samplers.py [--trials 30] [--seeds 3] [--images 5000]

The feed-forward space of the study, whole fits of two epochs on a part of MNIST;
the best validation loss after 15 and after all trials, mean and deviation over seeds.
Configurations that were fitted are not fitted again for another sampler. Samplers whose
extra is not installed are left out. Needs MNIST (BURNISH_DATA).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from burnish.data import SplitSizes, load_source, prepare
from burnish.errors import StudyError
from burnish.models import default_params, find_family
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.text import read_study_text
from burnish.training import FitRequest, TrainingSettings
from burnish.tuning.executor import FitTask, LocalExecutor
from burnish.tuning.samplers import SAMPLERS, Observation, find_sampler, propose_params
from record import add_quick


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5_000)
    add_quick(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.trials, arguments.seeds, arguments.images = 4, 1, 1_000
    study, _ = parse_study(*read_study_text("mnist"))
    stage = study.stage("fnn-tuned")
    assert isinstance(stage, TuneStage)
    space, family = stage.search_space(), find_family("fnn")
    folder = os.environ.get("BURNISH_DATA")
    raw = load_source("mnist", Path(folder) if folder else None)
    data, _ = prepare(raw, SplitSizes(train=arguments.images, val=5_000), seed=42)
    names = []
    for name in SAMPLERS.names():
        try:
            sampler = find_sampler(name)
        except StudyError as error:
            print(f"{name}: left out: {error}")
        else:
            names += [] if sampler.exhaustive else [name]
    fitted: dict[tuple[object, ...], float] = {}
    settings = TrainingSettings(max_epochs=2)
    with tempfile.TemporaryDirectory() as scratch:
        executor = LocalExecutor(data, num_workers=1, threads=1, scratch=Path(scratch))
        best: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for seed in range(arguments.seeds):
            for name in names:
                seen: list[Observation] = []
                for number in range(arguments.trials):
                    params = propose_params(find_sampler(name), space, seen, 1000 * seed + number)
                    assert params is not None
                    key = tuple(params.values())
                    if key not in fitted:
                        whole = {**default_params(family), **params}
                        executor.submit(FitTask("", FitRequest("fnn", whole, settings, 0)))
                        outcome = executor.wait()
                        assert outcome.result is not None, outcome.failure
                        fitted[key] = outcome.result.val_loss
                    seen.append(Observation(params, fitted[key], 2))
                losses = [o.loss for o in seen if o.loss is not None]
                best[name].append((min(losses[:15]), min(losses)))
        executor.close()
    print(f"{'sampler':8} {'best of 15':>18} {f'best of {arguments.trials}':>18}")
    for name, pairs in best.items():
        columns = [
            f"{statistics.fmean(v):9.4f} ± {statistics.stdev(v) if len(v) > 1 else 0:.4f}"
            for v in zip(*pairs, strict=True)
        ]
        print(f"{name:8} {'  '.join(columns)}")


if __name__ == "__main__":
    main()
