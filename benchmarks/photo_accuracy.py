"""Seconds until photographs are classified as well as PyTorch's fine-tuning does in ten minutes.

    python benchmarks/photo_accuracy.py [--sets hymenoptera rsscn7 sign-digits] [--minutes 10]
        [--seeds 3] [--tries 1 2 4 8] [--kept build/photo-accuracy.json] [--quick]

The peer is the recipe of `torch_photos`: all of EfficientNet-Lite0 from the same weights, once a
set. Its images are decoded before its clock starts, and what it does on held-out images takes none
of its time. Its target is what its network has at the end, when its rates have fallen to nothing.
Its clock counts what its threads get of the processor: what else runs takes no steps from it.

burnish is run as a user would, from the shell, with an empty cache: `burnish init`, then
`burnish run --minutes` of each of the tries, in turn, until one reaches the target. Its seconds are
those of both commands, from start to end, report included, as they pass: what else runs makes them
more, and the ratio smaller. Its test split are the held-out images.

Of a set that brings a split (hymenoptera) that is held out, of others a fifth by a seed, class by
class. Results lie in the file ``--kept`` until all are recorded: one that is broken off goes on
with what it lacks. Needs BURNISH_DATA, with all the sets in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from burnish.data.load import load_images
from burnish.image_files import is_image_name
from record import add_options, lay_out, publish, run_apart, show_ratio, show_seconds

SETS = ("hymenoptera", "rsscn7", "sign-digits")
HELD_OUT, CUT_SEED = 0.2, 0
DECODED = 256
"""Side that the peer's images are decoded to."""


@contextmanager
def lay_out_splits(name: str, most: int | None = None) -> Iterator[Path]:
    """Copy a set into a folder of its training and its held-out images.

    Parameters
    ----------
    name
        Of a folder in BURNISH_DATA: of folders of classes, or ``train`` and ``val`` of these.
    most
        Images of a class that are taken, of each split; all of them by default.

    Yields
    ------
    A folder with ``train/<class>`` and ``test/<class>``.
    """
    source = Path(os.environ["BURNISH_DATA"]) / name
    given = (source / "val").is_dir()
    generator = np.random.default_rng(CUT_SEED)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        for images in sorted((source / "train" if given else source).iterdir()):
            files = list_images(images)
            held = list_images(source / "val" / images.name) if given else []
            if not given:
                drawn = [files[number] for number in generator.permutation(len(files))]
                count = round(len(files) * HELD_OUT)
                held, files = drawn[:count], drawn[count:]
            for split, chosen in (("train", files), ("test", held)):
                into = folder / split / images.name
                into.mkdir(parents=True)
                for path in chosen[:most]:
                    shutil.copyfile(path, into / path.name)
        yield folder


def list_images(folder: Path) -> list[Path]:
    """Return the files of a folder that are called as images are, by name."""
    return sorted(path for path in folder.iterdir() if is_image_name(path.name))


def measure_peer(folder: Path, minutes: float, seed: int) -> list[dict[str, float]]:
    """Return the curve of the peer on the images of a folder: seconds, accuracy and loss."""
    # A thread that waits for another sleeps: its clock counts what its threads do.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    import torch_photos
    from burnish.models.efficientnet_lite import LITES

    with tempfile.TemporaryDirectory() as cache:
        raw = load_images(
            folder,
            size=(DECODED, DECODED),
            color="rgb",
            resize="stretch",
            on_bad_image="skip",
            cache_folder=Path(cache),
        )
        assert raw.test is not None
        train, held = (
            (np.array(split.images), np.asarray(split.labels, np.int64))
            for split in (raw.train, raw.test)
        )
    curve = torch_photos.fine_tune(
        LITES["efficientnet-lite0"].find_weights(), train, held, minutes, seed, print_point
    )
    return [asdict(point) for point in curve]


def print_point(point: Any) -> None:
    """Print what the peer has reached, for who waits for it."""
    print(f"  {point.seconds:4.0f} s {point.accuracy:.1%} {point.loss:.3f}", flush=True)


def measure_burnish(folder: Path, minutes: float, seed: int) -> dict[str, float | None]:
    """Return the seconds of ``init`` and ``run``, and the accuracy on the held-out images.

    That is ``None`` where the run is refused, as its minutes are too few for it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"XDG_CACHE_HOME": f"{scratch}/cache"}
        command = [sys.executable, "-m", "burnish"]

        def call(*words: str) -> int:
            return subprocess.run(
                [*command, *words], cwd=scratch, env=environment, stdout=subprocess.DEVNULL
            ).returncode

        started = time.perf_counter()
        if call("init", str(folder), "--on-bad-image", "skip") != 0:
            raise SystemExit("burnish init failed: see above")
        study = Path(scratch) / "photos.toml"
        text = study.read_text(encoding="utf-8")
        assert "\nseed = 42 " in text
        study.write_text(text.replace("\nseed = 42 ", f"\nseed = {42 + seed} "), encoding="utf-8")
        failed = call("run", study.name, "--minutes", f"{minutes:g}")
        seconds = time.perf_counter() - started
        if failed:
            return {"minutes": minutes, "seconds": seconds, "accuracy": None}
        (reading,) = (Path(scratch) / "runs/photos/test-ledger.jsonl").read_text().splitlines()
        accuracy = json.loads(reading)["accuracy"]
    return {"minutes": minutes, "seconds": seconds, "accuracy": accuracy}


class Kept:
    """Results in a file, which is written after each of them."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        there = path is not None and path.exists()
        self.results: dict[str, Any] = json.loads(path.read_text()) if path and there else {}

    def find(self, *key: object) -> Any:
        """Return what is kept under a key, or ``None``."""
        return self.results.get(" ".join(map(str, key)))

    def keep(self, value: Any, *key: object) -> Any:
        """Keep a value, and return it."""
        self.results[" ".join(map(str, key))] = value
        print(*key, value[-1] if isinstance(value, list) else value, flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = self.path.with_suffix(".new")
            whole.write_text(json.dumps(self.results, indent=1))
            whole.replace(self.path)
        return value


def measure_set(name: str, options: argparse.Namespace, kept: Kept) -> None:
    """Measure the peer on a set, then burnish, where that is not kept yet."""
    with lay_out_splits(name, 20 if options.quick else None) as folder:
        key = (name, "torch", options.minutes, 0)
        curve = kept.find(*key)
        if curve is None:
            curve = kept.keep(run_apart(measure_peer, folder, options.minutes, 0), *key)
        for seed in range(options.seeds):
            for minutes in options.tries:
                key = (name, "burnish", minutes, seed)
                tried = kept.find(*key)
                if tried is None:
                    tried = kept.keep(measure_burnish(folder, minutes, seed), *key)
                if tried["accuracy"] is not None and tried["accuracy"] >= curve[-1]["accuracy"]:
                    break


def compare(name: str, options: argparse.Namespace, kept: Kept) -> tuple[list[str], float]:
    """Return the row of a set, and the median of seconds of burnish; infinity for never."""
    curve = kept.find(name, "torch", options.minutes, 0)
    target = curve[-1]["accuracy"]
    first = next(point["seconds"] for point in curve if point["accuracy"] >= target)
    reached, best = [], []
    for seed in range(options.seeds):
        found = [kept.find(name, "burnish", minutes, seed) for minutes in options.tries]
        done = [tried for tried in found if tried and tried["accuracy"] is not None]
        best.append(max((tried["accuracy"] for tried in done), default=0.0))
        enough = [tried["seconds"] for tried in done if tried["accuracy"] >= target]
        reached.append(min(enough, default=math.inf))
    middle = median(reached)
    row = [
        name,
        f"{target:.1%}",
        str(len(curve)),
        f"{first:.0f} of {curve[-1]['seconds']:.0f}",
        ", ".join(show_seconds(seconds) for seconds in reached),
        ", ".join(f"{accuracy:.1%}" for accuracy in best),
        show_ratio(options.minutes * 60, middle),
        show_ratio(first, middle),
    ]
    return row, middle


def main() -> None:
    """Measure what the command line asks for."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tries", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--kept", type=Path, default=Path("build/photo-accuracy.json"))
    add_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.sets, options.seeds, options.minutes = options.sets[:1], 1, 0.2
        options.tries, options.kept = [2.0], None
    kept = Kept(options.kept)
    for name in options.sets:
        measure_set(name, options, kept)
    rows, seconds = zip(*(compare(name, options, kept) for name in options.sets), strict=True)
    heads = ["set", "peer's accuracy", "epochs", "seconds to it", "burnish's seconds to it"]
    heads += ["its best", "all the peer's minutes to that", "the peer's seconds to that"]
    parts = [
        f"Accuracy on held-out images. The peer has {options.minutes:g} minutes, one seed; burnish "
        f"{options.seeds} seeds, `--minutes` of {', '.join(f'{m:g}' for m in options.tries)} until "
        "one reaches what the peer has at its end. Ratios are of medians over the seeds.",
        lay_out(heads, rows),
        "Median over the sets: the peer's minutes are "
        f"{show_ratio(options.minutes * 60, median(seconds))} what burnish takes.",
    ]
    packages = ["torch", "keras", "tensorflow", "onnxruntime"]
    publish(options, "photo_accuracy", parts, packages, began)
    if kept.path is not None and not options.no_record:
        kept.path.unlink()  # The next time begins anew.


if __name__ == "__main__":
    main()
