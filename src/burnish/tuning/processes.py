"""How worker processes start: forked from a server that has imported TensorFlow once.

To import TensorFlow takes seconds of a core, and hundreds of megabytes. A process that has
imported it and run nothing has one thread still, and can be forked safely; its children
begin at once, and share its memory. Python's fork server is such a process, apart from the
driver, which has threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext, SpawnContext

from burnish.child_processes import working_folder_left_out
from burnish.interrupts import interrupts_held

_IMPORTED = ["burnish.tuning.task", "tensorflow"]
"""What a worker needs. A server that cannot import it leaves it to the workers."""

_SERVER_ENVIRONMENT = {
    # Libraries would start threads when they are loaded, which a fork does not take along.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def worker_context() -> ForkServerContext | SpawnContext:
    """Return the way in which worker processes start on this system.

    The fork server on Linux; elsewhere each starts afresh: Windows has no fork, and on
    macOS system libraries do not survive one.
    """
    if not sys.platform.startswith("linux"):
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    # The server is started with 'python -c', which would import from the working folder first.
    with _environment(_SERVER_ENVIRONMENT), interrupts_held(), working_folder_left_out():
        forkserver.ensure_running()
    return context


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change the environment for a process that starts within."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
