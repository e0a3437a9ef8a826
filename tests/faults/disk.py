"""A disk made of logged operations: what is on it after any of them, and after a power cut.

After ``kill -9`` there is what stood there at that moment. After a power cut there is, of a
file, its content as of its last fsync, and, of a folder, its entries as of the folder's last
fsync; what came later may be there or not, each for itself. No file system is as forgetful
as that; what survives this survives all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .shim import Kind, Operation

Files = dict[str, bytes | None]
"""Content of every file below a folder, by its path; ``None`` for a folder, which comes first."""


@dataclass
class File:
    """A file as it is, and as it was last flushed."""

    content: bytearray = field(default_factory=bytearray)
    flushed: bytes = b""


@dataclass
class Folder:
    """A folder as it is, and as it was last flushed."""

    entries: dict[str, File | Folder] = field(default_factory=dict)
    flushed: dict[str, File | Folder] = field(default_factory=dict)


class Disk:
    """What logged operations make of an empty folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._top = Folder()
        self._by_inode: dict[int, File | Folder] = {}

    def apply(self, operation: Operation) -> None:
        """Do one operation."""
        kind, path = operation.kind, operation.path
        if kind in (Kind.OPEN, Kind.MAKE):
            folder, name = self._find_parent(path)
            if kind == Kind.OPEN and name in folder.entries:
                found = folder.entries[name]
                assert isinstance(found, File)
                found.content.clear()
            else:
                folder.entries[name] = File() if kind == Kind.OPEN else Folder()
            self._by_inode[operation.inode] = folder.entries[name]
        elif kind == Kind.REMOVE:
            folder, name = self._find_parent(path)
            del folder.entries[name]
        elif kind == Kind.RENAME:
            source, old = self._find_parent(path)
            target, new = self._find_parent(operation.target)
            target.entries[new] = source.entries.pop(old)
        elif kind == Kind.SYNC:
            self._flush(self._top if path == self._root else self._by_inode[operation.inode])
        else:
            file = self._by_inode[operation.inode]
            assert isinstance(file, File)
            place = operation.number
            if len(file.content) < place:
                file.content.extend(bytes(place - len(file.content)))
            if kind == Kind.WRITE:
                file.content[place : place + len(operation.data)] = operation.data
            else:
                del file.content[place:]

    def files(self) -> Files:
        """Return what ``kill -9`` would leave at this moment."""
        return _collect(self._top, lambda folder: folder.entries, lambda file: bytes(file.content))

    def flushed_files(self, chance: random.Random | None = None) -> Files:
        """Return what a power cut would leave: with ``chance``, some of the rest survives too."""

        def entries(folder: Folder) -> dict[str, File | Folder]:
            if chance is None:
                return folder.flushed
            left = dict(folder.flushed)
            for name in sorted({*folder.flushed, *folder.entries}):
                changed = folder.flushed.get(name) is not folder.entries.get(name)
                if changed and chance.random() < 0.5:
                    left.pop(name, None)
                    if name in folder.entries:
                        left[name] = folder.entries[name]
            return left

        def content(file: File) -> bytes:
            now = bytes(file.content)
            if chance is None or now == file.flushed:
                return file.flushed
            # The length may reach the disk before the data does, and the data in part.
            cut = chance.randrange(len(now) + 1)
            return chance.choice([file.flushed, now, now[:cut], now[:cut].ljust(len(now), b"\0")])

        return _collect(self._top, entries, content)

    def _flush(self, what: File | Folder) -> None:
        if isinstance(what, File):
            what.flushed = bytes(what.content)
        else:
            what.flushed = dict(what.entries)

    def _find_parent(self, path: Path) -> tuple[Folder, str]:
        folder = self._top
        *above, name = path.relative_to(self._root).parts
        for part in above:
            below = folder.entries[part]
            assert isinstance(below, Folder)
            folder = below
        return folder, name


def write_files(files: Files, target: Path) -> None:
    """Write files and folders into a new folder."""
    target.mkdir()
    for name, content in files.items():
        if content is None:
            (target / name).mkdir()
        else:
            (target / name).write_bytes(content)


def read_files(folder: Path) -> Files:
    """Read all files and folders below a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def _collect(
    folder: Folder,
    entries: Callable[[Folder], dict[str, File | Folder]],
    content: Callable[[File], bytes],
    above: str = "",
) -> Files:
    files: Files = {}
    for name, found in sorted(entries(folder).items()):
        if isinstance(found, Folder):
            files[above + name] = None
            files |= _collect(found, entries, content, f"{above}{name}/")
        else:
            files[above + name] = content(found)
    return files
