"""Builds shim.c, tells it what to do, and reads what it wrote down."""

from __future__ import annotations

import enum
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONTROL = struct.Struct("=3q5i1024s1024s")
"""``struct control`` of shim.c."""

_RECORD = struct.Struct("=4I2Q")
"""``struct record`` of shim.c."""

KILL = -1
"""In place of an error number: kill the driver."""


class Kind(enum.IntEnum):
    """What an operation does; the order of shim.c."""

    OPEN = 0
    WRITE = 1
    SYNC = 2
    RENAME = 3
    REMOVE = 4
    MAKE = 5
    TRUNCATE = 6


GROWING = (Kind.OPEN, Kind.WRITE, Kind.SYNC, Kind.RENAME, Kind.MAKE, Kind.TRUNCATE)
"""What needs room on a disk; removing needs none."""


@dataclass(frozen=True)
class Operation:
    """One operation that succeeded; ``number`` is an offset, a length, or whether it was there."""

    kind: Kind
    path: Path
    target: Path
    inode: int
    number: int
    data: bytes


def build(folder: Path) -> Path:
    """Compile the shim into a folder, once; skip the test where that cannot be."""
    if not sys.platform.startswith("linux"):
        pytest.skip("LD_PRELOAD and /proc are Linux's")
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler 'cc' to build the shim with")
    library = folder / "shim.so"
    if not library.exists():
        source = str(Path(__file__).with_name("shim.c"))
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), source, "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return library


class Shim:
    """The shim over one folder, which may be another from fault to fault.

    Parameters
    ----------
    folder
        Where its library, its control and its log lie; not below the folder it watches.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._library = build(folder)
        self._log = folder / "operations.log"
        self._log.touch()
        control = folder / "control"
        control.write_bytes(bytes(_CONTROL.size))
        self._path = control
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _CONTROL.size)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be under it, and its children with it."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAULT_CONTROL": str(self._path),
            "FAULT_LOG": str(self._log),
        }

    def set(
        self,
        root: Path,
        *,
        at: int = 0,
        error: int = 0,
        kinds: tuple[Kind, ...] = tuple(Kind),
        forever: bool = False,
        log: bool = False,
        driver: int = 0,
    ) -> None:
        """Count anew, below ``root``, and cause ``error`` at the operation of this number.

        ``driver`` is the process to kill; without it, the next process that starts.
        """
        bits = sum(1 << kind for kind in kinds)
        place = os.fsencode(root.resolve())
        values = (at, 0, 0, bits, error, int(forever), driver, int(log), place, b"")
        self._map[:] = _CONTROL.pack(*values)

    def quieten(self) -> None:
        """Let everything through; what was counted stays to be asked for."""
        values = list(_CONTROL.unpack(self._map[:]))
        values[0] = values[3] = values[7] = 0
        self._map[:] = _CONTROL.pack(*values)

    @property
    def count(self) -> int:
        """Operations of the wanted kinds since :meth:`set`."""
        return int(_CONTROL.unpack(self._map[:])[1])

    @property
    def fired(self) -> int:
        """How often the fault was caused."""
        return int(_CONTROL.unpack(self._map[:])[2])

    @property
    def last(self) -> str:
        """The kind and the path of the operation that the fault was caused at."""
        text = _CONTROL.unpack(self._map[:])[9].split(b"\0")[0].decode()
        kind, _, path = text.partition(" ")
        return f"{Kind(int(kind)).name.lower()} {path}" if path else ""

    def operations(self) -> Iterator[Operation]:
        """What was logged, in order."""
        content = self._log.read_bytes()
        place = 0
        while place < len(content):
            kind, length1, length2, size, inode, number = _RECORD.unpack_from(content, place)
            place += _RECORD.size
            parts = []
            for length in (length1, length2, size):
                parts.append(content[place : place + length])
                place += length
            yield Operation(
                Kind(kind),
                Path(os.fsdecode(parts[0])),
                Path(os.fsdecode(parts[1])),
                inode,
                number,
                parts[2],
            )
