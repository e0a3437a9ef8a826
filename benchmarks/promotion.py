"""Promoted trials: continuing from the checkpoint against starting again.

    python benchmarks/promotion.py [--seeds 3] [--trials 9] [--images 10000]

The convolutional space of the study, tpe x successive halving with one-cycle rates
(9 x 1/2, 3 x 1, 1 x 2 epochs by default), both ways with the same seeds; the winner's
validation loss, the seconds that its fits took, and the winner's loss when it is refitted
for 4 epochs. Needs MNIST (BURNISH_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.study.parse import parse_study
from burnish.study.text import read_study_text
from record import add_quick


def run_once(promotion: str, seed: int, trials: int, images: int) -> tuple[float, float, float]:
    """Return the winner's loss, the search's worker-seconds, and the refit's loss."""
    text, where = read_study_text("mnist")
    overrides = [
        f"study.seed={seed}",
        f"data.split.train={images}",
        f"cnn-tuned.trials={trials}",
        "cnn-tuned.schedule.min_epochs=0.5",
        "cnn-tuned.schedule.max_epochs=2",
        "cnn-tuned.schedule.factor=3",
        f"cnn-tuned.schedule.promotion={promotion}",
        "cnn-tuned.refit.max_epochs=4",
        "cnn.training.max_epochs=0.1",
    ]
    study, text = parse_study(text, where, overrides)
    kept = tuple(stage for stage in study.stages if stage.name in {"cnn", "cnn-tuned"})
    study = study.model_copy(update={"stages": kept})
    data_dir = os.environ.get("BURNISH_DATA")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run_study(study, text, run, Path(data_dir) if data_dir else None)
        result = json.loads((run.stage(2, "cnn-tuned") / "result.json").read_text("utf-8"))
    seconds = sum(trial["seconds"] for trial in result["trials"])
    return result["trial_loss"], seconds, result["val_loss"]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--images", type=int, default=10_000)
    add_quick(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.images = 1, 1_000
    rows: dict[str, list[tuple[float, float, float]]] = {"continue": [], "restart": []}
    for seed in range(arguments.seeds):
        for promotion, results in rows.items():
            results.append(run_once(promotion, seed, arguments.trials, arguments.images))
    print(f"{'promotion':10} {'winner loss':>18} {'search s':>10} {'refit loss':>18}")
    for promotion, results in rows.items():
        loss, seconds, refit = zip(*results, strict=True)
        spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in (loss, refit)]
        print(
            f"{promotion:10} {statistics.fmean(loss):9.4f} ± {spread[0]:.4f} "
            f"{statistics.fmean(seconds):10.1f} {statistics.fmean(refit):9.4f} ± {spread[1]:.4f}"
        )


if __name__ == "__main__":
    main()
