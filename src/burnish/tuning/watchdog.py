"""When a worker process is given up: stopped, hung, or with more memory than it may have.

A worker beats once a second from a thread of its own, which shows that the process is
scheduled, not that its fit comes forward; that is shown by what the fit tells of its steps.
Both are judged by time that this process saw pass: while the machine sleeps, or this
process is stopped or busy, no worker can be heard, and none is held to it. No clock that
a person can set is asked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from burnish.errors import StudyError
from burnish.sizes import parse_size

HEARTBEAT_EVERY = 1.0
"""Seconds between two heartbeats of a worker."""

LOOK_EVERY = 0.5
"""Seconds between two looks at the workers, and so the time in which memory can run over."""

SILENT_SECONDS = 120.0
"""Without a heartbeat after the first: stopped by somebody, or swapped out for good."""

START_SECONDS = 1800.0
"""Without a first step: loading TensorFlow, reading the data, compiling, a hundred steps."""

STALL_SECONDS = 600.0
"""Without a step after the first, at least; more where the steps of this fit take long."""

STALL_FACTOR = 20.0
"""The same, as a multiple of the longest time that two signs of this fit lay apart."""


LEAST_MEMORY = 500_000_000
"""The lowest limit of a worker's memory that makes sense."""


class UptimeClock:
    """Seconds that pass while somebody looks; a long gap counts as one look missed."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def passed(self) -> float:
        """Seconds since the last look; 0 before the next one is due."""
        now = time.monotonic()
        if now - self._last < LOOK_EVERY:
            return 0.0
        gap, self._last = now - self._last, now
        return min(gap, 2 * LOOK_EVERY)


class Heartbeat:
    """What is heard of a worker and of the fit that it is on; another thread may tell it.

    Parameters
    ----------
    pid
        The worker process.
    memory
        Bytes that it may take beyond the files that it maps; ``None``: any.
    """

    def __init__(self, pid: int, memory: int | None) -> None:
        self._pid = pid
        self._memory = memory
        self._heartbeats = self._heartbeats_seen = 0
        self._signs = self._signs_seen = 0
        self._silent = self._stalled = self._longest = 0.0

    def begin(self) -> None:
        """The worker is handed a fit."""
        self._signs = self._signs_seen = 0
        self._silent = self._stalled = self._longest = 0.0

    def heard_heartbeat(self) -> None:
        """The process is scheduled."""
        self._heartbeats += 1

    def heard_sign(self) -> None:
        """The fit has come forward."""
        self._signs += 1

    def judge(self, passed: float) -> str | None:
        """Say why the worker is to be given up, if it is, ``passed`` seconds after the last look.

        The reason goes on from "its worker process".
        """
        self._silent += passed
        self._stalled += passed
        beats, signs = self._heartbeats, self._signs
        if signs != self._signs_seen:
            # The first sign is that the model is built; the first step is still to be compiled.
            if self._signs_seen >= 1:
                self._longest = max(self._longest, self._stalled)
            self._signs_seen, self._stalled = signs, 0.0
        if beats != self._heartbeats_seen:
            self._heartbeats_seen, self._silent = beats, 0.0
        if beats and self._silent > SILENT_SECONDS:
            return f"gave no sign of life for {SILENT_SECONDS:g} seconds"
        least = STALL_SECONDS if signs > 1 else START_SECONDS
        patience = max(least, STALL_FACTOR * self._longest)
        if self._stalled > patience:
            return f"did no step for {patience:.0f} seconds"
        if self._memory is not None and (taken := measure_memory(self._pid) or 0) > self._memory:
            return (
                f"took {taken / 1e9:.2f} GB of memory, and {self._memory / 1e9:.2f} GB are "
                "allowed (--memory-per-worker)"
            )
        return None


def measure_memory(pid: int) -> int | None:
    """Bytes that a process keeps beyond mapped files; ``None`` where the system does not tell.

    Images that workers share from a mapped file are not theirs: the system takes those
    pages back when it needs them.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    kept = dict(line.split(":", 1) for line in lines.splitlines() if ":" in line)
    parts = [kept.get(name) for name in ("RssAnon", "RssShmem")]
    return sum(int(part.split()[0]) * 1024 for part in parts if part is not None)


def can_measure_memory() -> bool:
    """Whether this system tells how much memory a process takes: Linux does."""
    return bool(measure_memory(os.getpid()))


def parse_memory(text: str) -> int:
    """Read a limit such as ``4GB`` or ``800 MB``, in bytes.

    Raises
    ------
    StudyError
        If it is no such thing, less than an empty worker takes, or not to be kept here.
    """
    try:
        memory = parse_size(text)
    except ValueError as error:
        raise StudyError(
            f"'{text}' memory per worker: expected MB or GB, such as 800MB or 4GB"
        ) from error
    if memory < LEAST_MEMORY:
        raise StudyError(
            f"'{text}' memory per worker: TensorFlow alone takes most of "
            f"{LEAST_MEMORY / 1e6:.0f} MB, which is the least"
        )
    if not can_measure_memory():
        raise StudyError(
            f"'{text}' memory per worker: a limit can be kept on Linux alone, whose /proc says "
            "what a process takes. Leave the limit out."
        )
    return memory


def start_heartbeat(send: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Call ``send`` every second in a thread; call ``give_up`` once sending fails.

    A worker calls this. If sending fails, the driver is gone, perhaps killed. Nobody would use
    what this process still did, and it would be in the way of a driver that goes on.
    """

    def keep_sending() -> None:
        while True:
            try:
                send()
            except OSError:
                give_up()
                return
            time.sleep(HEARTBEAT_EVERY)

    threading.Thread(target=keep_sending, name="heartbeat", daemon=True).start()
