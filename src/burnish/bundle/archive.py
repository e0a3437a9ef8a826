"""A bundle as a single zip file, and back, with nothing in it trusted.

    pack(Path("runs/mnist/model"), Path("mnist.zip"))
    unpack(Path("mnist.zip"), Path("model"))

A zip file may come from anybody: only plain file names are taken, sizes are counted while
they are read (headers lie), and what comes out is checked against its contract.
"""

from __future__ import annotations

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from burnish.bundle.contract import (
    CONTRACT,
    MAX_CONTRACT_BYTES,
    MAX_FILE_BYTES,
    is_safe_name,
    read_contract,
)
from burnish.errors import BundleError, RunFolderError
from burnish.files import flush_all, make_folder, move_folder, write_whole

MAX_MEMBERS = 32
"""Most files in an archive; a bundle has five."""

MAX_TOTAL_BYTES = 2 * MAX_FILE_BYTES
"""Most that an archive may unpack to."""

MAX_RATIO = 200
"""Most that it may unpack to for each byte of its own, above `HARMLESS`; weights give two."""

HARMLESS = 2**24
"""What unpacks to no more is unpacked at any ratio."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_CHUNK = 2**20
# RuntimeError: what zipfile cannot do; ValueError: a name is no text, or a place no place.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


def pack(folder: Path, target: Path) -> None:
    """Write a bundle as one zip file; the same bundle gives the same bytes.

    Raises
    ------
    BundleError
        If the folder is no bundle, or has changed since it was written.
    RunFolderError
        If the file cannot be written.
    """
    contract = read_contract(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # The contract first: a reader may look at it without the rest.
        for name in (CONTRACT, *sorted(contract["sha256"])):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    write_whole(target, buffer.getvalue())


def unpack(source: Path, folder: Path) -> None:
    """Make a bundle's folder out of a zip file, and check it.

    Parameters
    ----------
    source
        The zip file.
    folder
        Must not be there yet; it is there whole afterwards, or not at all.

    Raises
    ------
    BundleError
        If the file is no zip file, a member has an unsafe name, is a link, encrypted,
        there twice, packed in an unusual way or too large, or the bundle in it is not whole.
    """
    if folder.exists():
        raise BundleError(f"{folder} is there already: choose a folder that is not")
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        make_folder(staging)
        _extract(source, staging)
        try:
            read_contract(staging)
        except BundleError as error:
            raise BundleError(str(error).replace(str(staging), str(source))) from error
        flush_all(staging)
        move_folder(staging, folder)
    except _DAMAGED as error:
        raise BundleError(f"{source} cannot be read as a zip file: {error}") from error
    except OSError as error:
        raise RunFolderError(
            f"{source} cannot be unpacked into {folder}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _extract(source: Path, folder: Path) -> None:
    with source.open("rb") as stream, _open_archive(stream) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise BundleError(
                f"{source} has {len(members)} members; a bundle has at most {MAX_MEMBERS}"
            )
        seen: set[str] = set()
        for member in members:
            _refuse_unsafe(source, member, seen)
            seen.add(member.filename.lower())
        _refuse_overlap(source, members)
        room = min(MAX_TOTAL_BYTES, max(HARMLESS, MAX_RATIO * source.stat().st_size))
        # First by what the headers say, so that nothing is written of most that is too large.
        announced, counted = _Room(source, room), _Room(source, room)
        for member in members:
            announced.take(member, member.file_size)
        for member in members:
            with (folder / member.filename).open("wb") as file:
                for chunk in _read_chunks(archive, member):
                    counted.take(member, len(chunk))
                    file.write(chunk)


class _Room:
    """Counts what members unpack to, and refuses what is too much."""

    def __init__(self, source: Path, most: int) -> None:
        self._source, self._most = source, most
        self._total = 0
        self._sizes: dict[str, int] = {}

    def take(self, member: zipfile.ZipInfo, num_bytes: int) -> None:
        """Count bytes of a member."""
        name = member.filename
        most = MAX_CONTRACT_BYTES if name == CONTRACT else MAX_FILE_BYTES
        self._sizes[name] = self._sizes.get(name, 0) + num_bytes
        self._total += num_bytes
        if self._sizes[name] > most or self._total > self._most:
            raise BundleError(
                f"{self._source}: {name} is too large: at most {most:,} bytes are read of it, "
                f"and {self._most:,} of the whole archive"
            )


def _open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    try:
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


def _refuse_overlap(source: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: so a small file could hold one bomb many times."""
    end, before = -1, ""
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise BundleError(f"{source}: {member.filename} lies within {before}")
        end, before = member.header_offset + member.compress_size, member.filename


def _refuse_unsafe(source: Path, member: zipfile.ZipInfo, seen: set[str]) -> None:
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    # The name as it stands in the file: zipfile itself cuts it at a zero byte.
    if not is_safe_name(member.orig_filename) or member.orig_filename != name:
        raise BundleError(
            f"{source}: a member is called {member.orig_filename!r}; "
            "a bundle has plain files right at its top, and no folders"
        )
    if kind not in (0, stat.S_IFREG):
        raise BundleError(f"{source}: {name} is a link or a special file, not a plain one")
    if member.flag_bits & 0x1:
        raise BundleError(f"{source}: {name} is encrypted; pack it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Others are never written here; some take gigabytes because a header says so.
        raise BundleError(f"{source}: {name} is packed in another way than stored or deflated")
    if name.lower() in seen:
        raise BundleError(f"{source}: there are two members {name}")
