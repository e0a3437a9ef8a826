"""What takes long to make, once for all processes of the tests rather than once in each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of this process's own, with what one process alone has made.

    Parameters
    ----------
    factory
        Pytest's, whose folders lie below the folder that all processes share.
    name
        Of the folder: one for each thing that is made.
    make
        Makes it in the folder that it is given, which is there and empty.

    Returns
    -------
    A copy, so that no process sees what another's tests do to it.
    """
    own = factory.mktemp(name)
    base = factory.getbasetemp()
    if not base.name.startswith("popen-"):  # There is one process.
        make(own)
        return own
    shared = base.parent / "shared"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / f"{name}.lock"):
        if not (shared / name).exists():
            make(own)
            # Whole under its name, or not there: what makes it may fail.
            shutil.copytree(own, shared / f".{name}", symlinks=True)
            (shared / f".{name}").rename(shared / name)
            return own
    shutil.copytree(shared / name, own, symlinks=True, dirs_exist_ok=True)
    return own
