"""Images decoded per second, against a bare Pillow loop on all cores in the same run.

    python benchmarks/reading.py [--images 4000] [--sizes 64 256] [--repeats 3]

The bare loop is what anyone would write: a pool of as many processes as cores, each of
which opens files with Pillow, converts to RGB, resizes if need be and makes an array. It
forgets them ("Pillow"), or copies them into one mapped file ("kept"). burnish lists the
folder, looks for colour and orientation, hashes every image, writes all into one file and
flushes it. They take turns, on files that were read before; starting the processes is
counted for each. The last columns are microseconds of a core per image, in one process,
the least of several turns: they hardly change with what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from burnish.data.decode import decode_images
from burnish.data.formats import FileImages, read_listing
from burnish.data.stored import store_images
from burnish.image import InputSpec
from record import add_quick


def make_files(root: Path, num_images: int, size: int, suffix: str) -> list[Path]:
    """Write smooth random colour images, in ten classes."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(num_images):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        path = root / f"class{index % 10}" / f"{index}{suffix}"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
        paths.append(path)
    return paths


def decode_bare(first: int, paths: list[Path], size: int, kept: Path | None) -> None:
    """Decode files with Pillow and nothing else; keep them in a mapped file, if there is one."""
    pixels = None if kept is None else np.load(kept, mmap_mode="r+")
    for index, path in enumerate(paths, start=first):
        with Image.open(path) as file:
            image = file.convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
        array = np.asarray(image)
        if pixels is not None:
            pixels[index] = array


def time_bare(paths: list[Path], size: int, num_workers: int, kept: Path | None) -> float:
    """Seconds of the bare loop on all cores."""
    started = time.perf_counter()
    if kept is not None:
        np.lib.format.open_memmap(kept, "w+", np.uint8, (len(paths), size, size, 3))
    with ProcessPoolExecutor(num_workers, get_context("spawn")) as pool:
        for future in [
            pool.submit(decode_bare, first, paths[first : first + 64], size, kept)
            for first in range(0, len(paths), 64)
        ]:
            future.result()
    return time.perf_counter() - started


def time_burnish(root: Path, size: int, scratch: Path) -> float:
    """Seconds of listing, decoding and writing the cache."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        store_images(read_listing(root), size=(size, size), cache_folder=Path(cache))
        return time.perf_counter() - started


def time_core(root: Path, paths: list[Path], size: int, scratch: Path) -> tuple[float, float]:
    """Microseconds of a core per image, least of five: Pillow's, and burnish's decoding."""
    paths = paths[:500]
    least = [float("inf")] * 2
    images = FileImages(root, tuple(str(path.relative_to(root)) for path in paths))
    file = scratch / "core.npy"
    for _ in range(5):
        started = time.process_time()
        decode_bare(0, paths, size, None)
        between = time.process_time()
        decode_images(
            images,
            len(paths),
            InputSpec(size, size, "rgb"),
            file,
            look_for_color=True,
            num_workers=1,
        )
        ended = time.process_time()
        least = [min(least[0], between - started), min(least[1], ended - between)]
    return least[0] / len(paths) * 1e6, least[1] / len(paths) * 1e6


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--target", type=int, help="decode to this size  (default: as they are)")
    parser.add_argument("--repeats", type=int, default=3)
    add_quick(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.images, arguments.sizes, arguments.repeats = 200, [64], 1
    affinity = getattr(os, "sched_getaffinity", None)
    num_workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    print(f"{arguments.images} images, {num_workers} cores; medians of {arguments.repeats}")
    heads = ("Pillow/s", "kept/s", "burnish/s", "to Pillow", "to kept", "Pillow us", "burnish us")
    print(f"{'files':>16}" + "".join(f" {head:>10}" for head in heads))
    for size in arguments.sizes:
        for suffix in (".png", ".jpg"):
            with tempfile.TemporaryDirectory() as scratch:
                root = Path(scratch) / "images"
                root.mkdir()
                paths = make_files(root, arguments.images, size, suffix)
                target = arguments.target or size
                seconds: list[list[float]] = [[], [], []]
                for _ in range(arguments.repeats):
                    kept = Path(scratch) / "kept.npy"
                    seconds[0].append(time_bare(paths, target, num_workers, None))
                    seconds[1].append(time_bare(paths, target, num_workers, kept))
                    seconds[2].append(time_burnish(root, target, Path(scratch)))
                rates = [arguments.images / median(each) for each in seconds]
                core = time_core(root, paths, target, Path(scratch))
                ratios = (rates[2] / rates[0], rates[2] / rates[1])
                print(
                    f"{f'{size}x{size}{suffix}':>16}"
                    + "".join(f" {rate:10.0f}" for rate in rates)
                    + "".join(f" {ratio:10.2f}" for ratio in ratios)
                    + "".join(f" {microseconds:10.0f}" for microseconds in core),
                    flush=True,
                )


if __name__ == "__main__":
    main()
