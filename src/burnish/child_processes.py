"""How processes begin that burnish starts: without the program that starts them.

Python's multiprocessing imports a program's main module in each process that it starts, so
that a script without ``if __name__ == "__main__"`` begins again in every one of them. burnish
has that done only where plug-ins may stand in the program; elsewhere no script needs the guard.

It also begins them with ``python -c``, which imports from the working folder first: a `types.py`
or `random.py` of somebody's own there would be taken for Python's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import current_process
from types import ModuleType
from typing import Any

from burnish.errors import SetupError

NAME = "burnish-worker"
"""Name of the processes that burnish starts."""

UNGUARDED = 86
"""Code with which they end where the program begins again in them."""

NEEDS_GUARD = (
    "the processes that burnish starts import this program, as it has plug-ins, and it begins "
    "again in each of them: put what it does under if __name__ == '__main__':"
)


@contextmanager
def working_folder_left_out() -> Iterator[None]:
    """Let processes that are started within import nothing from the working folder by themselves.

    What the program's own ``sys.path`` has they are given all the same.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def program_left_out() -> Iterator[None]:
    """Let processes that are started within not import the program's main module.

    What they are given must not be defined there. Nor do they import from the working folder.
    """
    program = sys.modules["__main__"]
    # Python's own description of a process that starts looks here for what to import.
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        with working_folder_left_out():
            yield
    finally:
        sys.modules["__main__"] = program


def refuse_to_begin_again() -> None:
    """End a worker, or refuse, where it imports a program that would begin its work again.

    Call it before what takes locks or starts processes: whoever holds the lock would wait for
    the process that waits for the lock.

    Raises
    ------
    SetupError
        In processes that the program itself has started.
    """
    process = current_process()
    if not getattr(process, "_inheriting", False):
        return
    if process.name.startswith(NAME):
        os._exit(UNGUARDED)  # The driver says so, once.
    raise SetupError(NEEDS_GUARD)


class _WorkerProcess(SpawnProcess):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.name = NAME


class NamedSpawn(SpawnContext):
    """Starts processes afresh, under the name that :func:`refuse_to_begin_again` knows."""

    Process = _WorkerProcess


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
