"""What the benchmarks have in common: processes of their own, curves, tables, and the record.

A benchmark prints its table and writes it, with machine, versions and the command that made
it, into its section of docs/benchmarks.md, in the place of the one before. With ``--quick`` it
only shows that it runs through, and records nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:  # A benchmark of how long things take to start must not load what they load.
    from burnish.data import Dataset

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"

Curve: TypeAlias = list[tuple[float, float]]
"""Seconds since the beginning, and a validation loss that was seen then."""

T = TypeVar("T")


def add_quick(parser: argparse.ArgumentParser) -> None:
    """Add the option that every benchmark of ``make bench`` has."""
    parser.add_argument(
        "--quick", action="store_true", help="a minute or two, to see that it runs; no figures"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmarks that are recorded."""
    add_quick(parser)
    parser.add_argument(
        "--no-record", action="store_true", help="print only; leave docs/benchmarks.md alone"
    )


ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

ASK_ONEDNN = """
from tensorflow.python.util import _pywrap_util_port
print(int(_pywrap_util_port.IsMklEnabled()))
"""


@cache
def default_onednn() -> str:
    """Whether TensorFlow by itself takes oneDNN's kernels on this processor: "1" or "0"."""
    environment = {name: value for name, value in os.environ.items() if name != ONEDNN}
    command = [sys.executable, "-c", ASK_ONEDNN]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return answer.stdout.split()[-1]


def open_process(*, stock: bool = False) -> ProcessPoolExecutor:
    """Open a fresh process that runs one call at a time.

    What is compared runs in processes of its own, so that neither takes over settings,
    threads or memory of the other; a process that waits takes no time. A ``stock`` one has
    TensorFlow as it comes, without the kernels that burnish asks it for.
    """
    process = ProcessPoolExecutor(1, get_context("spawn"))
    before = os.environ.get(ONEDNN)
    try:
        if stock:
            os.environ[ONEDNN] = default_onednn()
        process.submit(int).result()  # It starts with the first call, and has this environment.
    finally:
        os.environ.pop(ONEDNN, None)
        if before is not None:
            os.environ[ONEDNN] = before
    return process


def run_apart(function: Callable[..., T], *arguments: object, stock: bool = False) -> T:
    """Run one call in a fresh process, and give what it gives."""
    with open_process(stock=stock) as process:
        return process.submit(function, *arguments).result()


@cache
def load_mnist(num_images: int) -> Dataset:
    """MNIST as the studies cut it, a fifth of ``num_images`` for validation.

    It is looked for in BURNISH_DATA, then in the cache.
    """
    from burnish.data import SplitSizes, load_source, prepare

    folder = os.environ.get("BURNISH_DATA")
    raw = load_source("mnist", Path(folder) if folder else None)
    return prepare(raw, SplitSizes(train=num_images, val=num_images // 5), seed=42)[0]


def interleave(runs: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Run each in turn, ``repeats`` times, so that all meet the same moods of the machine."""
    results: dict[str, list[T]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            results[name].append(run())
    return results


def find_lowest(curve: Curve, within: float = math.inf) -> float:
    """The lowest loss of a curve within so many seconds; infinity where there is none."""
    return min((loss for seconds, loss in curve if seconds <= within), default=math.inf)


def find_first(curve: Curve, target: float) -> float:
    """Seconds until a loss is at most ``target``; infinity where none is."""
    return min((seconds for seconds, loss in curve if loss <= target), default=math.inf)


def describe_machine() -> str:
    """Processor, cores, and whether it has bfloat16 arithmetic."""
    from burnish.backend import has_bfloat16, processor_name

    arithmetic = "bfloat16 arithmetic" if has_bfloat16() else "no bfloat16 arithmetic"
    return f"{processor_name()}, {os.cpu_count()} cores, {arithmetic}"


def describe_versions(packages: Sequence[str]) -> str:
    """Versions of Python and of packages, as far as they are installed."""
    parts = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} (not installed)")
    return ", ".join(parts)


def lay_out(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that can be read as it is; all columns but the first to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]

    def write(line: Sequence[str]) -> str:
        first, *others = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([write(heads), write(rule), *(write(row) for row in rows)])


def show_seconds(seconds: float, cap: float = math.inf) -> str:
    """Seconds with three digits; what was not reached is more than the cap."""
    if math.isinf(seconds):
        return "never" if math.isinf(cap) else f"> {cap:.0f}"
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def show_ratio(peer: float, ours: float, cap: float = math.inf) -> str:
    """How many times as long the peer takes; at least, where it was cut off at the cap."""
    if math.isinf(ours):
        return "not reached"
    if math.isinf(peer):
        return "never" if math.isinf(cap) else f"> {cap / ours:.1f}x"
    return f"{peer / ours:.2f}x"


def show_spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def publish(
    arguments: argparse.Namespace,
    name: str,
    parts: Sequence[str],
    packages: Sequence[str],
    began: float,
) -> None:
    """Print what was measured, and record it.

    Parameters
    ----------
    arguments
        What :func:`add_options` has read.
    name
        Of the benchmark, and of its section.
    parts
        Paragraphs and tables, in Markdown.
    packages
        Whose versions matter.
    began
        When it began, by ``time.monotonic``.
    """
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    minutes = (time.monotonic() - began) / 60
    load = (
        f"; load average at its end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    )
    head = (
        f"`{command}` on {day}, {minutes:.1f} minutes{load}. {describe_machine()}; "
        f"{describe_versions(packages)}."
    )
    text = "\n\n".join([head, *parts])
    print(text)
    if arguments.quick or arguments.no_record:
        return
    record_section(DOCUMENT, name, text)
    print(f"\nrecorded in docs/{DOCUMENT.name}")


def record_section(document: Path, name: str, text: str) -> None:
    """Put a section in the place of the one of the same name, or at the end."""
    present = document.read_text(encoding="utf-8") if document.exists() else "# Benchmarks\n"
    sections = present.split("\n## ")
    section = f"{name}\n{text}\n"
    names = [known.split("\n", 1)[0] for known in sections]
    if name in names[1:]:
        sections[names.index(name, 1)] = section
    else:
        sections.append(section)
    whole = "\n\n## ".join(part.strip("\n") for part in sections) + "\n"
    document.write_text(whole, encoding="utf-8")
