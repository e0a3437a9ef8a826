"""Ctrl-C and SIGTERM at moments that are hard to end at; each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from burnish.interrupts import STOPPED, is_stopping, stop_on_signals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")

HEAD = """
import signal, sys, time
from burnish import interrupts
from burnish.interrupts import interrupts_held, stop_on_signals
# A process that was started in the background may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + body],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )


REPLACED = """
with stop_on_signals():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise AttributeError("partially initialized module")
"""
LOST_IN_A_DESTRUCTOR = """
class Taken:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with stop_on_signals():
    taken = Taken()
    del taken
    time.sleep(60)
"""
SWALLOWED = """
interrupts.GRACE_SECONDS = 0.2
with stop_on_signals():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        time.sleep(60)
"""
IN_CODE_THAT_IS_NOT_PYTHONS = """
import sqlite3, threading
interrupts.GRACE_SECONDS = 0.2
with stop_on_signals():
    threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,)).start()
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    sqlite3.connect(":memory:").execute(count).fetchall()
"""
TWICE = """
with stop_on_signals():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)
"""
FROM_ANOTHER_THREAD_WHILE_HELD = """
import os, threading
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
with stop_on_signals():
    with interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        print("held", flush=True)
    print("never", flush=True)
"""


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        (REPLACED, ""),
        (LOST_IN_A_DESTRUCTOR, ""),
        (SWALLOWED, ""),
        (IN_CODE_THAT_IS_NOT_PYTHONS, ""),
        (TWICE, ""),
        (FROM_ANOTHER_THREAD_WHILE_HELD, "held\n"),
    ],
    ids=["replaced", "in a destructor", "swallowed", "in C", "twice", "held"],
)
def test_ctrl_c_gives_one_line_and_130(body: str, printed: str) -> None:
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, printed, f"{STOPPED}\n")


def test_sigterm_gives_the_same_line_and_143() -> None:
    done = run("with stop_on_signals():\n    signal.raise_signal(signal.SIGTERM)\n")
    assert (done.returncode, done.stdout, done.stderr) == (143, "", f"{STOPPED}\n")


def test_what_is_ignored_stays_so() -> None:
    body = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with stop_on_signals():
    signal.raise_signal(signal.SIGINT)
print("went on")
"""
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_what_goes_wrong_without_a_signal_is_none_of_its_business() -> None:
    done = run("with stop_on_signals():\n    raise AttributeError('ours')\n")
    assert done.returncode == 1
    assert "AttributeError: ours" in done.stderr


def test_a_command_that_ends_itself_on_ctrl_c_leaves_all_as_it_was() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    given = signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        with stop_on_signals():
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                assert is_stopping()
                sys.exit(0)

    try:
        with pytest.raises(SystemExit) as left:
            watch()
    finally:
        signal.signal(signal.SIGINT, given)
    assert left.value.code == 0
    assert not is_stopping()
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    assert after == before
