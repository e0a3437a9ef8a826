"""The rules by which a zip file of anybody is unpacked: bundles and data sets alike.

Only plain files are taken, no two of which share bytes; sizes are counted while they are read,
since headers lie; and what comes out is at most so many bytes for each of the file's own.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from burnish.errors import ArchiveError

MAX_RATIO = 200
"""Most that an archive may unpack to for each byte of its own, above `HARMLESS`."""

HARMLESS = 2**24
"""What unpacks to no more is unpacked at any ratio."""

_CHUNK = 2**20
# RuntimeError: what zipfile cannot do; ValueError: a name is no text, or a place no place.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class UnzipRules:
    """What is taken from an archive.

    Attributes
    ----------
    what
        What it is an archive of, for messages: ``a bundle``.
    max_members, max_bytes
        Most members, and most bytes in all.
    max_member_bytes
        Most bytes of a member, by its name.
    place_member
        Gives the path, relative and with slashes, at which a member is put by its name; None
        for one that is left out.

        Raises :class:`burnish.errors.ArchiveError` for a name that is refused, with the reason.
    max_ratio, harmless
        See `MAX_RATIO` and `HARMLESS`.
    before_writing
        Called with the bytes that the headers announce, before anything is written.
    """

    what: str
    max_members: int
    max_bytes: int
    max_member_bytes: Callable[[str], int]
    place_member: Callable[[str], str | None]
    max_ratio: int = MAX_RATIO
    harmless: int = HARMLESS
    before_writing: Callable[[int], None] = lambda num_bytes: None


def extract(source: Path, folder: Path, rules: UnzipRules) -> None:
    """Unpack a zip file into a folder that is there and empty.

    Raises
    ------
    ArchiveError
        If it is no zip file or a damaged one, a member has a name that is refused, is a link,
        encrypted, there twice, packed in an unusual way or too large.
    OSError
        If the file cannot be read, or the folder not be written.
    """
    try:
        with source.open("rb") as stream, _open_archive(stream) as archive:
            _extract(source, archive, folder, rules)
    except _DAMAGED as error:
        raise ArchiveError(f"{source} cannot be read as a zip file: {error}") from error


def _extract(source: Path, archive: zipfile.ZipFile, folder: Path, rules: UnzipRules) -> None:
    members = archive.infolist()
    if len(members) > rules.max_members:
        raise ArchiveError(
            f"{source} has {len(members)} members; {rules.what} has at most {rules.max_members}"
        )
    places: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        place = _find_place(source, member, rules)
        if place is None:
            continue
        _refuse_unsafe(source, member)
        if place in places:
            raise ArchiveError(f"{source}: there are two members {member.filename}")
        places[place] = member
    _refuse_overlap(source, members)
    room = min(rules.max_bytes, max(rules.harmless, rules.max_ratio * source.stat().st_size))
    # First by what the headers say, so that nothing is written of most that is too large.
    announced, counted = _Room(source, room, rules), _Room(source, room, rules)
    for member in places.values():
        announced.take(member, member.file_size)
    rules.before_writing(announced.total)
    for place, member in places.items():
        path = folder / place
        if member.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whatever is there already came from another member: on some systems A.png is a.png.
        with path.open("xb") as file:
            for chunk in _read_chunks(archive, member):
                counted.take(member, len(chunk))
                file.write(chunk)


class _Room:
    """Counts what members unpack to, and refuses what is too much."""

    def __init__(self, source: Path, most: int, rules: UnzipRules) -> None:
        self.total = 0
        self._source, self._most, self._rules = source, most, rules
        self._sizes: dict[str, int] = {}

    def take(self, member: zipfile.ZipInfo, num_bytes: int) -> None:
        """Count bytes of a member."""
        name = member.filename
        most = self._rules.max_member_bytes(name)
        self._sizes[name] = self._sizes.get(name, 0) + num_bytes
        self.total += num_bytes
        if self._sizes[name] > most or self.total > self._most:
            raise ArchiveError(
                f"{self._source}: {name} is too large: at most {most:,} bytes are read of it, "
                f"and {self._most:,} of the whole archive"
            )


def _open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    try:
        try:
            # Apple's archiver writes UTF-8 and does not say so.
            return zipfile.ZipFile(stream, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            stream.seek(0)
            return zipfile.ZipFile(stream)
    except OSError as error:  # A place before the file's beginning, for example.
        raise zipfile.BadZipFile(error.strerror) from error


def _read_chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as packed:
            while chunk := packed.read(_CHUNK):
                yield chunk
    except OSError as error:  # Not the disk's that is written to: that is outside of this.
        raise zipfile.BadZipFile(error.strerror) from error


def _find_place(source: Path, member: zipfile.ZipInfo, rules: UnzipRules) -> str | None:
    # The name as it stands in the file: zipfile itself cuts it at a zero byte.
    name = member.orig_filename
    try:
        if name != member.filename:
            raise ArchiveError("a name has no zero byte in it")
        return rules.place_member(name)
    except ArchiveError as error:
        raise ArchiveError(f"{source}: a member is called {name!r}; {error}") from error


def _refuse_overlap(source: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: so a small file could hold one bomb many times."""
    end, before = -1, ""
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ArchiveError(f"{source}: {member.filename} lies within {before}")
        end, before = member.header_offset + member.compress_size, member.filename


def _refuse_unsafe(source: Path, member: zipfile.ZipInfo) -> None:
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR if member.is_dir() else 0):
        raise ArchiveError(f"{source}: {name} is a link or a special file, not a plain one")
    if member.flag_bits & 0x1:
        raise ArchiveError(f"{source}: {name} is encrypted; pack it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Others are never written here; some take gigabytes because a header says so.
        raise ArchiveError(f"{source}: {name} is packed in another way than stored or deflated")
