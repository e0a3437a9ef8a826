"""Frozen features, fine-tuning from a cut, and heads: each against what computes it plainly.

    python benchmarks/photos.py [--data FOLDER] [--images 1000] [--repeats 3] [--quick]

Three rows of one table. Both sides run in one process, in turns; the median of the repeats counts:

* *features*: from decoded images to vectors kept in a file, against a bare loop of onnxruntime
  over arrays in memory, with the same network; images a second at 224x224.
* *epoch*: seconds of an epoch of the network's last two blocks on what the blocks before them made
  of the images, against the same epoch with everything computed anew in each step.
* *heads*: fifty penalties of a linear head solved by L-BFGS, each on five folds, in one process,
  against scikit-learn's LogisticRegressionCV with as many values of C on the same vectors; seconds,
  and the accuracy and loss on held-out images.

FOLDER has one folder of images a class; by default it is `rsscn7` of BURNISH_DATA.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from burnish.data import Dataset, SplitSizes, prepare
from burnish.data.folds import take_fold
from burnish.data.load import load_images
from burnish.features.network import FrozenNetwork
from burnish.metrics import accuracy, cross_entropy
from burnish.models import default_params, find_family
from burnish.space import Value
from burnish.training import FitRequest, TrainingSettings, fit, freeze
from burnish.training.fit import Fit
from record import add_options, interleave, lay_out, publish, show_ratio

FAMILY = find_family("pretrained")
SETTINGS = TrainingSettings(batch_size=32, max_epochs=30, learning_rate_schedule="one-cycle")
TRIALS, FOLDS = 50, 5
"""Of the search of heads, and of scikit-learn's."""


def complete(**changes: Value) -> dict[str, Value]:
    """Return whole params of the family."""
    return {**default_params(FAMILY), "learning_rate": 0.01, "dropout_rate": 0.0, **changes}


def clock(do: Callable[[], Any]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def compare_features(data: Dataset, repeats: int) -> list[str]:
    """Return how many images a second become features, and by the bare loop."""
    part = FAMILY.freeze(complete(), data.image_shape)
    assert part is not None
    with tempfile.TemporaryDirectory() as folder:
        network = FrozenNetwork(part, Path(folder))
        images = np.concatenate([data.train.images, data.val.images]).astype(np.float32)

        def run_bare() -> float:
            pieces = range(0, len(images), 16)
            return clock(lambda: [network.run(images[first : first + 16]) for first in pieces])

        def run_kept() -> float:
            with tempfile.TemporaryDirectory() as cache:
                os.environ["XDG_CACHE_HOME"] = cache
                # The network file is made once a machine: here, as for the loop, it is there.
                freeze(FitRequest("pretrained", complete(), SETTINGS, 0), few(data, 1))
                request = FitRequest("pretrained", complete(), SETTINGS, 0)
                return clock(lambda: freeze(request, data))

        taken = interleave({"bare": run_bare, "kept": run_kept}, repeats)
    rates = {name: len(images) / median(seconds) for name, seconds in taken.items()}
    kept, bare = rates["kept"], rates["bare"]
    return ["features", f"{kept:.0f} images/s", f"{bare:.0f} images/s", f"{kept / bare:.2f}x"]


def few(data: Dataset, num_images: int) -> Dataset:
    """Return a data set of the first images of the splits."""
    numbers = np.arange(num_images)
    labels = data.fingerprint + f" first {num_images}"
    return replace(
        data, train=data.train.take(numbers), val=data.val.take(numbers), fingerprint=labels
    )


def compare_epochs(data: Dataset, repeats: int) -> list[str]:
    """Return the seconds of an epoch from the cut, and of one with everything computed anew."""
    common = {"num_trainable_blocks": 2, "crop_range": 0.3, "learning_rate": 0.001}
    epochs: dict[str, Callable[[], Any]] = {}
    for name, views in (("cut", 2), ("anew", 0)):
        request = FitRequest("pretrained", complete(views=views, **common), SETTINGS, 1)
        running = Fit(request, freeze(request, data))
        order, drawn = running.draws.order(0), running.draws.transforms(0)
        rates = np.full(len(order), 1e-4, np.float32)
        epochs[name] = partial(running.trainer.run, order, drawn, rates)
        epochs[name]()  # Compiled now.

    taken = interleave({name: partial(clock, epoch) for name, epoch in epochs.items()}, repeats)
    cut, anew = median(taken["cut"]), median(taken["anew"])
    return ["epoch of the last two blocks", f"{cut:.2f} s", f"{anew:.2f} s", show_ratio(anew, cut)]


def compare_heads(data: Dataset) -> list[str]:
    """Return the time and the accuracy of a search of heads, and of scikit-learn's."""
    from sklearn.linear_model import LogisticRegressionCV

    request = FitRequest("pretrained", complete(), SETTINGS, 1)
    features = freeze(request, data)
    started = time.perf_counter()
    folds = [take_fold(features, FOLDS, number, seed=0) for number in range(FOLDS)]
    trials = []
    for number, strength in enumerate(np.geomspace(1e-5, 1, TRIALS)):
        tried = replace(request, params=complete(solver="lbfgs", l2_strength=float(strength)))
        trials.append((np.mean([fit(tried, fold).val_loss for fold in folds]), number, tried))
    best = fit(min(trials)[2], features)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    x, y = (features.train.images.reshape(len(features.train), -1), features.train.labels)
    theirs = LogisticRegressionCV(
        Cs=TRIALS, cv=FOLDS, scoring="neg_log_loss", max_iter=300, use_legacy_attributes=False
    ).fit(x.astype(np.float32), y)
    took = time.perf_counter() - started
    held = features.val.images.reshape(len(features.val), -1).astype(np.float32)
    given, labels = theirs.predict_proba(held), features.val.labels
    right, loss = accuracy(given, labels), cross_entropy(given, labels)
    return [
        f"{TRIALS} heads on {FOLDS} folds",
        f"{ours:.1f} s, {best.val_accuracy:.1%}, loss {best.val_loss:.3f}",
        f"{took:.1f} s, {right:.1%}, loss {loss:.3f}",
        show_ratio(took, ours),
    ]


def main() -> None:
    """Measure what the command line asks for."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    add_options(parser)
    options = parser.parse_args()
    folder = options.data or Path(os.environ["BURNISH_DATA"]) / "rsscn7"
    raw = load_images(folder, size=(224, 224), color="rgb", on_bad_image="skip")
    data, _ = prepare(raw, SplitSizes(val=0.2, test=0.1), seed=0)
    num_images = min(200 if options.quick else options.images, len(data.train))
    data = replace(
        data,
        train=data.train.take(np.arange(num_images)),
        blocks=None,
        fingerprint=f"{data.fingerprint} first {num_images}",
    )
    repeats = 1 if options.quick else options.repeats
    rows = [compare_features(data, repeats)]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        rows.append(compare_epochs(few(data, min(320, num_images, len(data.val))), repeats))
        rows.append(compare_heads(data))
    parts = [
        f"{len(data.train)} training and {len(data.val)} validation images of {folder.name} at "
        "224x224. Heads: seconds, and the accuracy on the validation images of what won.",
        lay_out(["what", "burnish", "plainly", "ratio"], rows),
    ]
    publish(options, "photos", parts, ["keras", "tensorflow", "onnxruntime", "scikit-learn"], began)


if __name__ == "__main__":
    main()
