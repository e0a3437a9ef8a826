"""Seconds until a fit of the published structure first reaches the published losses.

    python benchmarks/time_to_quality.py [--seeds 3] [--cap 3600] [--epochs 7]

The structure that the study's Bayesian optimisation found, with augmentation, on the same
split, batch size 128, validated after each epoch. burnish: one cycle of learning rates over
``--epochs`` epochs, with the augmentation and peak that the options say (by default one that
reached the first target with each of three seeds; docs/log.md has others). The peer: the
published recipe in stock Keras 3: constant rate 0.001, the published augmentation by Keras's
layers, patience 10, float32; it ends when the lowest target is reached, when its patience does,
or after ``--cap`` seconds. Seconds count from the call that builds the network, so that
compiling counts for both, with the data in memory. A seed that does not reach a target counts
as longer than all that do; where that is the median, the peer's seconds are those of its
shortest fit, with a ">". They take turns, each seed in a fresh process with all cores; medians
over seeds and their ratio. Needs MNIST (BURNISH_DATA).
"""

from __future__ import annotations

import argparse
import math
import time
from statistics import median

from burnish.backend import configure, keras
from burnish.space import Value
from burnish.training import FitRequest, Progress, TrainingSettings, fit
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
from stock import BATCH_SIZE, Watch, arrays_of, build_stock, published_params, stop_early

TARGETS = (0.0229, 0.0193)
"""The published validation loss, and what one cycle of 8 epochs gave when burnish was begun."""

PUBLISHED_RATE, PUBLISHED_PATIENCE, MOST_EPOCHS = 0.001, 10, 200


def fit_burnish(
    params: dict[str, Value], num_images: int, epochs: float, seed: int
) -> tuple[Curve, float]:
    """Return validation losses over seconds, and the seconds of the whole fit."""
    configure(deterministic=True)
    data = load_mnist(num_images)
    settings = TrainingSettings(
        batch_size=BATCH_SIZE, max_epochs=epochs, learning_rate_schedule="one-cycle"
    )
    curve: Curve = []
    seen = 0.0
    started = time.perf_counter()

    def note(progress: Progress) -> None:
        nonlocal seen
        if progress.last is not None and progress.last.epoch != seen:
            seen = progress.last.epoch
            curve.append((time.perf_counter() - started, progress.last.val_loss))

    fit(FitRequest("cnn", params, settings, seed), data, note)
    return curve, time.perf_counter() - started


def fit_stock(
    params: dict[str, Value], num_images: int, cap: float, seed: int
) -> tuple[Curve, float]:
    """Return validation losses over seconds, and the seconds of the whole fit."""
    keras.utils.set_random_seed(seed)
    x, y, x_val, y_val = arrays_of(load_mnist(num_images))
    watch = Watch(enough=min(TARGETS), cap=cap)
    build_stock("cnn", params).fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=MOST_EPOCHS,
        validation_data=(x_val, y_val),
        verbose=0,
        callbacks=[watch, stop_early(PUBLISHED_PATIENCE)],
    )
    return watch.curve, watch.seconds()


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-seeds", type=int, help="fewer for the peer  (default: as many)")
    parser.add_argument("--cap", type=float, default=3600, help="seconds that the peer may take")
    parser.add_argument("--epochs", type=float, default=7, help="of burnish's cycle")
    parser.add_argument("--rate", type=float, default=0.006, help="the peak of burnish's cycle")
    parser.add_argument("--rotation", type=float, default=0, help="in fractions of a turn")
    parser.add_argument("--shift", type=float, default=0.05, help="in fractions of a side")
    parser.add_argument("--images", type=int, default=50_000)
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.quick:
        arguments.seeds, arguments.cap, arguments.images = 1, 15, 2_000
    peer_seeds = arguments.seeds if arguments.peer_seeds is None else arguments.peer_seeds
    published = {**published_params("augmented"), "learning_rate": PUBLISHED_RATE}
    ours = {
        **published,
        "learning_rate": arguments.rate,
        "rotation_range": arguments.rotation,
        "width_shift_range": arguments.shift,
        "height_shift_range": arguments.shift,
    }
    results: dict[str, list[tuple[Curve, float]]] = {"burnish": [], "stock Keras": []}
    for seed in range(max(arguments.seeds, peer_seeds)):
        if seed < arguments.seeds:
            given = (ours, arguments.images, arguments.epochs, seed)
            results["burnish"].append(run_apart(fit_burnish, *given))
        if seed < peer_seeds:
            peer = (published, arguments.images, arguments.cap, seed)
            results["stock Keras"].append(run_apart(fit_stock, *peer, stock=True))
        for name, done in results.items():
            for curve, seconds in done[seed : seed + 1]:
                print(f"seed {seed}: {name} {find_lowest(curve):.4f} in {seconds:.0f} s", end="; ")
        print(flush=True)
    rows = []
    cap = min((seconds for curve, seconds in results["stock Keras"]), default=arguments.cap)
    for target in TARGETS:
        times = {
            name: [find_first(curve, target) for curve, _ in done] for name, done in results.items()
        }
        middle = {name: median(seconds or [math.inf]) for name, seconds in times.items()}
        rows.append(
            [
                f"{target}",
                show_seconds(middle["stock Keras"], cap),
                f"{sum(map(math.isfinite, times['stock Keras']))} of {peer_seeds}",
                show_seconds(middle["burnish"]),
                f"{sum(map(math.isfinite, times['burnish']))} of {arguments.seeds}",
                show_ratio(middle["stock Keras"], middle["burnish"], cap),
            ]
        )
    fits = [
        [
            name,
            ", ".join(f"{find_lowest(curve):.4f}" for curve, _ in found),
            ", ".join(f"{len(curve)}" for curve, _ in found),
            ", ".join(f"{seconds:.0f}" for _, seconds in found),
        ]
        for name, found in results.items()
    ]
    heads = ["val loss", "stock Keras s", "seeds there", "burnish s", "seeds there", "ratio"]
    parts = [
        f"Median seconds to a validation loss; burnish: one cycle of {arguments.epochs:g} epochs "
        f"to a peak of {arguments.rate:g}, turned by up to {360 * arguments.rotation:.0f} degrees, "
        f"shifted by up to {arguments.shift:g}; stock Keras: at most {arguments.cap:.0f} s.",
        lay_out(heads, rows),
        "The fits, a value for each seed:",
        lay_out(["engine", "lowest val loss", "epochs", "seconds in all"], fits),
    ]
    publish(arguments, "time_to_quality", parts, ["keras", "tensorflow"], began)


if __name__ == "__main__":
    main()
