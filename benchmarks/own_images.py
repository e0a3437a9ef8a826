"""The table by which burnish is judged: any folder, two minutes or ten, against what else there is.

    python benchmarks/own_images.py [--data FOLDER ...] [--minutes 2 10] [--seeds 1]
        [--sides burnish torch features tutorial] [--kept build/own-images.json] [--quick]

Each set of BURNISH_DATA, and every folder or file given, at each of the minutes:

* *burnish*: ``burnish run DATA --minutes M`` with an empty cache, nothing else set; its own test
  split is the held-out one. Its seconds are those of the command, from start to end.
* *torch*: all of EfficientNet-Lite0, fine-tuned from the same weights (`torch_photos`), of sets of
  up to 10,000 images; decoding takes none of its time.
* *features*: scikit-learn's logistic regression, its penalty by cross-validation, on what the same
  network makes of the images; of sets of up to 10,000 images. It takes as long as it takes.
* *tutorial*: the network of Keras's own "Image classification from scratch", with its augmentation
  and early stopping, on images of at most 180 pixels a side.

Held-out images are the data's own test split, or its validation split where there is none, or a
fifth, class by class. Results lie in the file ``--kept``: what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data.load import load_images
from burnish.stats.intervals import wilson_interval
from photo_accuracy import Kept, lay_out_splits, measure_peer
from record import add_options, lay_out, publish, run_apart

SIDES = ("burnish", "torch", "features", "tutorial")
MOST_FOR_FEATURES = 10_000
"""Images of a set up to which the sides that compute at 224x224 are measured."""

TUTORIAL_SIDE = 180
"""Side of images in Keras's tutorial."""

Splits = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]
"""Training images and labels, held-out images and labels."""


@contextmanager
def lay_out_set(path: Path) -> Iterator[Path]:
    """Yield data with a test split: as it is, or a copy that is cut."""
    has_folders = path.is_dir() and any(child.is_dir() for child in path.iterdir())
    if has_folders and not (path / "test").is_dir():
        with lay_out_splits(str(path.absolute())) as folder:
            yield folder
    else:
        yield path


def decode(path: Path, side: int | None) -> Splits:
    """Return the training and the held-out images of a set, in colour.

    Parameters
    ----------
    path
        The data.
    side
        What they are brought to; ``None`` leaves small images as they are.
    """
    size = None if side is None else (side, side)
    with tempfile.TemporaryDirectory() as cache:
        raw = load_images(
            path,
            size=size or "auto",
            color="rgb",
            resize="stretch",
            on_bad_image="skip",
            cache_folder=Path(cache),
        )
        held = raw.test or raw.val
        assert held is not None
        found = [(np.array(s.images), np.asarray(s.labels, np.int64)) for s in (raw.train, held)]
    return (*found[0], *found[1])


def measure_burnish(path: Path, minutes: float, seed: int) -> dict[str, float]:
    """Return the seconds of the command, and the accuracy on the test split."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"XDG_CACHE_HOME": f"{scratch}/cache"}
        words = ["run", str(path.absolute()), "--minutes", f"{minutes:g}", "--out", "run"]
        words += ["--on-bad-image", "skip", "--set", f"study.seed={42 + seed}"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "burnish", *words],
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"burnish {' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")
        (reading,) = (Path(scratch) / "run/test-ledger.jsonl").read_text().splitlines()
        read = json.loads(reading)
    return {"seconds": seconds, "accuracy": read["accuracy"], "num_images": read["num_images"]}


def measure_torch(path: Path, minutes: float, seed: int) -> dict[str, float]:
    """Return what PyTorch's fine-tuning has at its end."""
    last = measure_peer(path, minutes, seed)[-1]
    return {"seconds": last["seconds"], "accuracy": last["accuracy"]}


def measure_features(path: Path, minutes: float, seed: int) -> dict[str, float]:
    """Return what logistic regression makes of frozen features, whatever the minutes."""
    from sklearn.linear_model import LogisticRegressionCV

    from burnish.features.network import FrozenNetwork
    from burnish.models import default_params, find_family

    x, y, held, truths = decode(path, 224)
    family = find_family("pretrained")
    started = time.perf_counter()
    part = family.freeze({**default_params(family), "learning_rate": 0.01}, x.shape[1:])
    assert part is not None
    with tempfile.TemporaryDirectory() as folder:
        network = FrozenNetwork(part, Path(folder))

        def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            pieces = [images[at : at + 16] for at in range(0, len(images), 16)]
            vectors = [network.run(piece.astype(np.float32)) for piece in pieces]
            return np.concatenate(vectors).reshape(len(images), -1)

        vectors, held_vectors = run(x), run(held)
    found = LogisticRegressionCV(
        Cs=10, cv=5, scoring="neg_log_loss", max_iter=300, use_legacy_attributes=False
    ).fit(vectors, y)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "accuracy": float((found.predict(held_vectors) == truths).mean()),
    }


def measure_tutorial(path: Path, minutes: float, seed: int) -> dict[str, float]:
    """Return what the network of Keras's tutorial has when the minutes are over."""
    import keras

    keras.utils.set_random_seed(seed)
    x, y, held, truths = decode(path, None)
    if max(x.shape[1:3]) > TUTORIAL_SIDE:
        x, y, held, truths = decode(path, TUTORIAL_SIDE)
    num_val = max(1, len(x) // 5)
    order = np.random.default_rng(seed).permutation(len(x))
    val, train = order[:num_val], order[num_val:]
    started = time.perf_counter()
    model = build_tutorial(x.shape[1:], int(y.max()) + 1)
    model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", ["accuracy"])

    class Deadline(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.perf_counter() - started > minutes * 60:
                self.model.stop_training = True
                raise TimeoutError

    stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    try:
        model.fit(
            x[train],
            y[train],
            batch_size=128 if len(train) > 10_000 else 32,
            validation_data=(x[val], y[val]),
            epochs=1000,
            callbacks=[stop, Deadline()],
            verbose=0,
        )
    except TimeoutError:  # In the middle of an epoch: the best so far counts.
        if stop.best_weights is not None:
            model.set_weights(stop.best_weights)
    seconds = time.perf_counter() - started
    given = model.predict(held, verbose=0)
    return {"seconds": seconds, "accuracy": float((given.argmax(axis=1) == truths).mean())}


def build_tutorial(shape: Sequence[int], num_classes: int) -> Any:
    """Build the tutorial's network: a small Xception, with its augmentation."""
    import keras
    from keras import layers

    inputs = x = keras.Input(shape)
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomRotation(0.1)(x)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(128, 3, strides=2, padding="same")(x)
    x = before = layers.Activation("relu")(layers.BatchNormalization()(x))
    for size in (256, 512, 728):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.SeparableConv2D(size, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(size, 1, strides=2, padding="same")(before)
        x = before = layers.add([x, residual])
    x = layers.SeparableConv2D(1024, 3, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))


MEASURES: dict[str, Callable[[Path, float, int], dict[str, float]]] = {
    "burnish": measure_burnish,
    "torch": measure_torch,
    "features": measure_features,
    "tutorial": measure_tutorial,
}


def count_images(path: Path) -> int:
    """Return about how many images a set has, from its files."""
    if path.is_dir():
        files = sum(1 for file in path.rglob("*") if file.is_file())
        return files if files > 50 else 10**6  # Of a few large files.
    return 0


def measure_set(path: Path, options: argparse.Namespace, kept: Kept) -> None:
    """Measure each side on a set, where that is not kept yet."""
    with lay_out_set(path) as laid_out:
        for minutes in options.minutes:
            for side in options.sides:
                if side in {"torch", "features"} and count_images(path) > MOST_FOR_FEATURES:
                    continue
                # A side that does not keep to minutes is measured once.
                asked = 0 if side == "features" else minutes
                for seed in range(options.seeds if side == "burnish" else 1):
                    key = (path.stem, side, asked, seed)
                    if kept.find(*key) is None:
                        measure = measure_burnish if side == "burnish" else None
                        if measure is not None:
                            kept.keep(measure(laid_out, minutes, seed), *key)
                        else:
                            kept.keep(run_apart(MEASURES[side], laid_out, minutes, seed), *key)


def tell_set(path: Path, minutes: float, options: argparse.Namespace, kept: Kept) -> list[str]:
    """Return the row of a set at some minutes."""
    row = [path.stem, f"{minutes:g}"]
    for side in options.sides:
        asked = 0 if side == "features" else minutes
        found = [kept.find(path.stem, side, asked, seed) for seed in range(options.seeds)]
        done = [one for one in found if one]
        if not done:
            row.append("-")
            continue
        middle = statistics.fmean(one["accuracy"] for one in done)
        seconds = statistics.fmean(one["seconds"] for one in done)
        cell = f"{middle:.1%}, {seconds:.0f} s"
        if side == "burnish":
            num_images = round(sum(one["num_images"] for one in done))
            low, high = wilson_interval(round(middle * num_images), num_images)
            cell = f"{middle:.1%} ({low:.1%} to {high:.1%}), {seconds:.0f} s"
        row.append(cell)
    return row


def rank(kept: Kept, paths: Sequence[Path], options: argparse.Namespace) -> str:
    """Return a line with each side's mean rank over the sets and minutes that all have."""
    ranks: dict[str, list[int]] = {side: [] for side in options.sides}
    for path in paths:
        for minutes in options.minutes:
            found = {
                side: kept.find(path.stem, side, 0 if side == "features" else minutes, 0)
                for side in options.sides
            }
            there = {side: one["accuracy"] for side, one in found.items() if one}
            if len(there) < 2:
                continue
            for side, accuracy in there.items():
                ranks[side].append(1 + sum(other > accuracy for other in there.values()))
    means = [f"{side} {statistics.fmean(r):.2f}" for side, r in ranks.items() if r]
    return f"Mean rank over sets and minutes (1 is highest): {', '.join(means)}."


def main() -> None:
    """Measure what the command line asks for."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--kept", type=Path, default=Path("build/own-images.json"))
    add_options(parser)
    options = parser.parse_args()
    folder = Path(os.environ.get("BURNISH_DATA", ""))
    paths = options.data or sorted(path for path in folder.iterdir() if path.is_dir())
    if options.quick:
        paths = options.data or [folder / "hymenoptera"]
        options.minutes, options.kept = [1.0], Path(tempfile.mkdtemp()) / "kept.json"
    kept = Kept(options.kept)
    for path in paths:
        measure_set(path, options, kept)
    rows = [tell_set(path, m, options, kept) for path in paths for m in options.minutes]
    parts = [
        "Accuracy on held-out images, and seconds; of burnish with the 95 % interval (Wilson).",
        lay_out(["set", "minutes", *options.sides], rows),
        rank(kept, paths, options),
    ]
    packages = ["keras", "tensorflow", "torch", "onnxruntime", "scikit-learn"]
    publish(options, "own_images", parts, packages, began)
    if options.quick:
        shutil.rmtree(options.kept.parent)


if __name__ == "__main__":
    main()
