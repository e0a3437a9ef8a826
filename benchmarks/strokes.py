"""Digits drawn with pens of any width, read by a model; and the width of MNIST's strokes.

    python benchmarks/strokes.py runs/mnist [--of-each 10] [--seed 0]
    python benchmarks/strokes.py --mnist [--data-dir DIR]

The first prints, for each width of the pen and side of the canvas, how many of the drawings of
`tests/digit/polylines.py` are recognised, and the time that an image takes to be prepared. Forms
that MNIST hardly has stand in a line of their own. The second measures what
`burnish.digit.strokes` has as constants.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.digit.polylines import CANVASES, FORMS, PENS, UNKNOWN, draw_digit, plausible_pairs  # noqa: E402

from burnish.bundle.model import Model, load  # noqa: E402
from burnish.digit.strokes import measure_width  # noqa: E402


def read_drawings(
    model: Model, canvas: int, pen: int, of_each: int, random: np.random.Generator
) -> tuple[dict[str, int], float]:
    """Return how many drawings of each form are recognised, and milliseconds for preparing one."""
    forms = [form for form in FORMS for _ in range(of_each)]
    drawn = [draw_digit(form, canvas=canvas, pen=pen, random=random) for form in forms]
    started = time.perf_counter()
    prepared = np.stack([model.prepare(image) for image in drawn])
    milliseconds = 1000 * (time.perf_counter() - started) / len(drawn)
    found = model.predict_arrays(prepared).argmax(axis=1)
    right = dict.fromkeys(FORMS, 0)
    for form, index in zip(forms, found, strict=True):
        right[form] += model.class_names[index] == form[0]
    return right, milliseconds


def print_table(model: Model, of_each: int, seed: int) -> None:
    """Print a row for each pen."""
    random = np.random.default_rng(seed)
    known = [form for form in FORMS if form not in UNKNOWN]
    counted: dict[tuple[int, int], dict[str, int]] = {}
    times: dict[int, list[float]] = {canvas: [] for canvas in CANVASES}
    for canvas, pen in plausible_pairs():
        counted[canvas, pen], took = read_drawings(model, canvas, pen, of_each, random)
        times[canvas].append(took)
    print("pen, px |" + "".join(f"{canvas:>8}" for canvas in CANVASES) + "     all")
    for pen in PENS:
        shares = {
            canvas: sum(right[form] for form in known) / (of_each * len(known))
            for (canvas, its_pen), right in counted.items()
            if its_pen == pen
        }
        cells = [f"{shares[c]:8.1%}" if c in shares else " " * 8 for c in CANVASES]
        print(f"{pen:7} |" + "".join(cells) + f"{np.mean(list(shares.values())):8.2%}")
    print("ms each |" + "".join(f"{np.mean(times[canvas]):8.1f}" for canvas in CANVASES))
    for form in UNKNOWN:
        share = np.mean([right[form] / of_each for right in counted.values()])
        print(f"not among them, '{form}': {share:.1%}")


def print_mnist(data_dir: Path | None) -> None:
    """Print mean, standard deviation and percentiles of the train split's widths."""
    from burnish.data import load_source

    images = load_source("mnist", data_dir).train.images[..., 0]
    widths = np.array([measure_width(_crop(image), 1.0) for image in images])
    print(f"{len(widths):,} images: mean {widths.mean():.3f}, std {widths.std():.3f} pixels of 20")
    for share in (0, 0.1, 1, 5, 50, 95, 99, 99.9, 100):
        print(f"{share:6} % {np.percentile(widths, share):6.2f}")


def _crop(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(image.max(axis=1) > 32), np.flatnonzero(image.max(axis=0) > 32)
    cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut.astype(np.float32) / np.float32(255)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="a run folder, or a bundle")
    parser.add_argument("--of-each", type=int, default=10, help="drawings of a form and size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mnist", action="store_true", help="measure MNIST's own strokes")
    parser.add_argument("--data-dir", type=Path, default=None)
    given = parser.parse_args()
    if given.mnist:
        print_mnist(given.data_dir)
    elif given.model is None:
        parser.error("give a run folder, or --mnist")
    else:
        print_table(load(given.model), given.of_each, given.seed)


if __name__ == "__main__":
    main()
