"""Ctrl-C and worker processes: only the driver decides what it means."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from a process that is started within, from its first moment.

    Ctrl-C reaches the whole process group; the driver hears of one that comes meanwhile
    right after. The process that is started ignores it for good by a call of its own.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows.
        yield
        return
    # Multiprocessing starts it with the first worker, and then lets interrupts through.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
