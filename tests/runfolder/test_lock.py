from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from burnish.errors import RunBusyError, RunFolderError
from burnish.files import read_json, write_json
from burnish.runfolder.store import RunFolder

from .disk import break_the_disk

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from burnish.runfolder.store import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the run folder."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        assert run.is_locked()
        with pytest.raises(RunBusyError) as caught, run.lock():
            pytest.fail("two processes hold one run folder")
        message = str(caught.value)
        assert str(run.path) in message
        assert f"process {other.pid} on " in message
        assert "--out" in message


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        other.kill()
        other.wait()
    assert not run.is_locked()
    with run.lock():
        assert run.is_locked()
    assert not run.is_locked()


def test_the_lock_is_free_after_an_error_and_no_owner_is_left(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), run.lock():
        raise KeyboardInterrupt
    assert not run.is_locked()
    # Nothing was written in it: it is gone as well.
    assert not run.path.exists()
    run.path.mkdir()
    with run.lock():
        with run.lock():  # Whoever holds it may ask again.
            assert run.is_locked()
        assert run.is_locked()
    assert [entry.name for entry in run.path.iterdir()] == [".lock"]


def test_asking_whether_a_folder_is_locked_makes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.is_locked()
    run.path.mkdir()
    assert not run.is_locked()
    assert list(run.path.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/run"])
def test_a_run_folder_that_cannot_be_made_is_an_error_that_names_it(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    run = RunFolder(tmp_path / below)
    with pytest.raises(RunFolderError) as caught, run.lock():
        pytest.fail("a lock on nothing")
    assert str(run.path) in str(caught.value)
    assert "--out" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"a file"


def test_a_full_disk_is_an_error_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        break_the_disk(patch)
        with pytest.raises(RunFolderError, match="No space left"), run.lock():
            pytest.fail("a lock without an owner")
    with run.lock():
        pass


def test_the_owner_is_named_as_soon_as_it_is_known(tmp_path: Path) -> None:
    """It has just taken the lock; the name of one that was killed stands there still."""
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        owner = run.path / ".owner.json"
        given = read_json(owner)
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        write_json(owner, {**given, "pid": gone.pid})
        later = Timer(0.3, write_json, (owner, given))
        later.start()
        with pytest.raises(RunBusyError, match=f"in use by process {other.pid} on "), run.lock():
            pytest.fail("two processes hold one run folder")
        later.join()
