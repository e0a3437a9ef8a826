"""Memory of a study on many photographs: decoded, seen by a frozen network, trained on.

    python benchmarks/photo_memory.py [--images 20000] [--input-size 64] [--views 4]
        [--minutes 60] [--quick]

JPEGs of 500x375 pixels, of gradients, shapes and noise, no two alike, are drawn into a temporary
folder (1 GB for 20,000). `burnish init` and `burnish run` are given it as by a user, with an empty
cache; but the frozen network sees ``--views`` views of each image, in the head's stage as in that
of the last blocks, at ``--input-size`` (0: as decoded, 256x256). A smaller size makes the same
vectors in less time. What has not ended after ``--minutes`` is broken off, and said to be.

Twice a second the memory of the command with all its processes is added up: what is in no file, a
page that several share counted once (Pss_Anon and Pss_Shmem of /proc; Linux only). Mapped files,
which the system takes back where memory is short, are not in it. Disk: about 10 GB for 20,000.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from record import add_options, lay_out, publish

WIDTH, HEIGHT = 500, 375
DIFFERENT, CLASSES = 500, 5
GOAL = 1_500
"""MB that the command may take at 20,000 photographs."""


def draw_photographs(folder: Path, num_images: int, first: int, last: int) -> None:
    """Draw the pictures from one number to another, each as often as its share is.

    A square of noise, in which no two photographs are alike, lies somewhere in each.
    """
    for picture_number in range(first, last):
        kind = picture_number % CLASSES
        picture = _draw_picture(picture_number, kind)
        into = folder / f"class{kind}"
        into.mkdir(exist_ok=True)
        for number in range(picture_number, num_images, DIFFERENT):
            generator = np.random.default_rng((1, number))
            top, left = int(generator.integers(HEIGHT - 40)), int(generator.integers(WIDTH - 40))
            changed = picture.copy()
            changed[top : top + 40, left : left + 40] = generator.integers(0, 256, (40, 40, 3))
            Image.fromarray(changed).save(into / f"{number:06}.jpg", quality=85)


def _draw_picture(number: int, kind: int) -> NDArray[np.uint8]:
    """Draw a gradient, blots as of leaves or fur, stripes of the class, and noise."""
    generator = np.random.default_rng((0, number))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    slope = generator.uniform(-0.3, 0.3, (2, 3)).astype(np.float32)
    drawn = 128 + (y - HEIGHT / 2)[..., None] * slope[0] + (x - WIDTH / 2)[..., None] * slope[1]
    blots = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    drawn += 0.5 * np.asarray(blots.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    angle = np.pi * kind / CLASSES
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 6)
    drawn += 20 * wave[..., None] + generator.normal(0, 8, drawn.shape).astype(np.float32) - 64
    return np.asarray(np.clip(drawn, 0, 255), np.uint8)


def draw_all(folder: Path, num_images: int) -> None:
    """Draw all photographs, on all cores."""
    pieces = np.linspace(0, DIFFERENT, 4 * (os.cpu_count() or 1) + 1).astype(int)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(draw_photographs, folder, num_images, int(first), int(last))
            for first, last in pairwise(pieces)
        ]
        for job in jobs:
            job.result()


def list_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in brackets, may hold anything; the parent is the second field after it.
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            children[int(parent)].append(int(entry.name))
    found = [pid]
    for known in found:
        found += children[known]
    return found


def own_megabytes(pid: int) -> float:
    """Return the memory of a process that is in no file, shared pages by their share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    parts = [line.split() for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
    return sum(float(part[1]) for part in parts) * 1024 / 1e6


def name_phase(scratch: Path) -> str:
    """Say what goes on, by the files that are there."""
    runs = sorted((scratch / "runs").glob("*/stages/*"))
    if any((scratch / "cache").glob("burnish/features/*.part")):
        return "features" + (f" of {runs[-1].name}" if runs else " of the plan")
    return f"stage {runs[-1].name}" if runs else "decoding and plan"


def watch(command: list[str], scratch: Path, log: Path, seconds: float) -> dict[str, float]:
    """Run a command for so long at most; return the peak of its memory by phase, in MB."""
    environment = os.environ | {"XDG_CACHE_HOME": str(scratch / "cache")}
    peaks: dict[str, float] = {}
    with log.open("ab") as output:
        running = subprocess.Popen(
            command, cwd=scratch, env=environment, stdout=output, stderr=output
        )
        until = time.monotonic() + seconds
        while running.poll() is None:
            phase = name_phase(scratch)
            taken = sum(own_megabytes(pid) for pid in list_tree(running.pid))
            peaks[phase] = max(taken, peaks.get(phase, 0.0))
            if time.monotonic() > until:
                running.terminate()  # It puts its things in order, and ends.
                running.wait(120)
                peaks[f"broken off in {phase}"] = taken
                break
            time.sleep(0.5)
    if running.returncode not in (0, None) and time.monotonic() < until:
        raise SystemExit(log.read_text(errors="replace")[-2000:])
    return peaks


def change_study(study: Path, views: int, input_size: int) -> None:
    """Ask for so many views of a smaller image in both stages, and two trials of the head."""
    text = study.read_text(encoding="utf-8")
    before = 'params = { backbone = "efficientnet-lite0", views = 1 }'
    assert before in text
    text = text.replace(
        before,
        f'params = {{ backbone = "efficientnet-lite0", input_size = {input_size}, '
        f"views = {views}, horizontal_flip = true, crop_range = 0.3 }}",
    )
    lines = [
        f"views = {views}" if line.startswith("views = ") else line for line in text.splitlines()
    ]
    study.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure what the command line asks for."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--scratch", type=Path, help="where to put the files; the system's folder")
    add_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.images = 400
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        photos = scratch / "photos"
        photos.mkdir()
        draw_all(photos, options.images)
        print(f"{options.images} drawn after {time.monotonic() - began:.0f} s", flush=True)
        burnish, log = [sys.executable, "-m", "burnish"], scratch / "log"
        peaks = {"init": max(watch([*burnish, "init", "photos"], scratch, log, 1e9).values())}
        print(f"init: {peaks['init']:.0f} MB", flush=True)
        change_study(scratch / "photos.toml", options.views, options.input_size)
        command = [*burnish, "run", "photos.toml"]
        peaks |= watch(command, scratch, log, options.minutes * 60)
        print(log.read_text(errors="replace")[-1500:])
        sizes = [path.stat().st_size / 1e6 for path in scratch.glob("cache/burnish/features/*")]
    rows = [[phase, f"{megabytes:.0f}"] for phase, megabytes in peaks.items()]
    parts = [
        f"{options.images:,} photographs of {WIDTH}x{HEIGHT}, {options.views} views, the network's "
        f"input {options.input_size or 'as decoded'}. Peak of all processes, MB, without mapped "
        f"files, of which features and activations are {sum(sizes):.0f} MB. Goal: under {GOAL}.",
        lay_out(["phase", "MB"], rows),
    ]
    publish(options, "photo_memory", parts, ["keras", "tensorflow", "onnxruntime"], began)


if __name__ == "__main__":
    main()
