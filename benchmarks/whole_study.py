"""The whole study, against the published procedure in plain Keras, Keras Tuner and scikit-learn.

    python benchmarks/whole_study.py [--seeds 3] [--minutes 16.5] [--trials 3] [--epochs 2]

burnish runs ``mnist`` from start to end in the minutes that it is given (0: all that it takes),
once for each study seed: wall time with the start of the process, and the accuracy on the test
split, which each run reads once.

The published procedure takes many hours; it is extrapolated from fits that are timed, with the
numbers of trials, epochs and folds of ``mnist-classic``, in plain Keras with batch size 128 and
early stopping, as the source did:

* Hyperband: seconds of an epoch of the feed-forward network, mean of ``--trials`` random
  configurations of two epochs, times the epochs of the table of brackets; and seconds of
  building and compiling one (what its first epoch takes longer) for each fit of the table;
* Bayesian optimisation of the convolutional network, and of its augmentation: the mean of the
  first ``--trials`` trials of Keras Tuner's BayesianOptimization, times the trials;
* the grid: the mean of ``--trials`` of its rates on one of scikit-learn's stratified folds,
  times rates and folds;
* baselines and refits: each fitted once, the published winners where a search would have to
  be run to know its own, patience 10 in refits.

No time is counted for reports, the test split, or between fits. ``--epochs`` gives a lower bound
in less time: convolutional fits are timed over so many epochs, and counted with as many as early
stopping with patience ``p`` takes at the least, ``p + 1``, each as long as those timed after the
first. Needs MNIST (BURNISH_DATA) and the extra ``bench``. Without ``--epochs``, three trials of
each kind take hours on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from burnish.backend import keras
from burnish.models import default_params, find_family
from burnish.space import Params, Value
from burnish.study.schema import TuneStage
from record import (
    add_options,
    lay_out,
    load_mnist,
    publish,
    run_apart,
    show_ratio,
    show_seconds,
    show_spread,
)
from stock import (
    BATCH_SIZE,
    Watch,
    arrays_of,
    ask_keras_tuner,
    build_stock,
    published_params,
    read_study,
    stop_early,
)

MOST_EPOCHS = 100


@dataclass(frozen=True)
class Limits:
    """How much of a fit is done: all of it, unless it is cut short."""

    num_images: int
    max_epochs: int
    trials: int
    lower_bound: bool = False
    """Whether a fit cut short is counted with the fewest epochs that early stopping takes."""

    def left_out(self, watch: Watch, patience: int) -> float:
        """Seconds, at the least, of what was cut off one of the fits that a watch has seen."""
        if not self.lower_bound:
            return 0.0
        later = [
            seconds
            for number, seconds in enumerate(watch.epoch_seconds)
            if number % self.max_epochs  # The first epoch of a fit builds its graph.
        ]
        return max(0, patience + 1 - self.max_epochs) * fmean(later)


def time_fit(model: str, params: Params, patience: int, limits: Limits) -> list[float]:
    """Return seconds of the whole fit, then of each of its epochs."""
    x, y, x_val, y_val = arrays_of(load_mnist(limits.num_images))
    watch = Watch(["val_cross_entropy", "val_loss"])
    build_stock(model, params).fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=limits.max_epochs,
        validation_data=(x_val, y_val),
        verbose=0,
        callbacks=[watch, stop_early(patience)],
    )
    return [watch.seconds() + limits.left_out(watch, patience), *watch.epoch_seconds]


def time_hyperband(limits: Limits, patience: int) -> float:
    """Extrapolated seconds of Hyperband on the feed-forward network's space."""
    study = read_study("mnist-classic")
    stage = study.stage("fnn-tuned")
    assert isinstance(stage, TuneStage)
    points = _random_points(stage, limits.trials)
    short = replace(limits, max_epochs=2, lower_bound=False)
    fits = [time_fit("fnn", point, patience, short) for point in points]
    epoch = fmean(seconds[2] for seconds in fits)
    building = fmean(seconds[0] - 2 * seconds[2] for seconds in fits)
    epochs = num_fits = 0.0
    for bracket in study.brackets(stage):
        before = 0.0
        for rung in bracket.rungs:
            epochs += rung.num_trials * (rung.epochs - before)
            num_fits += rung.num_trials
            before = rung.epochs
    return epochs * epoch + num_fits * building


def _random_points(stage: TuneStage, count: int) -> list[dict[str, Value]]:
    """Random configurations of a stage's space, with defaults for the rest."""
    import keras_tuner

    space = stage.search_space()
    defaults = default_params(find_family("fnn"))
    points: list[dict[str, Value]] = []

    def build(hp: object) -> object:
        points.append({**defaults, **ask_keras_tuner(hp, space)})
        return build_stock("fnn", points[-1])

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            build, objective="val_loss", max_trials=count, seed=0, directory=folder
        )
        tuner.oracle.verbose = 0
        for number in range(count):
            hp = tuner.oracle.create_trial(f"tuner{number}").hyperparameters
            tuner.hypermodel.build(hp)
    return points[-count:]


def time_bayesian(stage_name: str, base: str, limits: Limits, patience: int) -> float:
    """Mean seconds of the first trials of Keras Tuner's BayesianOptimization of a stage."""
    import keras_tuner

    stage = read_study("mnist-classic").stage(stage_name)
    assert isinstance(stage, TuneStage)
    space = stage.search_space()
    fixed = {**published_params(base), **stage.params}
    x, y, x_val, y_val = arrays_of(load_mnist(limits.num_images))
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.BayesianOptimization(
            lambda hp: build_stock("cnn", {**fixed, **ask_keras_tuner(hp, space)}),
            objective="val_loss",
            max_trials=limits.trials,
            seed=0,
            directory=folder,
        )
        watch = Watch()
        tuner.search(
            x,
            y,
            batch_size=BATCH_SIZE,
            epochs=limits.max_epochs,
            validation_data=(x_val, y_val),
            verbose=0,
            callbacks=[watch, stop_early(patience)],
        )
        return watch.seconds() / limits.trials + limits.left_out(watch, patience)


def time_grid(rates: Sequence[float], folds: int, limits: Limits, patience: int) -> float:
    """Mean seconds of fits of some of the grid's rates, each on the first of its folds."""
    from sklearn.model_selection import StratifiedKFold

    x, y, _, _ = arrays_of(load_mnist(limits.num_images))
    kept, held = next(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y))
    taken = []
    # From the whole range: small rates take more epochs than large ones.
    step = max(1, len(rates) // limits.trials)
    for rate in rates[step // 2 :: step][: limits.trials]:
        keras.utils.clear_session()
        params = {**published_params("augmented"), "learning_rate": rate}
        watch = Watch()
        build_stock("cnn", params).fit(
            x[kept],
            y[kept],
            batch_size=BATCH_SIZE,
            epochs=limits.max_epochs,
            validation_data=(x[held], y[held]),
            verbose=0,
            callbacks=[watch, stop_early(patience)],
        )
        taken.append(watch.seconds() + limits.left_out(watch, patience))
    return fmean(taken)


def extrapolate(limits: Limits) -> list[tuple[str, float]]:
    """Return the seconds of every stage of the published procedure."""
    study = read_study("mnist-classic")
    patience, longer = 5, 10
    stages = {name: study.stage(name) for name in ("cnn-tuned", "augmented", "learning-rate")}

    def fit(model: str, name: str, wait: int) -> float:
        # The feed-forward network's epochs are short: it is always fitted to its end.
        whole = replace(limits, max_epochs=MOST_EPOCHS)
        cut = whole if limits.lower_bound and model == "fnn" else limits
        return run_apart(time_fit, model, published_params(name), wait, cut, stock=True)[0]

    def num_trials(name: str) -> int:
        stage = stages[name]
        assert isinstance(stage, TuneStage)
        return sum(bracket.rungs[0].num_trials for bracket in study.brackets(stage))

    grid = stages["learning-rate"]
    assert isinstance(grid, TuneStage)
    rates = [float(rate) for rate in grid.search_space().ranges["learning_rate"].values()]
    folds = grid.folds or 1
    searches = {
        "cnn-tuned": run_apart(time_bayesian, "cnn-tuned", "cnn", limits, patience, stock=True),
        "augmented": run_apart(
            time_bayesian, "augmented", "cnn-tuned", limits, patience, stock=True
        ),
    }
    last = fit("cnn", "augmented", longer)
    return [
        ("fnn", fit("fnn", "fnn", patience)),
        (
            "fnn-tuned",
            run_apart(time_hyperband, limits, patience, stock=True)
            + fit("fnn", "fnn-tuned", longer),
        ),
        ("cnn", fit("cnn", "cnn", patience)),
        (
            "cnn-tuned",
            num_trials("cnn-tuned") * searches["cnn-tuned"] + fit("cnn", "cnn-tuned", longer),
        ),
        ("augmented", num_trials("augmented") * searches["augmented"] + last),
        (
            "learning-rate",
            len(rates) * folds * run_apart(time_grid, rates, folds, limits, patience, stock=True)
            + last,
        ),
    ]


def run_burnish(seed: int, options: Sequence[str]) -> tuple[float, float, float]:
    """Return the wall seconds of ``burnish run mnist``, the test accuracy and the test loss."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        command = [sys.executable, "-m", "burnish", "run", "mnist", "--out", str(run)]
        command += ["--set", f"study.seed={seed}", *options]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        status = [sys.executable, "-m", "burnish", "status", str(run), "--json"]
        told = json.loads(subprocess.run(status, check=True, capture_output=True).stdout)
    return seconds, told["test"]["accuracy"], told["test"]["loss"]


QUICK = [
    "data.split.train=2000",
    "data.split.val=500",
    "training.max_epochs=1",
    "fnn.training.max_epochs=1",
    "cnn.training.max_epochs=1",
    *(f"{name}.trials=2" for name in ("fnn-tuned", "cnn-tuned", "augmented")),
    *(f"{name}.schedule.max_epochs=1" for name in ("fnn-tuned", "cnn-tuned", "augmented")),
    *(f"{name}.refit.max_epochs=1" for name in ("fnn-tuned", "cnn-tuned", "augmented")),
    "learning-rate.refit.max_epochs=1",
    "learning-rate.schedule.max_epochs=0.5",
    "learning-rate.seeds=1",
    "learning-rate.folds=2",
]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="study seeds of burnish's runs")
    parser.add_argument("--minutes", type=float, default=16.5, help="of each; 0: no limit")
    parser.add_argument("--trials", type=int, default=3, help="timed trials of each kind")
    parser.add_argument("--epochs", type=int, help="timed of each fit, for a lower bound; from 2")
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    epochs = arguments.epochs
    if epochs is not None and not 2 <= epochs <= MOST_EPOCHS:
        parser.error(f"--epochs {epochs}: give 2 to {MOST_EPOCHS}; the first builds the graph")
    limits = Limits(50_000, epochs or MOST_EPOCHS, arguments.trials, lower_bound=epochs is not None)
    options = ["--minutes", f"{arguments.minutes:g}"] if arguments.minutes else []
    if arguments.quick:
        arguments.seeds, arguments.minutes = 1, 0
        limits = Limits(1_000, 2, 1, lower_bound=True)
        options = [part for override in QUICK for part in ("--set", override)]
    peer = extrapolate(limits)
    for name, taken in peer:
        print(f"{name}: {taken / 60:.1f} minutes", flush=True)
    runs = []
    for seed in range(arguments.seeds):
        runs.append(run_burnish(42 + seed, options))
        print(f"burnish, seed {42 + seed}: {runs[-1]}", flush=True)
    theirs, ours = sum(taken for _, taken in peer), fmean(run[0] for run in runs)
    rows = [[name, f"{taken / 60:.1f}"] for name, taken in peer]
    rows.append(["in all", f"{theirs / 60:.1f}"])
    accuracy = show_spread([100 * run[1] for run in runs], 3)
    fewest = (
        f"; of a convolutional fit {limits.max_epochs} epochs are timed, and the fewest that early "
        "stopping takes are counted: at least"
    )
    least = ">= " if limits.lower_bound else ""
    given = f" --minutes {arguments.minutes:g}" if arguments.minutes else ""
    parts = [
        f"The published procedure in plain Keras, extrapolated from {limits.trials} timed trials "
        f"of each kind{fewest if limits.lower_bound else ''}:",
        lay_out(["stage", "minutes"], rows),
        f"`burnish run mnist{given}`, mean over {arguments.seeds} study seeds from 42 on (minutes: "
        + ", ".join(f"{seconds / 60:.1f}" for seconds, _, _ in runs)
        + "; test accuracies: "
        + ", ".join(f"{run[1]:.2%}" for run in runs)
        + "):",
        lay_out(
            ["", "seconds", "ratio", "test accuracy in %", "test loss"],
            [
                ["published procedure", least + show_seconds(theirs), "", "", ""],
                [
                    "burnish",
                    show_seconds(ours),
                    least + show_ratio(theirs, ours),
                    accuracy,
                    show_spread([run[2] for run in runs]),
                ],
            ],
        ),
    ]
    packages = ["keras", "tensorflow", "keras-tuner", "scikit-learn"]
    publish(arguments, "whole_study", parts, packages, began)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
