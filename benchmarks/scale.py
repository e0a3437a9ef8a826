"""Whether time grows linearly with the work, and memory with the data alone.

    python benchmarks/scale.py [--images 10000 30000 100000 300000 1000000]
                               [--trials 1 10 30 100] [--sides 28 48 64 96 128]

``burnish run`` on generated images with a learnable pattern, written to a temporary folder as
an uncompressed ``.npz`` on the way: an epoch of a small convolutional network, and the final
stage. Three series: so many images of 28x28; so many trials of a search on 2,000 of them; 8,000
images of such sides. Times are of the whole process; "off the line" says how far one is from
the straight line through its series (least squares of the relative errors; it cuts the axis at
what start and compilation take). Memory is the peak of what the command's
processes together keep beyond mapped files (RssAnon and RssShmem of /proc); images of up to
256 MB a split are held in memory, more are read from a mapped file. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from large import measure_tree
from record import add_options, lay_out, publish, show_seconds

STUDY = """
[study]
name = "scale"
[data]
path = "images.npz"
color = "grey"
split = {{ train = 0.8, val = 0.1, test = 0.1 }}
[training]
batch_size = 128
learning_rate_schedule = "one-cycle"
max_epochs = 1
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = {{ num_conv_layers = 3, num_filters_first_layer = 8, num_filters_sub_layers = 16, dense_layer_size = 32 }}
{search}
[[stage]]
name = "final"
kind = "final"
"""  # noqa: E501

SEARCH = """
[[stage]]
name = "tuned"
kind = "tune"
base = "cnn"
sampler = "random"
trials = {trials}
schedule = {{ name = "full", max_epochs = 1 }}
[stage.space]
learning_rate = {{ low = 0.0001, high = 0.01, log = true }}
dropout_rate = {{ low = 0.1, high = 0.5 }}
"""

TRIAL_IMAGES, SIDE_IMAGES = 2_000, 8_000


def make_images(
    first: int, last: int, side: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Images `first` to `last`: class `k` has `k + 1` waves across a noisy ground."""
    generator = np.random.default_rng((side, first))
    labels = np.arange(first, last) % 10
    phase = generator.random((last - first, 1))
    wave = 110 + 70 * np.sin(
        2 * np.pi * ((labels[:, np.newaxis] + 1) * np.arange(side) / side + phase)
    )
    noise = generator.integers(0, 60, (last - first, side, side))
    return (wave[:, np.newaxis, :] + noise).astype(np.uint8)


def write_images(path: Path, num_images: int, side: int) -> None:
    """Write an archive of images and labels, piece by piece."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        head = {"descr": "|u1", "fortran_order": False, "shape": (num_images, side, side)}
        with archive.open("x.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_2_0(file, head)
            for first in range(0, num_images, 2_000):
                file.write(make_images(first, min(first + 2_000, num_images), side).tobytes())
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(num_images) % 10)


def run_once(num_images: int, side: int, trials: int = 0) -> tuple[float, float]:
    """Return seconds and peak megabytes of one ``burnish run``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "images.npz", num_images, side)
        search = SEARCH.format(trials=trials) if trials else ""
        (folder / "scale.toml").write_text(STUDY.format(search=search), encoding="utf-8")
        command = [sys.executable, "-m", "burnish", "run", str(folder / "scale.toml")]
        command += ["--out", str(folder / "run")]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        began, peak = time.monotonic(), 0.0
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as study:
            while study.poll() is None:
                peak = max(peak, sum(measure_tree(study.pid)))
                time.sleep(0.1)
            seconds = time.monotonic() - began
            if study.returncode:
                assert study.stderr is not None
                sys.exit(study.stderr.read().decode(errors="replace"))
    print(f"{num_images:,} of {side}x{side}, {trials} trials: {seconds:.1f} s", flush=True)
    return seconds, peak


def describe_series(
    unit: str, amounts: Sequence[float], runs: Sequence[tuple[float, float]]
) -> list[list[str]]:
    """Rows of one series: time against a straight line, memory above the first's."""
    x, seconds = np.array(amounts, float), np.array([run[0] for run in runs])
    # Weighted by one over the time, so that what is small counts by its percentage too.
    slope, start = np.polyfit(x, seconds, 1, w=1 / seconds) if len(x) > 1 else (0.0, seconds[0])
    rows = []
    for amount, (taken, peak) in zip(amounts, runs, strict=True):
        rows.append(
            [
                f"{amount:,.6g} {unit}",
                show_seconds(taken),
                f"{taken / (start + slope * amount) - 1:+.0%}",
                f"{1e6 * (taken - start) / amount:,.0f}",
                f"{peak:.0f}",
                f"{peak - runs[0][1]:+.0f}",
            ]
        )
    return rows


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [10_000, 30_000, 100_000, 300_000, 1_000_000]
    parser.add_argument("--images", type=int, nargs="*", default=sizes)
    parser.add_argument("--trials", type=int, nargs="*", default=[1, 10, 30, 100])
    parser.add_argument("--sides", type=int, nargs="*", default=[28, 48, 64, 96, 128])
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.quick:
        arguments.images, arguments.trials, arguments.sides = [2_000, 8_000], [1, 4], [28, 64]
    run_once(TRIAL_IMAGES, 28)  # What is read the first time is read from the disk.
    heads = ["work", "seconds", "off the line", "us each", "peak MB", "more MB"]
    parts = [
        "Seconds and peak of memory of whole runs; microseconds are of one image, trial or million "
        "pixels, above what the line says that none would take; the last column is the peak above "
        "that of the series' first line.",
    ]
    if arguments.images:
        numbers = sorted(arguments.images)
        rows = describe_series("images of 28x28", numbers, [run_once(n, 28) for n in numbers])
        for row, number in zip(rows, numbers, strict=True):
            row.append(f"{number * 28 * 28 / 1e6:.0f}")
        parts.append(lay_out([*heads, "images MB"], rows))
    if arguments.trials:
        numbers = sorted(arguments.trials)
        runs = [run_once(TRIAL_IMAGES, 28, number) for number in numbers]
        parts.append(lay_out(heads, describe_series("trials", numbers, runs)))
    if arguments.sides:
        sides = sorted(arguments.sides)
        pixels = [SIDE_IMAGES * side**2 / 1e6 for side in sides]
        runs = [run_once(SIDE_IMAGES, side) for side in sides]
        rows = describe_series("", pixels, runs)
        for row, side in zip(rows, sides, strict=True):
            row[0] = f"{SIDE_IMAGES:,} images of {side}x{side}"
        parts.append(lay_out(heads, rows))
    publish(arguments, "scale", parts, ["keras", "tensorflow"], began)


if __name__ == "__main__":
    main()
