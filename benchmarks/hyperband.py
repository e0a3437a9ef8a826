"""The feed-forward stage by Hyperband, against Keras Tuner's Hyperband.

    python benchmarks/hyperband.py [--max-epochs 27] [--seeds 1]

Both search the space of ``mnist-classic`` by the same table of brackets (27, 12, 6 and 4 first
trials at 27 epochs and factor 3), on the same split, batch size 128, constant learning rates,
patience 5 within a trial, validated after each epoch on the cross-entropy without penalty.
The two round brackets differently where the epochs are no power of the factor; such a number
is refused. Each runs in a fresh process with all cores, TensorFlow and the data loaded before
the clock starts. burnish runs the stage as ``burnish run`` does, with all that it writes, and
in worker processes that load TensorFlow again, on its clock; only the search counts, up to its
winner. The winner's loss is the lowest that it had in any epoch of its trial. (Keras Tuner
goes on with a promoted trial without its optimizer's state, and warns of it.) Needs
MNIST (BURNISH_DATA) and the extra ``bench``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from burnish.models import default_params, find_family
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.study.text import read_study_text
from burnish.training import Progress
from burnish.tuning.schedules import plan_hyperband
from burnish.tuning.trial import Trial
from record import (
    Curve,
    add_options,
    lay_out,
    load_mnist,
    publish,
    run_apart,
    show_ratio,
    show_seconds,
    show_spread,
)
from stock import BATCH_SIZE, Watch, arrays_of, ask_keras_tuner, build_stock, stop_early

FACTOR = 3
PATIENCE = 5


@dataclass(frozen=True)
class Search:
    """What a search took and gave; ``refit`` is the loss of its winner trained again."""

    seconds: float
    val_loss: float
    num_fits: int
    curve: Curve = field(default_factory=list)
    refit: float | None = None


class StageClock(Observer):
    """Notes when a stage's search began and ended, and which losses were seen when."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.running = False
        self.started = self.searched = self.finished = 0.0
        self.curve: Curve = []
        self.num_fits = 0
        self.best: Trial | None = None
        self.result: Mapping[str, Any] = {}

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        self.running = name == self.stage
        if self.running:
            self.started = time.perf_counter()

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        if self.running:
            self.num_fits += 1
            if trial.loss is not None:
                self.curve.append((time.perf_counter() - self.started, trial.loss))

    def refit_started(self, best: Trial) -> None:
        if self.running:
            self.searched, self.best = time.perf_counter(), best

    def fit_progressed(self, progress: Progress) -> None:
        if self.running and progress.last is not None:
            self.curve.append((time.perf_counter() - self.started, progress.last.val_loss))

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        if self.running:
            self.finished, self.result = time.perf_counter(), result
        self.running = False


def read_stage(study: str, name: str, overrides: list[str]) -> tuple[Study, str, TuneStage]:
    """Read a shipped study; of its stages, a tuning stage and what it builds on."""
    text, where = read_study_text(study)
    read, text = parse_study(text, where, overrides)
    stage = read.stage(name)
    assert isinstance(stage, TuneStage)
    kept = tuple(s for s in read.stages if s.name in {name, stage.base})
    return read.model_copy(update={"stages": kept}), text, stage


def run_stage(study: str, name: str, overrides: list[str]) -> Search:
    """Run one tuning stage of a shipped study as ``burnish run`` does.

    What it builds on is fitted before, and not counted.
    """
    read, text, _ = read_stage(study, name, overrides)
    data_dir = os.environ.get("BURNISH_DATA")
    clock = StageClock(name)
    with tempfile.TemporaryDirectory() as folder:
        run_study(read, text, RunFolder(Path(folder)), Path(data_dir) if data_dir else None, clock)
    assert clock.best is not None
    assert clock.best.loss is not None
    seconds = clock.searched - clock.started
    refit = float(clock.result["val_loss"])
    return Search(seconds, clock.best.loss, clock.num_fits, clock.curve, refit)


def run_burnish(max_epochs: int, num_images: int, seed: int) -> Search:
    """Search with burnish; the refit has one epoch alone, as it is not counted."""
    overrides = [
        f"study.seed={seed}",
        f"data.split.train={num_images}",
        f"data.split.val={num_images // 5}",
        "fnn.training.max_epochs=1",
        f"fnn-tuned.schedule.max_epochs={max_epochs}",
        "fnn-tuned.refit.max_epochs=1",
    ]
    return run_stage("mnist-classic", "fnn-tuned", overrides)


def run_keras_tuner(max_epochs: int, num_images: int, seed: int) -> Search:
    """Search with Keras Tuner."""
    import keras_tuner

    _, _, stage = read_stage("mnist-classic", "fnn-tuned", [])
    space, defaults = stage.search_space(), default_params(find_family("fnn"))
    x, y, x_val, y_val = arrays_of(load_mnist(num_images))
    loss = "val_cross_entropy"
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Hyperband(
            lambda hp: build_stock("fnn", {**defaults, **ask_keras_tuner(hp, space)}),
            objective=keras_tuner.Objective(loss, "min"),
            max_epochs=max_epochs,
            factor=FACTOR,
            seed=seed,
            directory=folder,
            project_name="fnn",
        )
        _refuse_other_table(tuner.oracle, max_epochs)
        watch = Watch([loss])
        tuner.search(
            x,
            y,
            batch_size=BATCH_SIZE,
            validation_data=(x_val, y_val),
            verbose=0,
            callbacks=[watch, stop_early(PATIENCE, loss)],
        )
        seconds = watch.seconds()
        best = tuner.oracle.get_best_trials(1)[0]
        return Search(seconds, float(best.score), len(tuner.oracle.trials), watch.curve)


def _refuse_other_table(oracle: Any, max_epochs: int) -> None:
    """Refuse to compare searches by different tables of brackets."""
    ours = [[(r.num_trials, r.epochs) for r in b.rungs] for b in plan_hyperband(max_epochs, FACTOR)]
    theirs = [
        [
            (oracle._get_size(bracket, number), oracle._get_epochs(bracket, number))
            for number in range(oracle._get_num_rounds(bracket))
        ]
        for bracket in reversed(range(oracle._get_num_brackets()))
    ]
    if ours != theirs:
        raise SystemExit(
            f"--max-epochs {max_epochs}: burnish's brackets {ours} are not Keras Tuner's {theirs}; "
            f"take a power of {FACTOR}, such as 9, 27 or 81"
        )


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=27, help="a power of 3")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=50_000)
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.quick:
        arguments.max_epochs, arguments.seeds, arguments.images = 3, 1, 2_000
    found: dict[str, list[Search]] = {"Keras Tuner": [], "burnish": []}
    for seed in range(arguments.seeds):
        given = arguments.max_epochs, arguments.images, seed
        found["burnish"].append(run_apart(run_burnish, *given))
        print(f"seed {seed}: burnish {found['burnish'][-1].seconds:.0f} s", flush=True)
        found["Keras Tuner"].append(run_apart(run_keras_tuner, *given, stock=True))
        print(f"seed {seed}: Keras Tuner {found['Keras Tuner'][-1].seconds:.0f} s", flush=True)
    middle = {name: median(s.seconds for s in searches) for name, searches in found.items()}
    rows = [
        [
            name,
            f"{searches[0].num_fits}",
            show_seconds(middle[name]),
            show_ratio(middle["Keras Tuner"], middle[name]),
            show_spread([s.val_loss for s in searches]),
        ]
        for name, searches in found.items()
    ]
    table = "; ".join(
        ", ".join(f"{rung.num_trials} x {rung.epochs:g}" for rung in bracket.rungs)
        for bracket in plan_hyperband(arguments.max_epochs, FACTOR)
    )
    parts = [
        f"Brackets (trials x epochs): {table}. Wall time of the search, median of "
        f"{arguments.seeds}, and the winner's validation loss.",
        lay_out(["search", "fits", "seconds", "ratio", "val loss"], rows),
    ]
    publish(arguments, "hyperband", parts, ["keras", "tensorflow", "keras-tuner"], began)


if __name__ == "__main__":
    main()
