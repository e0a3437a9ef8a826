"""Which files a process still uses, so that no other removes them.

A process that maps a file holds a shared lock on it. The lock belongs to the open file, of which a
mapping keeps a duplicate: so it lasts as long as the mapping, in forked processes too, and ends
with the process, however that ends. (A read-write lock of ``filelock`` would have to be released
by hand.) Windows has no such lock and needs none: there an open file cannot be removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if os.name != "nt":
    import fcntl


def hold(file: BinaryIO) -> None:
    """Mark a file as used for as long as it, or a mapping made of it, is open.

    On a file system without locks nothing happens: there nothing counts as free either.
    """
    if os.name != "nt":
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        except OSError:
            return


@contextmanager
def reserved(path: Path) -> Iterator[bool]:
    """Keep others from taking a file into use; false where somebody uses it already.

    A file that is not there is used by nobody.
    """
    if os.name == "nt":
        yield True
        return
    try:
        file = path.open("rb+")
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # Held by another, or not to be locked: then it may be.
            yield False
            return
        yield True
