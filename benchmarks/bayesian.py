"""The convolutional stage: the best validation loss over wall time, against Bayesian peers.

    python benchmarks/bayesian.py [--minutes 15] [--seed 0]

burnish runs the stage ``cnn-tuned`` of ``mnist`` as ``burnish run`` does, refit included, and
may stop sooner than it must. Keras Tuner's BayesianOptimization and Optuna (TPE, its default)
search the same space in plain Keras, as the published study did: fits of up to 100 epochs with
patience 5, until the minutes are over. All see the same split, batch size 128, and validate
after each epoch; every validation loss of any epoch counts, for all alike (of burnish's trials,
when the round is over). Each runs in a fresh process with all cores, TensorFlow and the data
loaded before the clock starts; burnish's worker processes load them again, on its clock. Needs
MNIST (BURNISH_DATA) and the extra ``bench``.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
import time
from typing import Any

from burnish.backend import keras
from burnish.models import default_params, find_family
from burnish.space import SearchSpace, Value
from hyperband import read_stage, run_stage
from record import (
    Curve,
    add_options,
    find_first,
    find_lowest,
    lay_out,
    load_mnist,
    publish,
    run_apart,
    show_ratio,
    show_seconds,
)
from stock import (
    BATCH_SIZE,
    TimeUp,
    Watch,
    arrays_of,
    ask_keras_tuner,
    ask_optuna,
    build_stock,
    stop_early,
)

PATIENCE, MOST_EPOCHS = 5, 100
MOST_TRIALS = 10_000


def run_burnish(num_images: int, seed: int, overrides: list[str]) -> tuple[Curve, int]:
    """Return losses over seconds, and the number of fits."""
    search = run_stage(
        "mnist",
        "cnn-tuned",
        [
            f"study.seed={seed}",
            f"data.split.train={num_images}",
            f"data.split.val={num_images // 5}",
            "cnn.training.max_epochs=0.1",
            *overrides,
        ],
    )
    return search.curve, search.num_fits


def read_space() -> tuple[SearchSpace, dict[str, Value]]:
    """Return the stage's space, and the params that do not vary."""
    _, _, stage = read_stage("mnist", "cnn-tuned", [])
    fixed = {**default_params(find_family("cnn")), **stage.params}
    return stage.search_space(), fixed


def run_keras_tuner(seconds: float, num_images: int, seed: int) -> tuple[Curve, int]:
    """The same of Keras Tuner."""
    import keras_tuner

    space, fixed = read_space()
    x, y, x_val, y_val = arrays_of(load_mnist(num_images))
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.BayesianOptimization(
            lambda hp: build_stock("cnn", {**fixed, **ask_keras_tuner(hp, space)}),
            objective=keras_tuner.Objective("val_loss", "min"),
            max_trials=MOST_TRIALS,
            seed=seed,
            directory=folder,
            project_name="cnn",
        )
        watch = Watch(cap=seconds, abort=True)
        with contextlib.suppress(TimeUp):
            tuner.search(
                x,
                y,
                batch_size=BATCH_SIZE,
                epochs=MOST_EPOCHS,
                validation_data=(x_val, y_val),
                verbose=0,
                callbacks=[watch, stop_early(PATIENCE)],
            )
        return watch.curve, len(tuner.oracle.trials)


def run_optuna(seconds: float, num_images: int, seed: int) -> tuple[Curve, int]:
    """The same of Optuna."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, fixed = read_space()
    x, y, x_val, y_val = arrays_of(load_mnist(num_images))
    watch = Watch(cap=seconds, abort=True)

    def objective(trial: Any) -> float:
        keras.utils.clear_session()
        history = build_stock("cnn", {**fixed, **ask_optuna(trial, space)}).fit(
            x,
            y,
            batch_size=BATCH_SIZE,
            epochs=MOST_EPOCHS,
            validation_data=(x_val, y_val),
            verbose=0,
            callbacks=[watch, stop_early(PATIENCE)],
        )
        return float(min(history.history["val_loss"]))

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    with contextlib.suppress(TimeUp):
        study.optimize(objective, n_trials=MOST_TRIALS)
    return watch.curve, len(study.trials)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15, help="of each search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=50_000)
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    overrides: list[str] = []
    if arguments.quick:
        arguments.minutes, arguments.images = 0.25, 2_000
        overrides = ["cnn-tuned.trials=5", "cnn-tuned.refit.max_epochs=2"]
    seconds, images, seed = 60 * arguments.minutes, arguments.images, arguments.seed
    found = {"burnish": run_apart(run_burnish, images, seed, overrides)}
    found["Keras Tuner"] = run_apart(run_keras_tuner, seconds, images, seed, stock=True)
    found["Optuna, plain Keras"] = run_apart(run_optuna, seconds, images, seed, stock=True)
    ours = found["burnish"][0]
    marks = [seconds * share for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    rows = []
    for name, (curve, num_fits) in found.items():
        lowest = find_lowest(curve, seconds)
        reached = find_first(ours, lowest)
        losses = [find_lowest(curve, mark) for mark in marks]
        rows.append(
            [
                name,
                f"{num_fits}",
                *(f"{loss:.4f}" if math.isfinite(loss) else "none" for loss in losses),
                "" if curve is ours else show_seconds(reached),
                "" if curve is ours else show_ratio(seconds, reached),
            ]
        )
    heads = ["search", "fits", *(f"after {mark:.0f} s" for mark in marks)]
    heads += ["burnish there after s", "of its time"]
    end = max(at for at, _ in ours)
    parts = [
        f"Lowest validation loss seen within so many seconds (seed {seed}); then when burnish saw "
        f"a loss as low as the last, and how many times that the {seconds:.0f} s are. burnish's "
        f"stage, refit included, was over after {end:.0f} s.",
        lay_out(heads, rows),
    ]
    packages = ["keras", "tensorflow", "keras-tuner", "optuna"]
    publish(arguments, "bayesian", parts, packages, began)


if __name__ == "__main__":
    main()
