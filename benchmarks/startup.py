"""How long commands take to start, against the import of TensorFlow.

    python benchmarks/startup.py [--repeats 11]

Whole processes, interleaved, medians: ``burnish --help``; ``burnish predict`` of one image by a
small bundle, which is made first; ``burnish run digits`` until the first call of the compiled
training steps has come back (38 steps, an epoch of `digits`), then the process ends; and
``python -c "import tensorflow"``. Every one is run once before, so that files are in memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from record import add_options, interleave, lay_out, publish, show_seconds

STUDY = """
[study]
name = "startup"
[data]
source = "digits"
split = { train = 1_197, val = 300, test = 300 }
[training]
batch_size = 32
max_epochs = 1
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
[[stage]]
name = "final"
kind = "final"
"""

FIRST_STEP = """
import os, sys
import burnish.training.engine as engine
run = engine._TensorFlowTrainer.run
def run_and_end(self, *arguments):
    run(self, *arguments)
    os._exit(0)
engine._TensorFlowTrainer.run = run_and_end
from burnish.cli import main
sys.argv = ["burnish", "run", "digits", "--out", sys.argv[1]]
main()
sys.exit("no training step was done")
"""


def time_command(*command: str) -> float:
    """Seconds of a whole process, which must end well."""
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed: {ended.stderr.decode(errors='replace')}")
    return seconds


def make_bundle(folder: Path) -> tuple[Path, Path]:
    """Train a small network for an epoch; give its run folder, and an image for it."""
    from PIL import Image

    study, image = folder / "startup.toml", folder / "digit.png"
    study.write_text(STUDY, encoding="utf-8")
    time_command(sys.executable, "-m", "burnish", "run", str(study), "--out", str(folder / "run"))
    pixels = np.zeros((28, 28), np.uint8)
    pixels[5:23, 13:16] = 255
    Image.fromarray(pixels).save(image)
    return folder / "run", image


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    add_options(parser)
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.quick:
        arguments.repeats = 1
    # The script that is installed beside this Python, as a person would start it.
    burnish = str(Path(sys.executable).parent / ("burnish.exe" if os.name == "nt" else "burnish"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, image = make_bundle(folder)

        def run_to_first_step() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                return time_command(sys.executable, "-c", FIRST_STEP, str(Path(out) / "run"))

        runs: dict[str, Callable[[], float]] = {
            "import tensorflow": lambda: time_command(sys.executable, "-c", "import tensorflow"),
            "burnish --help": lambda: time_command(burnish, "--help"),
            "burnish predict, one image": lambda: time_command(
                burnish, "predict", str(run), str(image)
            ),
            "burnish run digits, to the first training step": run_to_first_step,
        }
        interleave(runs, 1)
        seconds = interleave(runs, arguments.repeats)
    imported = median(seconds["import tensorflow"])
    rows = [
        [
            what,
            show_seconds(median(taken)),
            f"{show_seconds(min(taken))} - {show_seconds(max(taken))}",
            f"{median(taken) / imported:.2f}",
        ]
        for what, taken in seconds.items()
    ]
    parts = [
        f"Seconds of whole processes, median of {arguments.repeats} interleaved runs, and their "
        "range; the last column in imports of TensorFlow.",
        lay_out(["process", "seconds", "range", "imports"], rows),
    ]
    publish(arguments, "startup", parts, ["keras", "tensorflow", "onnxruntime"], began)


if __name__ == "__main__":
    main()
