"""Faults of the driver and of storage: kill -9, a full disk, failing calls, power cuts."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from . import TORTURE, sample
from .bench import Bench, Goal, changes, identify, is_record, is_temporary, remove
from .conftest import Tally
from .disk import Disk, Files, read_files, write_files
from .shim import GROWING, KILL, Kind, Shim
from .study import command, run_command
from .zygote import Zygote

SHARDS = sample(1, 4)
"""Parts of the long tests, so that several processes can share them."""

KILLED = "kill -9 of the driver"
REFUSED = "full disk, failing writes, fsyncs, renames"
POWER = "power cut"

OPTIONAL = ("events", "database")
"""What a study does without where it cannot be written."""


# ---- kill -9


def list_states(bench: Bench) -> list[tuple[int, Files]]:
    """Every state of the disk that a run which goes on can tell from the one before it."""
    disk, known, states = Disk(bench.recorded_root), set(), []
    for number, operation in enumerate(bench.operations, start=1):
        disk.apply(operation)
        if not changes(operation):
            continue
        files = disk.files()
        name = identify(files)
        if name not in known:
            known.add(name)
            states.append((number, files))
    return states


def choose_goal(place: int) -> Goal:
    """Mostly the next record, now and then a later one."""
    if place % 40 == 0:
        return "end of study"
    return "end of stage" if place % 20 == 10 else "next round"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_at_any_write_it_goes_on_to_the_same(bench: Bench, tally: Tally, shard: int) -> None:
    """Kill -9 of the driver at every write.

    What kill -9 leaves is what stands on the disk at that moment, so one recorded run has all
    of it. States that a run which goes on cannot tell apart are tried once. One in forty goes on
    to the end of the study, one in twenty to the end of the stage that was interrupted, the others
    until they have recorded something that follows, after which another state has been tried.
    """
    states = list_states(bench)
    assert len(states) > 100
    if sample(1, 0):
        states = random.Random(time.time_ns()).sample(states, 2)
    for place, (number, files) in enumerate(states):
        if place % SHARDS == shard:
            try:
                bench.go_on(files, choose_goal(place))
            except AssertionError as error:
                raise AssertionError(f"killed after operation {number}: {error}") from error
            tally(KILLED)


def test_killed_between_reading_the_test_split_and_its_ledger_it_is_read_once(
    bench: Bench, tally: Tally
) -> None:
    """Kill -9 of the driver at every write: those of the sealed test split."""
    disk = Disk(bench.recorded_root)
    predictions = "run/stages/03-final/predictions.parquet"
    tried = 0
    for operation in bench.operations:
        disk.apply(operation)
        files = disk.files()
        if operation.kind == Kind.RENAME and predictions in files:
            if "run/test-ledger.jsonl" in files:
                break
            bench.go_on(files, "end of study")
            tried += 1
            tally(KILLED)
    assert tried > 0


def start(study: Path, run: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Run the study as a user would, in a process group of its own."""
    return subprocess.Popen(
        command(study, run),
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_group(group: int) -> None:
    """Wait until the last process of a group has ended, workers and all."""
    deadline = time.monotonic() + 120
    while any(is_alive_in(group, folder) for folder in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline, "a worker has outlived its driver by two minutes"
        time.sleep(0.1)


def is_alive_in(group: int, process: Path) -> bool:
    """Whether a process is of this group, and has not ended."""
    try:
        state, _, its_group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:  # It has just ended.
        return False
    return int(its_group) == group and state != "Z"


def check_kept(run: Path, recorded: Files) -> Files:
    """See that all that was recorded still is; give what is recorded now."""
    files = read_files(run.parent)
    for name, content in recorded.items():
        assert files[name] == content, f"{name} was recorded, and is lost or changed"
    return {name: content for name, content in files.items() if is_record(name)}


@pytest.mark.skipif(not TORTURE, reason="by 'make torture' alone: processes that start")
@pytest.mark.parametrize("shard", range(sample(1, 2)))
def test_a_driver_killed_while_it_writes_leaves_no_worker_and_goes_on_to_the_same(
    bench: Bench, tally: Tally, tmp_path: Path, shard: int
) -> None:
    """Kill -9 of the driver at a write: a real process, whose worker ends by itself."""
    shim = Shim(tmp_path / "shim")
    for _ in range(sample(1, 2)):
        root = bench.new_root()
        root.mkdir()
        at = random.randint(1, len(bench.operations))
        shim.set(root, at=at, error=KILL)
        process = start(bench.study, root / "run", shim.environment)
        assert process.wait(300) == -signal.SIGKILL, f"it was to be killed at operation {at}"
        recorded = check_kept(root / "run", {}) if (root / "run").is_dir() else {}
        wait_for_group(process.pid)
        assert bench.driver.run(bench.study, root / "run") == "done", f"killed at {shim.last}"
        bench.compare(root / "run")
        check_kept(root / "run", recorded)
        remove(root)
        tally(KILLED)


@pytest.mark.skipif(not TORTURE, reason="by 'make torture' alone: a minute of runs")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs are forked, as on Linux")
@pytest.mark.parametrize("shard", range(2))
def test_killed_at_random_moments_it_goes_on_to_the_same(
    bench: Bench, tally: Tally, shard: int
) -> None:
    """Kill -9 of the driver at 50 random moments, its workers killed with it or left alive.

    Real processes, again and again in one folder; the next one does not wait for the workers.
    """
    zygote = Zygote()
    root = bench.new_root()
    root.mkdir()
    recorded: Files = {}
    killed = 0
    while killed < 25:
        # Up to after the last stage, wherever it had come to.
        seconds, workers_too = random.uniform(0.1, 6), random.random() < 0.5
        ended = zygote.run(bench.study, root / "run", seconds, workers_too=workers_too)
        if ended is None:
            killed += 1
            tally(KILLED)
        else:
            assert ended == 0
            bench.compare(root / "run")
            remove(root)
            root.mkdir()
            recorded = {}
        if (root / "run").is_dir():
            recorded = check_kept(root / "run", recorded)
    zygote.close()
    assert bench.driver.run(bench.study, root / "run") == "done"
    bench.compare(root / "run")
    remove(root)


# ---- calls that fail


FAULTS = {
    "disk full from the Nth write on": (errno.ENOSPC, GROWING, True),
    "the Nth write fails": (errno.ENOSPC, (Kind.WRITE,), False),
    "the Nth fsync fails": (errno.EIO, (Kind.SYNC,), False),
    "the Nth rename fails": (errno.EIO, (Kind.RENAME,), False),
    "read-only from the Nth call on": (errno.EROFS, tuple(Kind), True),
    "the Nth call of any kind fails": (errno.EIO, tuple(Kind), False),
}


def check_error(answer: str, root: Path) -> None:
    """See that a run ended with one clear error, which says where and what to do."""
    assert answer.startswith("error: "), answer
    assert str(root.resolve()) in answer, answer
    assert "give the same command again" in answer, answer
    assert "\n" not in answer, answer


def cause(bench: Bench, root: Path, fault: str, number: int) -> str:
    """Run the study with one fault; see that nothing recorded is lost, and say how it ended."""
    before = read_files(root)
    error, kinds, forever = FAULTS[fault]
    bench.shim.set(root, at=number, error=error, kinds=kinds, forever=forever)
    answer = bench.driver.run(bench.study, root / "run")
    where = bench.shim.last
    bench.shim.quieten()
    try:
        if answer == "done":
            # What failed is optional, or there are not so many calls.
            bench.compare(root / "run", without=OPTIONAL)
        else:
            check_error(answer, root)
        after = read_files(root)
        for name, content in before.items():
            assert not is_record(name) or after[name] == content, f"{name} is lost or changed"
    except AssertionError as problem:
        raise AssertionError(f"{fault}, N = {number}, {where}: {problem}") from problem
    return answer


def test_a_call_that_fails_anywhere_is_one_clear_error_and_costs_nothing(
    bench: Bench, tally: Tally
) -> None:
    """Full disk, and failure of the Nth write, fsync or rename: some, at any moment of a run."""
    states = list_states(bench)
    for fault in random.sample(sorted(FAULTS), 2):
        root = bench.new_root()
        write_files(random.choice(states)[1], root)
        if cause(bench, root, fault, random.randint(1, 40)) != "done":
            bench.go_on(read_files(root), "end of stage", without=OPTIONAL)
        remove(root)
        tally(REFUSED)


@pytest.mark.skipif(not TORTURE, reason="by 'make torture' alone: hundreds of faults")
@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_call_fails_it_says_so_and_the_same_command_goes_on(
    bench: Bench, tally: Tally, fault: str
) -> None:
    """Full disk, and failure of the Nth write, fsync or rename, N = 1, 2, …

    The run that goes on after a fault meets the next one a call later. It so comes further
    each time, since nothing recorded is lost; what it comes to is what an undisturbed run does.
    Beyond the tenth call some are left out, others each time, lest it take an hour: most where
    the study does without what failed, and runs to its end.
    """
    root = bench.new_root()
    root.mkdir()
    number = 0
    while True:
        number += 1
        before = read_files(root)
        answer = cause(bench, root, fault, number)
        if not bench.shim.fired:
            break
        tally(REFUSED)
        if answer == "done":
            # What failed was optional: the next fault meets the study where this one did.
            remove(root)
            write_files(before, root)
        number += random.randint(0, 60 if answer == "done" else 20) if number > 10 else 0
    remove(root)


@pytest.mark.skipif(not TORTURE, reason="by 'make torture' alone: what others test, by processes")
def test_the_command_line_ends_with_code_2_and_one_message(
    bench: Bench, tally: Tally, tmp_path: Path
) -> None:
    """Full disk: what a user sees of it, from the first write to the report's last."""
    shim = Shim(tmp_path / "shim")
    root = bench.new_root()
    root.mkdir()
    for number in (1, 10, 100, 1000):
        shim.set(root, at=number, error=errno.ENOSPC, kinds=GROWING, forever=True)
        ended = run_command(bench.study, root / "run", env=shim.environment)
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.count("\n") == 1, ended.stderr
        check_error(ended.stderr.rstrip(), root)
        tally(REFUSED)
    bench.go_on(read_files(root), "end of study")
    remove(root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone, and not in every container")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_really_full_is_one_clear_error_until_there_is_room(
    bench: Bench, tally: Tally, small_disk: Path
) -> None:
    """Full disk: a real one, which is given some room whenever a study has filled it."""
    ended, size = "", 100
    recorded: Files = {}
    while ended != "done":
        ended = bench.driver.run(bench.study, small_disk / "run")
        if ended != "done":
            check_error(ended, small_disk)
            tally(REFUSED)
        recorded = check_kept(small_disk / "run", recorded)
        size += random.randint(50, 200) * sample(4, 1)
        grow = ["mount", "-o", f"remount,size={size}k", str(small_disk)]
        subprocess.run(grow, check=True)
    bench.compare(small_disk / "run", without=OPTIONAL)


# ---- power cuts


def list_promises(bench: Bench) -> list[Files]:
    """After each operation: what burnish has recorded, each with its content.

    It is recorded once its rename has been flushed; from then on the study counts on it.
    """
    disk = Disk(bench.recorded_root)
    waiting: dict[str, Path] = {}
    promised: Files = {}
    promises = []
    for operation in bench.operations:
        disk.apply(operation)
        name = (
            operation.target.relative_to(bench.recorded_root.resolve()).as_posix()
            if (operation.kind == Kind.RENAME)
            else ""
        )
        if is_record(name):
            waiting[name] = operation.target.parent
        elif operation.kind == Kind.SYNC:
            for name in [name for name, folder in waiting.items() if folder == operation.path]:
                del waiting[name]
                promised = {**promised, name: disk.files()[name]}
        promises.append(promised)
    return promises


def test_a_power_cut_at_any_moment_leaves_all_that_was_recorded(bench: Bench, tally: Tally) -> None:
    """Power cut: at every operation of a run, what was flushed holds all that was recorded."""
    disk = Disk(bench.recorded_root)
    promises = list_promises(bench)
    assert len(promises[-1]) == 3 + 6 + 1  # Stages, rounds of trials, the ledger.
    for number, (operation, promised) in enumerate(
        zip(bench.operations, promises, strict=True), start=1
    ):
        disk.apply(operation)
        flushed = disk.flushed_files()
        for name, content in promised.items():
            assert flushed.get(name) == content, f"{name} is lost at operation {number}"
        # Nothing is half there, where nothing was renamed before it was flushed.
        for name, content in flushed.items():
            if re.search(r"\.(json|csv|npz|keras|parquet|onnx|toml|jsonl)$", name):
                assert content or is_temporary(name), f"{name} is empty at operation {number}"
        tally(POWER)


SUPERSEDE = """
import sys
from pathlib import Path
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
run = RunFolder(Path(sys.argv[1]))
for number in range(3):
    write_json(run.stage(1, "first") / "result.json", {"number": number})
    run.supersede(run.stage(1, "first"))
"""


def test_a_power_cut_while_a_stage_moves_leaves_it_at_one_of_both_places(
    tally: Tally, tmp_path: Path
) -> None:
    """Power cut: while stages that have changed are moved out of the way."""
    shim = Shim(tmp_path / "shim")
    root = tmp_path / "root"
    root.mkdir()
    shim.set(root, log=True)
    command = [sys.executable, "-c", SUPERSEDE, str(root / "run")]
    subprocess.run(command, env={**os.environ, **shim.environment}, check=True, timeout=60)
    disk = Disk(root)
    recorded: set[bytes] = set()
    for number, operation in enumerate(shim.operations(), start=1):
        disk.apply(operation)
        results = {
            content
            for name, content in disk.flushed_files().items()
            if name.endswith("/result.json") and content is not None
        }
        assert recorded <= results, f"lost at operation {number}"
        recorded = results
        tally(POWER)
    assert len(recorded) == 3


@pytest.mark.parametrize("shard", range(SHARDS))
def test_after_a_power_cut_it_goes_on_to_the_same(bench: Bench, tally: Tally, shard: int) -> None:
    """Power cut: at any operation; of what was not flushed nothing survives, or some of it."""
    disk, known, states = Disk(bench.recorded_root), set(), []
    for number, operation in enumerate(bench.operations, start=1):
        disk.apply(operation)
        chance = random.Random(number)
        for files in (disk.flushed_files(), disk.flushed_files(chance)):
            name = repr(sorted(files.items()))
            if hash(name) not in known:
                known.add(hash(name))
                states.append((number, files))
    chance = random.Random(shard)
    for number, files in chance.sample(states, sample(2, 10)):
        try:
            bench.go_on(files, chance.choice(get_args(Goal)), without=["events", "whole database"])
        except AssertionError as error:
            raise AssertionError(f"power cut after operation {number}: {error}") from error
        tally(POWER)
