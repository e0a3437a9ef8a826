"""Memory of a study on a data set that is larger than it may take.

    python benchmarks/large.py [--images 200000] [--side 64]

Writes that many PNG files of generated colour images with a learnable pattern, one folder
per class, and runs a study on them: decoding into the cache, a baseline, a small search in
worker processes, the final test. Prints the peak of what all its processes together keep
in memory that is not a file's (RssAnon and RssShmem of /proc), against the size of the
decoded images. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

NUM_CLASSES = 10
STUDY = """
[study]
name = "large"
[data]
path = "images"
split = { train = 0.8, val = 0.1, test = 0.1 }
[training]
batch_size = 128
learning_rate_schedule = "one-cycle"
max_epochs = 1
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = { num_conv_layers = 4, num_filters_first_layer = 16, num_filters_sub_layers = 32, batch_normalization = true }
[[stage]]
name = "cnn-tuned"
kind = "tune"
base = "cnn"
trials = 3
sampler = "random"
schedule = { name = "full", max_epochs = 0.1 }
refit = { max_epochs = 0.5 }
[stage.space]
learning_rate = [0.001, 0.003, 0.01]
[[stage]]
name = "final"
kind = "final"
"""  # noqa: E501


def write_images(folder: Path, first: int, last: int, side: int) -> None:
    """Write images `first` to `last`: class `k` has `k + 1` waves across a noisy ground."""
    generator = np.random.default_rng(first)
    ramp = np.arange(side) / side
    for number in range(first, last):
        label = number % NUM_CLASSES
        phase, tint = generator.random(), generator.uniform(0.4, 1.0, 3)
        wave = 90 + 60 * np.sin(2 * np.pi * ((label + 1) * ramp + phase))
        noise = generator.integers(0, 40, (side, side, 1))
        pixels = ((wave[np.newaxis, :, np.newaxis] + noise) * tint).astype(np.uint8)
        path = folder / f"class-{label}" / f"{number:07d}.png"
        Image.fromarray(pixels).save(path, compress_level=1)


def measure_tree(root: int) -> list[float]:
    """Megabytes that a process and its descendants keep beyond files, the largest first."""
    parents: dict[int, int] = {}
    kept: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(
                line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines()
            )
            pid = int(fields["Pid"])
            parents[pid] = int(fields["PPid"])
            kept[pid] = sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))
        except (OSError, KeyError, ValueError):
            continue  # It ended meanwhile, or is a kernel's thread.
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted((kept[pid] / 1e3 for pid in family & set(kept)), reverse=True)


def main() -> None:
    """Run the benchmark and print what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label in range(NUM_CLASSES):
            (folder / "images" / f"class-{label}").mkdir(parents=True)
        began = time.monotonic()
        with ProcessPoolExecutor() as pool:
            for first in range(0, arguments.images, 1000):
                last = min(first + 1000, arguments.images)
                pool.submit(write_images, folder / "images", first, last, arguments.side)
        print(f"wrote {arguments.images:,} files in {time.monotonic() - began:.0f} s", flush=True)
        (folder / "large.toml").write_text(STUDY, encoding="utf-8")
        command = [sys.executable, "-m", "burnish", "run", str(folder / "large.toml")]
        command += ["--out", str(folder / "run"), "--workers", str(arguments.workers)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        began = time.monotonic()
        study = subprocess.Popen(command, env=environment)
        peak: list[float] = []
        while study.poll() is None:
            peak = max(peak, measure_tree(study.pid), key=sum)
            time.sleep(0.2)
        if study.returncode:
            sys.exit(study.returncode)
        decoded = arguments.images * arguments.side**2 * 3 / 1e6
        print(
            f"decoded {decoded:,.0f} MB; peak beyond the page cache {sum(peak):,.0f} MB, in "
            f"processes of {', '.join(f'{part:,.0f}' for part in peak)} "
            f"({arguments.workers} workers); "
            f"{time.monotonic() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
