from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from burnish.errors import StudyError
from burnish.tuning.watchdog import (
    LOOK_EVERY,
    SILENT_SECONDS,
    STALL_FACTOR,
    STALL_SECONDS,
    START_SECONDS,
    Heartbeat,
    UptimeClock,
    can_measure_memory,
    measure_memory,
    parse_memory,
    start_heartbeat,
)

LINUX = pytest.mark.skipif(not can_measure_memory(), reason="memory is measured on Linux alone")


def watch(memory: int | None = None) -> Heartbeat:
    return Heartbeat(os.getpid(), memory)


def pass_time(heartbeat: Heartbeat, seconds: float, *, beating: bool = True) -> str | None:
    """Look once a second for so many seconds; give the first reason to give up."""
    for _ in range(round(seconds)):
        if beating:
            heartbeat.heard_heartbeat()
        reason = heartbeat.judge(1.0)
        if reason is not None:
            return reason
    return None


# Stopped


def test_a_worker_that_beats_no_more_is_given_up() -> None:
    heartbeat = watch()
    assert pass_time(heartbeat, 5) is None
    assert pass_time(heartbeat, SILENT_SECONDS - 1, beating=False) is None
    reason = pass_time(heartbeat, 2, beating=False)
    assert reason == "gave no sign of life for 120 seconds"


def test_a_beat_begins_the_silence_anew() -> None:
    heartbeat = watch()
    for _ in range(5):
        assert pass_time(heartbeat, 1) is None
        assert pass_time(heartbeat, SILENT_SECONDS - 2, beating=False) is None


def test_a_worker_that_has_not_begun_to_beat_still_loads_what_it_needs() -> None:
    heartbeat = watch()
    assert pass_time(heartbeat, START_SECONDS - 1, beating=False) is None
    assert pass_time(heartbeat, 2, beating=False) == "did no step for 1800 seconds"


def test_the_silence_before_a_fit_is_not_held_against_it_and_beats_before_it_count() -> None:
    heartbeat = watch()
    assert pass_time(heartbeat, 5) is None
    assert pass_time(heartbeat, SILENT_SECONDS - 1, beating=False) is None
    heartbeat.begin()
    # Stopped before its first beat in this fit: it is known to beat.
    assert pass_time(heartbeat, SILENT_SECONDS, beating=False) is None
    assert pass_time(heartbeat, 1, beating=False) == "gave no sign of life for 120 seconds"


# Hung


def test_a_fit_that_does_no_step_is_given_up_though_its_worker_heartbeats() -> None:
    heartbeat = watch()
    heartbeat.heard_sign()  # The model is built; now it is compiled.
    assert pass_time(heartbeat, START_SECONDS - 1) is None
    heartbeat.heard_sign()
    heartbeat.judge(1.0)
    heartbeat.heard_sign()
    assert pass_time(heartbeat, START_SECONDS / 2) is None  # Its first steps took half an hour.
    for _ in range(3):
        heartbeat.heard_sign()
        heartbeat.judge(1.0)
    assert pass_time(heartbeat, STALL_FACTOR * START_SECONDS) is not None


def test_a_fit_of_quick_steps_is_waited_for_ten_minutes() -> None:
    heartbeat = watch()
    for _ in range(20):
        heartbeat.heard_sign()
        assert pass_time(heartbeat, 2) is None
    assert pass_time(heartbeat, STALL_SECONDS - 3) is None
    assert pass_time(heartbeat, 3) == "did no step for 600 seconds"


def test_a_fit_of_slow_steps_is_waited_for_as_its_steps_ask() -> None:
    heartbeat = watch()
    for _ in range(3):
        heartbeat.heard_sign()
        assert pass_time(heartbeat, 100) is None
    assert pass_time(heartbeat, STALL_FACTOR * 100 - 101) is None
    assert pass_time(heartbeat, 3) == "did no step for 2000 seconds"


# The clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A monotonic clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_time_in_which_nobody_looked_does_not_count(clock: list[float]) -> None:
    awake = UptimeClock()
    seen = []
    for gap in (LOOK_EVERY, LOOK_EVERY / 2, LOOK_EVERY / 2, 1.5 * LOOK_EVERY, 8 * 3600.0):
        clock[0] += gap
        seen.append(awake.passed())
    # A night in which the machine slept, or this process was stopped, is one look missed.
    assert seen == [LOOK_EVERY, 0.0, LOOK_EVERY, 1.5 * LOOK_EVERY, 2 * LOOK_EVERY]


# Memory


@LINUX
def test_memory_is_what_a_process_took_beyond_mapped_files() -> None:
    before = measure_memory(os.getpid())
    block = np.ones(2**26, np.uint8)
    after = measure_memory(os.getpid())
    assert before is not None
    assert after is not None
    assert 0.9 * block.size < after - before < 1.5 * block.size
    heartbeat = watch(memory=(before + after) // 2)
    reason = heartbeat.judge(1.0)
    assert reason is not None
    assert reason.startswith("took ")
    assert reason.endswith("(--memory-per-worker)")
    assert watch(memory=2 * after).judge(1.0) is None


@LINUX
def test_a_process_that_is_gone_takes_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert measure_memory(gone.pid) is None
    assert Heartbeat(gone.pid, memory=1).judge(1.0) is None


@LINUX
@pytest.mark.parametrize(
    ("text", "memory"),
    [("4GB", 4_000_000_000), ("1.5 gb", 1_500_000_000), (" 800MiB ", 800 * 2**20)],
)
def test_a_limit_of_memory_is_read_as_people_write_it(text: str, memory: int) -> None:
    assert parse_memory(text) == memory


@pytest.mark.parametrize("text", ["", "4", "4PB", "-4GB", "GB", "nan GB", "4GB please", "10MB"])
def test_what_is_no_limit_of_memory_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(StudyError, match=r"memory per worker: (expected MB or GB|.*the least)"):
        parse_memory(text)


# Beating


def test_beating_ends_with_whoever_hears_it() -> None:
    reader, writer = os.pipe()
    ended: list[bool] = []
    start_heartbeat(lambda: os.write(writer, b"."), lambda: ended.append(True))  # type: ignore[arg-type]
    assert os.read(reader, 1) == b"."
    os.close(reader)
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    os.close(writer)
    assert ended == [True]
