"""burnish's training loop against stock Keras ``fit``, on the published networks.

    python benchmarks/engine.py [--repeats 5] [--seeds 3] [--images 50000]

Both train the same structure on the same MNIST split with the same batch size and
Adam, and validate after each epoch. Timing: fits of two epochs, interleaved; the
second epoch counts (the first compiles); medians and their ratio. Quality: the
lowest validation loss of a few epochs, mean and deviation over seeds. Needs MNIST
(BURNISH_DATA); machine and versions are printed with the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from burnish.backend import configure, has_bfloat16, keras, processor_name
from burnish.data import Dataset, SplitSizes, load_source, prepare
from burnish.models import default_params, find_family
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings, fit

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


def build_stock(model: str, params: dict[str, Value]) -> Any:
    """Build the network as the published study's reader would, in plain Keras."""
    layers = keras.layers
    x = inputs = keras.Input((28, 28, 1))
    dropout = float(params["dropout_rate"])
    if model == "fnn":
        x = layers.Flatten()(x)
        for _ in range(int(params["num_hidden_layers"])):
            penalty = (
                keras.regularizers.L2(params["l2_strength"]) if params["l2_strength"] else None
            )
            x = layers.Dense(
                int(params["hidden_layer_size"]), activation="relu", kernel_regularizer=penalty
            )(x)
            x = layers.Dropout(dropout)(x)
    else:
        for filters in (16, 32, 32):
            for strides in (1, 2):
                x = layers.Conv2D(filters, 5, strides=strides, padding="same")(x)
                x = layers.BatchNormalization()(x)
                x = layers.Activation("relu")(x)
        x = layers.Flatten()(x)
        x = layers.Dense(256)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Dropout(dropout)(x)
    stock = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    stock.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return stock


class EpochSeconds(keras.callbacks.Callback):  # type: ignore[misc]
    """Times the epochs of a stock fit, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def fit_stock(
    model: str, params: dict[str, Value], data: Dataset, epochs: int, seed: int
) -> tuple[list[float], float]:
    """Give seconds per epoch, and the lowest validation loss without penalty."""
    keras.utils.set_random_seed(seed)
    stock = build_stock(model, params)
    x, x_val = (split.images.astype(np.float32) / 255 for split in (data.train, data.val))
    seconds, losses = EpochSeconds(), []

    class PlainLoss(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            probabilities = self.model.predict(x_val, batch_size=500, verbose=0)
            true = probabilities[np.arange(len(x_val)), data.val.labels]
            losses.append(float(-np.log(np.maximum(true, 1e-38)).mean()))

    stock.fit(
        x,
        data.train.labels,
        batch_size=128,
        epochs=epochs,
        validation_data=(x_val, data.val.labels),
        verbose=0,
        callbacks=[seconds, PlainLoss()],
    )
    return seconds.seconds, min(losses)


def fit_burnish(
    model: str, params: dict[str, Value], data: Dataset, epochs: int, seed: int
) -> tuple[list[float], float]:
    """Give seconds per epoch, and the lowest validation loss."""
    result = fit(FitRequest(model, params, TrainingSettings(max_epochs=epochs), seed), data)
    return [epoch.seconds for epoch in result.history], result.val_loss


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed fits of each kind")
    parser.add_argument("--seeds", type=int, default=3, help="seeds for the quality check")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the quality check")
    parser.add_argument("--images", type=int, default=50_000, help="training images")
    arguments = parser.parse_args()
    configure(deterministic=True)
    folder = os.environ.get("BURNISH_DATA")
    raw = load_source("mnist", Path(folder) if folder else None)
    data, _ = prepare(raw, SplitSizes(train=arguments.images, val=10_000), seed=42)

    import tensorflow as tf

    print(
        f"{processor_name()}, {os.cpu_count()} cores, bfloat16: {has_bfloat16()}, "
        f"keras {keras.__version__}, tensorflow {tf.__version__}, {arguments.images} images"
    )
    print(
        f"{'network':24} {'stock s':>8} {'burnish s':>9} {'ratio':>6}   "
        f"val loss after {arguments.epochs} epochs, {arguments.seeds} seeds"
    )
    for title, (model, changed) in PUBLISHED.items():
        params = {**default_params(find_family(model)), **changed}
        stock: list[float] = []
        ours: list[float] = []
        for repeat in range(arguments.repeats):
            stock.append(fit_stock(model, params, data, 2, repeat)[0][1])
            ours.append(fit_burnish(model, params, data, 2, repeat)[0][1])
        quality = [
            [run(model, params, data, arguments.epochs, seed)[1] for seed in range(arguments.seeds)]
            for run in (fit_stock, fit_burnish)
        ]
        losses = "  ".join(
            f"{name} {statistics.mean(values):.4f}"
            + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else "")
            for name, values in zip(("stock", "burnish"), quality, strict=True)
            if values
        )
        ratio = statistics.median(stock) / statistics.median(ours)
        print(
            f"{title:24} {statistics.median(stock):8.2f} {statistics.median(ours):9.2f} "
            f"{ratio:5.2f}x   {losses}",
            flush=True,
        )


if __name__ == "__main__":
    main()
