"""burnish's training loop against stock Keras ``fit`` and plain PyTorch, on the study's networks.

    python benchmarks/engine.py [--repeats 5] [--seeds 3] [--images 50000]

All train the same structure on the same MNIST split with the same batch size and Adam, and
validate after each epoch on a fifth as many images, each in a process of its own with all
cores. Timing: fits of two epochs, interleaved; the second epoch counts, validation included
(the first compiles, where anything is compiled); medians and their ratios. PyTorch has its
images as one float32 tensor, channels_last, a fused Adam, and bfloat16 by autocast
(torch_peer.py). On a processor without bfloat16 arithmetic all train in float32 alone:
PyTorch's bfloat16 product of the matrices below then takes minutes. Where TensorFlow does
not take oneDNN's kernels by itself, as on older processors, stock Keras is timed without them,
as it comes, and once more with them.

Share of the peak: a network's arithmetic is counted from its layers (convolutions and dense
layers, two operations a multiplication; three times the forward pass for an image that is
trained on, once for one that is validated), and divided by burnish's seconds and by the most
that a product of two large square matrices gave, in TensorFlow or PyTorch, in the same
precision and the same run. Where burnish trains in bfloat16 its validation, in float32, is
held against the bfloat16 peak too.

Quality: the lowest validation loss of a few epochs, mean and deviation over seeds, Keras's
against burnish's; ``--seeds 0`` leaves it out. Needs MNIST (BURNISH_DATA), and the extra
``bench`` for PyTorch, which is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any

from burnish.backend import configure, has_bfloat16, keras
from burnish.models import count_operations, default_params, find_family
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings, fit
from record import (
    add_options,
    default_onednn,
    interleave,
    lay_out,
    load_mnist,
    open_process,
    publish,
    show_ratio,
    show_seconds,
    show_spread,
)
from stock import BATCH_SIZE, Watch, arrays_of, build_stock, loss_name

PUBLISHED: dict[str, tuple[str, dict[str, Value]]] = {
    "fnn (baseline, 2 x 64)": ("fnn", {}),
    "fnn (tuned, 1 x 256)": (
        "fnn",
        {
            "num_hidden_layers": 1,
            "hidden_layer_size": 256,
            "dropout_rate": 0.4,
            "l2_strength": 0.0001,
        },
    ),
    "cnn (baseline, 32/64, 2x2 pooling)": ("cnn", {}),
    "cnn (tuned)": (
        "cnn",
        {
            "num_conv_layers": 3,
            "num_filters_first_layer": 16,
            "num_filters_sub_layers": 32,
            "kernel_size": 5,
            "subsample_type": "5x5stride2",
            "dense_layer_size": 256,
            "batch_normalization": True,
            "dropout_rate": 0.2,
        },
    ),
}

SIDE = 2048
"""Of the matrices whose product gives the peak."""


def complete_params(title: str) -> tuple[str, dict[str, Value]]:
    """Return family and all params of a network of ``PUBLISHED``."""
    model, changed = PUBLISHED[title]
    return model, {**default_params(find_family(model)), **changed}


def time_product(repeats: int, bfloat16: bool) -> float:
    """Seconds of one product of two square matrices in TensorFlow, the least of several."""
    import tensorflow as tf

    dtype = tf.bfloat16 if bfloat16 else tf.float32
    a, b = (tf.cast(tf.random.uniform((SIDE, SIDE)), dtype) for _ in "ab")
    least = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        tf.linalg.matmul(a, b).numpy()
        least = min(least, time.perf_counter() - started)
    return least


def time_torch_product(repeats: int, bfloat16: bool) -> float:
    """The same in PyTorch."""
    import torch_peer

    return torch_peer.time_product(SIDE, repeats, bfloat16)


def fit_stock(title: str, num_images: int, epochs: int, seed: int) -> tuple[list[float], float]:
    """Return seconds per epoch, and the lowest validation loss without penalty."""
    keras.utils.set_random_seed(seed)
    model, params = complete_params(title)
    x, y, x_val, y_val = arrays_of(load_mnist(num_images))
    watch = Watch([loss_name(params)])
    build_stock(model, params).fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(x_val, y_val),
        verbose=0,
        callbacks=[watch],
    )
    keras.utils.clear_session()
    return watch.epoch_seconds, min(loss for _, loss in watch.curve)


def fit_burnish(title: str, num_images: int, epochs: int, seed: int) -> tuple[list[float], float]:
    """Return seconds per epoch, and the lowest validation loss."""
    configure(deterministic=True)
    model, params = complete_params(title)
    settings = TrainingSettings(batch_size=BATCH_SIZE, max_epochs=epochs)
    result = fit(FitRequest(model, params, settings, seed), load_mnist(num_images))
    return [epoch.seconds for epoch in result.history], result.val_loss


def fit_torch(title: str, num_images: int, epochs: int, seed: int, bfloat16: bool) -> list[float]:
    """Return seconds per epoch."""
    import torch_peer

    model, params = complete_params(title)
    return torch_peer.fit_torch(model, params, num_images, epochs, seed, bfloat16)


def find_precision(title: str) -> str:
    """Which precision burnish trains a network in, on this processor."""
    from burnish.training.fit import choose_precision

    return choose_precision("auto", find_family(PUBLISHED[title][0]))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed fits of each kind")
    parser.add_argument("--seeds", type=int, default=3, help="seeds for the quality check")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the quality check")
    parser.add_argument("--images", type=int, default=50_000, help="training images")
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.quick:
        arguments.repeats, arguments.seeds, arguments.images = 1, 0, 2_000
    precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    kinds = ["Keras fit", "burnish"]
    if find_spec("torch") is not None:
        kinds[1:1] = [f"PyTorch {precision}" for precision in precisions]
    if default_onednn() == "0":
        kinds.insert(1, "Keras fit, oneDNN")
    processes = {
        kind: open_process(stock=kind == "Keras fit")
        for kind in ("Keras fit", "Keras fit, oneDNN", "PyTorch", "burnish")
    }

    def in_process(kind: str, function: Callable[..., Any], *given: object) -> Callable[[], Any]:
        process = processes[kind.split(" float")[0].split(" bfloat")[0]]
        return lambda: process.submit(function, *given).result()

    products: dict[str, Callable[[], float]] = {}
    for precision in precisions:
        bfloat16 = precision == "bfloat16"
        products[f"TensorFlow {precision}"] = in_process(
            "Keras fit, oneDNN", time_product, 5, bfloat16
        )
        if find_spec("torch") is not None:
            name = f"PyTorch {precision}"
            products[name] = in_process(name, time_torch_product, 5, bfloat16)
    products_before = interleave(products, 3)

    rows, quality = [], []
    for title in PUBLISHED:
        given = title, arguments.images, 2, 0
        runs: dict[str, Callable[[], Any]] = {
            kind: in_process(kind, fit_torch, *given, "bfloat16" in kind)
            if "PyTorch" in kind
            else in_process(kind, fit_stock if "Keras" in kind else fit_burnish, *given)
            for kind in kinds
        }
        measured = {
            kind: [result[1] if "PyTorch" in kind else result[0][1] for result in results]
            for kind, results in interleave(runs, arguments.repeats).items()
        }
        rows.append((title, {kind: median(seconds) for kind, seconds in measured.items()}))
        print(title, {kind: [round(s, 2) for s in seconds] for kind, seconds in measured.items()})
        for name, run in (("Keras fit", fit_stock), ("burnish", fit_burnish)):
            losses = [
                in_process(name, run, title, arguments.images, arguments.epochs, seed)()[1]
                for seed in range(arguments.seeds)
            ]
            if losses:
                quality.append([title, name, show_spread(losses)])
    products_after = interleave(products, 3)
    for process in processes.values():
        process.shutdown()

    rates = {
        name: 2 * SIDE**3 / median(seconds + products_after[name]) / 1e9
        for name, seconds in products_before.items()
    }
    peaks = {
        precision: max(rate for name, rate in rates.items() if name.endswith(f" {precision}"))
        for precision in precisions
    }
    heads = ["network", *(f"{kind} s" for kind in kinds), "to Keras", "to the best PyTorch"]
    heads += ["MFLOP an image", "burnish of the peak"]
    table = []
    for title, seconds in rows:
        model, params = complete_params(title)
        forward = count_operations(find_family(model), params, (28, 28, 1), 10)
        work = forward * (3 * arguments.images + len(load_mnist(arguments.images).val)) / 1e9
        precision = find_precision(title)
        share = work / seconds["burnish"] / peaks[precision]
        torch_seconds = [s for kind, s in seconds.items() if "PyTorch" in kind]
        table.append(
            [
                title,
                *(show_seconds(seconds[kind]) for kind in kinds),
                show_ratio(seconds["Keras fit"], seconds["burnish"]),
                show_ratio(min(torch_seconds), seconds["burnish"]) if torch_seconds else "",
                f"{3 * forward / 1e6:.2f}",
                f"{share:.0%} ({precision})",
            ]
        )
    parts = [
        f"Seconds of an epoch of {arguments.images:,} images with validation, median of "
        f"{arguments.repeats} interleaved fits; peak, from products of {SIDE}x{SIDE} matrices in "
        "GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()) + ".",
        lay_out(heads, table),
    ]
    if quality:
        parts += [
            f"Lowest validation loss within {arguments.epochs} epochs, mean and standard deviation "
            f"over {arguments.seeds} seeds:",
            lay_out(["network", "engine", "val loss"], quality),
        ]
    publish(arguments, "engine", parts, ["keras", "tensorflow", "torch", "numpy"], began)


if __name__ == "__main__":
    main()
