"""Several processes on one run folder, and on one cache of images."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.runfolder.store import RunFolder

from . import TORTURE, sample
from .conftest import Tally
from .study import command, describe_run, write_study

HOLD = """
import sys, time
from pathlib import Path
from burnish.errors import RunBusyError
from burnish.runfolder.store import RunFolder
folder = Path(sys.argv[1])
while not folder.with_name("go").exists():
    time.sleep(0.001)
try:
    with RunFolder(folder).lock():
        (folder / "study.toml").write_text("it has begun")
        print("held", flush=True)
        while not folder.with_name("enough").exists():
            time.sleep(0.01)
except RunBusyError as error:
    print(error)
    sys.exit(2)
"""

RUN_AND_LOOK = """
import sys
from burnish import cli
try:
    cli.main()
finally:
    heavy = {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
    print("loaded:", sorted(heavy))
"""

BUSY = re.compile(r"is in use by process (\d+) on .* Wait for it, stop it, or run in another")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_of_processes_that_begin_at_once_exactly_one_holds_the_folder(
    tmp_path: Path, tally: Tally
) -> None:
    """Row "two, then 20 processes on one run folder": the lock itself, in a folder to be made."""
    for number in (2, sample(6, 20)):
        folder = tmp_path / str(number) / "run"
        folder.parent.mkdir()
        contenders = [start("-c", HOLD, str(folder)) for _ in range(number)]
        (folder.parent / "go").touch()
        ended: list[subprocess.Popen[str]] = []
        while len(ended) < number - 1:
            ended = [process for process in contenders if process.poll() is not None]
            time.sleep(0.01)
        (holder,) = (process for process in contenders if process not in ended)
        for process in ended:
            said, _ = process.communicate()
            found = BUSY.search(said)
            assert process.returncode == 2, said
            assert found, said
            assert int(found[1]) == holder.pid
        (folder.parent / "enough").touch()
        said, trouble = holder.communicate()
        assert (holder.returncode, said) == (0, "held\n"), trouble
        tally("processes on one run folder", number)


def test_a_killed_holder_leaves_nothing_to_clean_up(tmp_path: Path, tally: Tally) -> None:
    """Row "two, then 20 processes on one run folder": after kill -9 there is no stale lock."""
    folder = tmp_path / "run"
    (tmp_path / "go").touch()
    for _ in range(sample(2, 10)):
        holder = start("-c", HOLD, str(folder))
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert (folder / ".owner.json").exists()
        holder.kill()
        holder.communicate()
        assert not RunFolder(folder).is_locked()
        with RunFolder(folder).lock():
            owner = json.loads((folder / ".owner.json").read_text("utf-8"))
            assert owner["pid"] == os.getpid()
        tally("a killed holder's lock")


def test_who_comes_second_is_told_before_anything_is_loaded_or_written(
    tmp_path: Path, tally: Tally
) -> None:
    """Row "two, then 20 processes on one run folder": the command, while one holds it."""
    study, run = write_study(tmp_path), tmp_path / "run"
    (tmp_path / "go").touch()
    holder = start("-c", HOLD, str(run))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    others = [
        start("-c", RUN_AND_LOOK, "run", str(study), "--out", str(run))
        for _ in range(sample(2, 20))
    ]
    for other in others:
        said, error = other.communicate()
        assert other.returncode == 2, error
        assert f"error: {run} is in use by process {holder.pid} on " in error
        assert said == "loaded: []\n"
        tally("processes on one run folder")
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before
    (tmp_path / "enough").touch()
    holder.communicate()


@pytest.mark.skipif(not TORTURE, reason="20 runs; 'make torture' has the time for them")
def test_of_runs_that_begin_at_once_one_runs_to_its_end(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "two, then 20 processes on one run folder": whole runs, none of them running before."""
    study, run = write_study(tmp_path), tmp_path / "run"
    runs = [start(*command(study, run)[1:]) for _ in range(20)]
    codes = []
    for process in runs:
        _, error = process.communicate()
        assert process.returncode == 0 or BUSY.search(error), error
        codes.append(process.returncode)
    assert sorted(codes) == [0] + [2] * 19
    assert describe_run(run) == describe_run(finished)
    tally("processes on one run folder", 20)


LOAD = """
import sys, time
from hashlib import sha256
from pathlib import Path
from burnish.data.load import load_images
images = Path(sys.argv[1])
while not images.with_name("go").exists():
    time.sleep(0.001)
loaded = load_images(images)
print(len(loaded.train), sha256(loaded.train.read(slice(0, 120)).tobytes()).hexdigest())
"""


def test_processes_that_decode_the_same_images_at_once_get_the_same(
    tmp_path: Path, tally: Tally
) -> None:
    """Row "two, then 20 processes on one run folder": one cache of decoded images."""
    images = tmp_path / "images"
    chance = np.random.default_rng(3)
    for name in ("cat", "dog"):
        (images / name).mkdir(parents=True)
        for number in range(60):
            pixels = chance.integers(0, 256, (40, 30, 3), np.uint8)
            Image.fromarray(pixels).save(images / name / f"{number}.png")
    number = sample(3, 20)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(images)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    (tmp_path / "go").touch()
    said = set()
    for reader in readers:
        answer, error = reader.communicate()
        assert reader.returncode == 0, error
        said.add(answer)
    assert len(said) == 1
    assert said.pop().startswith("120 ")
    tally("processes on one cache of images", number)
