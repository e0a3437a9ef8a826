"""Ctrl-C, SIGTERM and worker processes: only the driver decides what they mean.

A command that is stopped says one line and ends with 130 (SIGTERM: 143), at any moment: while
modules are imported, while workers start, and while code that is not Python's computes.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

STOPPED = "stopped; the same command goes on from here"
"""What a command says that was stopped."""

GRACE_SECONDS = 5.0
"""How long a command that was stopped may take to end its workers and say how far it came."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_stopped_by: int | None = None
_num_holds = 0
_is_due = False
_ending = threading.Lock()


def is_stopping() -> bool:
    """Whether this command was asked to stop; what fails from then on fails for that."""
    return _stopped_by is not None


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the command within as the module says.

    They raise KeyboardInterrupt in the main thread. What comes out of the command then, be it an
    error of a half-imported module, ends the process. A command that does not come to its end in
    time is ended from outside. A signal that is ignored stays so, as in background jobs.
    """
    global _stopped_by
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if threading.current_thread() is not threading.main_thread() or _stop in before.values():
        yield
        return
    try:
        with _listening():
            try:
                for number, handler in before.items():
                    if handler not in (signal.SIG_IGN, None):
                        signal.signal(number, _stop)
                yield
            finally:
                for number, handler in before.items():
                    if handler is not None:
                        signal.signal(number, handler)
    except BaseException as error:
        if is_stopping() and not (isinstance(error, SystemExit) and error.code in (0, None)):
            end_stopped()
        raise
    finally:
        _stopped_by = None


@contextmanager
def _listening() -> Iterator[None]:
    """Hear of signals also while the main thread cannot handle them, or loses what they raise."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    threading.Thread(target=_end_late, args=(heard,), name="stop", daemon=True).start()
    old_fd = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    old_hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = old_hook
        signal.set_wakeup_fd(old_fd)
        told.close()


def _stop(number: int, _: FrameType | None) -> None:
    global _stopped_by, _is_due
    if _ending.locked():
        return
    if _stopped_by is not None and not _is_due:
        end_stopped()  # Asked twice: at once.
    _stopped_by = number
    _is_due = _num_holds > 0
    if not _is_due:
        raise KeyboardInterrupt


def _raise_again(failed: Any) -> None:
    """Raise an interrupt again that came while an object was taken down, where none can be."""
    global _stopped_by
    if failed.exc_type is KeyboardInterrupt and _stopped_by is not None:
        again = threading.Timer(0.02, signal.raise_signal, (_stopped_by,))
        again.daemon, _stopped_by = True, None
        again.start()
    elif not is_stopping():
        sys.__unraisablehook__(failed)


def _end_late(heard: socket.socket) -> None:
    """End the process where the command has not ended in time."""
    with heard:
        while numbers := heard.recv(16):
            for number in set(numbers) & set(_SIGNALS):
                if signal.getsignal(number) is not _stop:
                    continue  # A server ends by itself.
                time.sleep(GRACE_SECONDS)
                if signal.getsignal(number) is _stop:
                    end_stopped(number)


def end_stopped(number: int | None = None) -> NoReturn:
    """Say that the command was stopped, and end the process as it is.

    What is recorded is on disk, workers end when they find nobody, and the threads of TensorFlow
    need not wind down.

    Parameters
    ----------
    number
        Of the signal, where it is known; Ctrl-C's otherwise.
    """
    code = 128 + (number or _stopped_by or signal.SIGINT)
    if not _ending.acquire(blocking=False):
        time.sleep(GRACE_SECONDS)  # Another thread is about to end the process.
        os._exit(code)
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # A live display hides the cursor.
        os.write(2, f"{STOPPED}\n".encode())
    os._exit(code)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from a process that is started within, from its first moment.

    Ctrl-C reaches the whole process group; the driver hears of one that comes meanwhile
    right after. The process that is started ignores it for good by a call of its own.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows.
        yield
        return
    import multiprocessing.resource_tracker

    from burnish.child_processes import working_folder_left_out

    # Multiprocessing starts it with the first worker, and then lets interrupts through.
    with working_folder_left_out():
        multiprocessing.resource_tracker.ensure_running()
    with _deferred():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _deferred() -> Iterator[None]:
    """Raise what comes within at the end: another thread may take a signal that this one blocks."""
    global _num_holds, _is_due
    _num_holds += 1
    try:
        yield
    finally:
        _num_holds -= 1
        if _is_due and not _num_holds:
            _is_due = False
            raise KeyboardInterrupt
