"""Ctrl-C, as a terminal sends it to all processes of a run, at moments all over it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish.interrupts import STOPPED
from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run

from . import TORTURE
from .conftest import Tally
from .study import command, describe_run, write_study

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc says when a process is ready for signals"
)

ROW = "Ctrl-C at any moment"

MOMENTS = (
    ("", 0.0),  # The first import.
    ("", 1.0),  # Amid TensorFlow's.
    ("[1/3] start", 0.0),
    ("[2/3] tuned", 0.0),  # The workers' server, and Optuna's database.
    ("[2/3] tuned", 0.5),
    ("[3/3] final", 0.0),
)
"""What is printed, and the seconds after it."""


def begin(words: list[str], errors: Path) -> subprocess.Popen[str]:
    """Start a run in a process group of its own; it has provided for signals when this returns."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with errors.open("w") as stderr:
            started = subprocess.Popen(
                words,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    caught = 0
    while not caught >> (signal.SIGTERM - 1) & 1:  # Python by itself does not catch this one.
        time.sleep(0.002)
        lines = Path(f"/proc/{started.pid}/status").read_text(encoding="ascii").splitlines()
        caught = next(int(line[8:], 16) for line in lines if line.startswith("SigCgt:"))
    return started


def end(started: subprocess.Popen[str]) -> None:
    """Kill what is left of a process group."""
    try:
        os.killpg(started.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def stop(words: list[str], run: Path, line: str, seconds: float) -> None:
    """Send Ctrl-C at a moment, and see that nothing but the one line came of it."""
    errors = run.with_suffix(".txt")
    started = begin(words, errors)
    try:
        assert started.stdout is not None
        while line and line not in started.stdout.readline():
            assert started.poll() is None, errors.read_text("utf-8")
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGINT)
        started.communicate(timeout=60)
        said = started.returncode, errors.read_text("utf-8")
        # It may have come to its end meanwhile.
        assert said in {(130, f"{STOPPED}\n"), (0, "")}, (line, seconds, said)
    finally:
        end(started)


def test_ctrl_c_at_any_moment_gives_one_line_and_130(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "Ctrl-C at any moment": what is there is whole, and the same command goes on."""
    study = write_study(tmp_path)
    moments = list(MOMENTS)
    if TORTURE:
        begun = time.monotonic()
        undisturbed = begin(words_for(study, tmp_path / "undisturbed"), tmp_path / "errors")
        undisturbed.communicate(timeout=300)
        seconds = time.monotonic() - begun
        moments += [("", seconds * number / 34) for number in range(34)]
    # Those in the order of a run are of one, which goes on each time.
    run = tmp_path / "run"
    for number, (line, seconds) in enumerate(moments):
        folder = run if number < len(MOMENTS) else tmp_path / f"run-{number}"
        stop(words_for(study, folder), folder, line, seconds)
        assert not (folder / "state.json").exists() or verify_run(RunFolder(folder)) == []
        tally(ROW)
    went_on = subprocess.run(words_for(study, run), capture_output=True, text=True, check=False)
    assert (went_on.returncode, went_on.stderr) == (0, "")
    assert describe_run(run) == describe_run(finished)


def words_for(study: Path, run: Path) -> list[str]:
    return [sys.executable, "-m", "burnish", *command(study, run)[3:]]
