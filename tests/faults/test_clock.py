"""The wall clock is set forward and back by a day, every second, in all processes of a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_history
from burnish.runner.run import run_study
from burnish.study.parse import parse_study

from . import TORTURE
from .conftest import Tally
from .study import STUDY, command, describe_run, run_command, without_clock, write_study

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROW = "clock set back and forward a day"
DAY = 86400


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process whose clock is set a day forward, back and right again."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("setting a program's clock needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True
    )
    env = {"LD_PRELOAD": str(library)}
    program = "import time\nfor _ in range(4): print(time.time()); time.sleep(1)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    # Some Pythons ask the kernel in a way of their own.
    if len({round((float(t) - time.time()) / DAY) for t in told.stdout.split()}) < 3:
        pytest.skip("this Python does not ask the C library for the time")
    return env


def seconds_told(run: Path) -> list[float]:
    """Every number of seconds that a run says of itself."""
    results = [record.result for record in RunFolder(run).stages()]
    state = json.loads((run / "state.json").read_text("utf-8"))
    epochs = [
        epoch["seconds"]
        for path in run.glob("stages/*/**/*.csv")
        if path.name != "trials.csv"
        for epoch in read_history(path)
    ]
    return [state["seconds"], *(float(result["seconds"]) for result in results), *epochs]


ONE_FIT = STUDY[: STUDY.index('[[stage]]\nname = "tuned"')] + '[[stage]]\nname = "final"\n'
ONE_FIT += 'kind = "final"\n'
"""The study without its search, which needs no second process."""


def refuse_days(run: Path) -> None:
    """No number of seconds that the run says of itself has a day in it, forward or back."""
    seconds = seconds_told(run)
    assert len(seconds) > 3
    assert min(seconds) >= 0
    assert max(seconds) < DAY / 2


@pytest.mark.skipif(TORTURE, reason="make torture runs all of the study")
def test_a_fit_under_a_clock_that_jumps_is_the_same_fit(
    jumping: Mapping[str, str], tmp_path: Path, tally: Tally
) -> None:
    """Row: clock set back and forward a day."""
    study, text = parse_study(ONE_FIT, "the test's study")
    steady, jumped = RunFolder(tmp_path / "steady"), RunFolder(tmp_path / "jumping")
    run_study(study, text, steady)
    program = (
        "from tests.faults.test_clock import *\n"
        f"run_study(*parse_study(ONE_FIT, ''), RunFolder(Path({str(jumped.path)!r})))"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **jumping}, check=True)
    refuse_days(jumped.path)
    expected, found = (
        [without_clock(record.result) for record in run.stages()] for run in (steady, jumped)
    )
    assert [result["name"] for result in found] == ["start", "final"]
    assert found == expected
    tally(ROW)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_a_run_under_a_clock_that_jumps_is_the_same_run(
    jumping: Mapping[str, str], finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row: clock set back and forward a day."""
    done = run_command(write_study(tmp_path), tmp_path / "jumping", env=jumping)
    assert done.returncode == 0, done.stderr
    refuse_days(tmp_path / "jumping")
    assert describe_run(tmp_path / "jumping") == describe_run(finished)
    tally(ROW)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_a_run_that_goes_on_on_another_day_is_the_same_run(
    jumping: Mapping[str, str], finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row: clock set back and forward a day."""
    study = write_study(tmp_path)
    run = tmp_path / "run"
    env = {**os.environ, **jumping}
    with subprocess.Popen(command(study, run), env=env, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list(run.glob("stages/02-tuned/trials/0001/round-1.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)  # So that it does not end meanwhile.
        # Its state is told rightly, whatever the date is there and here.
        status = subprocess.run(
            [sys.executable, "-m", "burnish", "status", str(run), "--json"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(status.stdout)["state"] == "running"
        # Nor is the folder free for another.
        busy = run_command(study, run)
        assert busy.returncode == 2
        assert "is in use by process" in busy.stderr
        process.kill()
    # Killed: and every file is of yesterday or of tomorrow now.
    for number, path in enumerate(sorted(run.rglob("*"))):
        at = time.time() + (DAY if number % 2 else -DAY)
        os.utime(path, (at, at))
    done = run_command(study, run)
    assert done.returncode == 0, done.stderr
    assert describe_run(run) == describe_run(finished)
    tally(ROW, 2)


@pytest.mark.skipif(not TORTURE, reason="make torture")
def test_minutes_are_those_that_pass(
    jumping: Mapping[str, str], tmp_path: Path, tally: Tally
) -> None:
    """Row: clock set back and forward a day."""
    study, run = write_study(tmp_path), tmp_path / "run"
    done = run_command(study, run, "--minutes", "30", env=jumping)
    assert done.returncode == 0, done.stderr
    # What fits into half an hour is not shrunk, and no stage was late by a day.
    assert "behind the plan" not in done.stdout
    assert describe_run(run)["state"] == "done"
    (tuned,) = (r.result for r in RunFolder(run).stages() if r.name == "tuned")
    assert tuned["num_trials"] == 4
    refuse_days(run)
    tally(ROW)
