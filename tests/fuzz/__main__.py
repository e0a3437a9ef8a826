"""Coverage-guided fuzzing of every parser, each in a process of its own.

    python -m tests.fuzz [--seconds 60] [--crashes crashes] [TARGET ...]

A target fails where something else than its own error comes out, an input takes more than 10
seconds, or the process more than 2 GB. What made it fail is kept in the folder of crashes; give
it to tests/fuzz/kept.py once it is repaired. Needs atheris: pip install 'burnish[fuzz]'.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS_AN_INPUT = 10
MEGABYTES = 2048


def fuzz_here(name: str, seconds: int, corpus: Path, crashes: Path) -> None:
    """Fuzz one target; atheris ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["burnish", "csv", "gzip", "json", "numpy.lib", "tomllib", "zipfile"],
        enable_loader_override=False,
    ):
        from .targets import TARGETS, try_target

        seeds = TARGETS[name].seeds()
        # Some are imported by their first use.
        for seed in seeds:
            try_target(name, seed)

    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={crashes}/{name}-",
        "-max_len=65536",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup(arguments, lambda content: try_target(name, content))
    atheris.Fuzz()


def main() -> None:
    """Fuzz the targets one after the other, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--crashes", type=Path, default=Path("crashes"))
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here is not None:
        fuzz_here(given.targets[0], given.seconds, given.here, given.crashes)
    from .targets import TARGETS  # Not before: what is fuzzed is instrumented by its import.

    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    given.crashes.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in given.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="burnish-corpus-") as corpus:
            options = ["--seconds", str(given.seconds), "--crashes", str(given.crashes)]
            command = [sys.executable, "-m", "tests.fuzz", name, *options, "--here", corpus]
            started = time.monotonic()
            done = subprocess.run(
                command, stderr=subprocess.PIPE, text=True, errors="replace", env=_environment()
            )
            seconds = time.monotonic() - started
            tried = re.search(r"number_of_executed_units: *([0-9]+)", done.stderr)
            reached = re.findall(r"cov: ([0-9]+)", done.stderr)
        inputs = f"{int(tried[1]):,} inputs" if tried else "no count of inputs"
        lines = f"{reached[-1]} edges" if reached else "no edges"
        verdict = "nothing found" if done.returncode == 0 else f"FAILED ({done.returncode})"
        line = f"{name:10} {seconds:5.0f} s  {inputs:>16}  {lines:>12}  {verdict}"
        print(line, flush=True)  # noqa: T201
        if done.returncode:
            failed.append(name)
            print(done.stderr[-6_000:], flush=True)  # noqa: T201
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; the inputs are in {given.crashes}")


def _environment() -> dict[str, str]:
    # In memory where there is a place for it: a fuzzer writes thousands of files a second.
    memory = Path("/dev/shm")
    return {**os.environ, **({"TMPDIR": str(memory)} if memory.is_dir() else {})}


if __name__ == "__main__":
    main()
