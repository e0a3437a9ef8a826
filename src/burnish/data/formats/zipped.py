"""A zip file with a data set of any format in it, unpacked once into the cache.

Unpacked rather than read member by member: whatever reads images maps or opens files, in
worker processes too, and the report shows them later. See `burnish.unzip` for what is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from contextlib import suppress
from itertools import chain
from pathlib import Path

from burnish.data.formats.folder import has_class_folders
from burnish.data.formats.format import Format
from burnish.data.formats.formats import FORMATS
from burnish.errors import ArchiveError, DataError
from burnish.files import find_cache_folder, sync_folder
from burnish.image_files import is_ignored, is_image_name
from burnish.unzip import UnzipRules, extract

MAX_MEMBERS = 2_000_000
"""Most files in an archive of images."""

MAX_BYTES = 2**41
"""Most that an archive may unpack to, as far as the disk has room."""

MAX_DEPTH = 32
"""Most folders within each other."""

_MAX_NAME_BYTES = 255
_WHOLLY_HASHED = 2**28
_END = 2**20
_ENTRY_FORMAT = "unpacked 1"


def is_archive(path: Path) -> bool:
    """Whether a path is a zip file by its name."""
    return path.suffix.casefold() == ".zip" and path.is_file()


def unpack_data(source: Path) -> Path:
    """Unpack an archive into the cache, or find it there.

    Returns
    -------
    The folder with what is in it.

    Raises
    ------
    DataError
        If it is not to be unpacked, or the cache not be written.
    """
    folder = find_cache_folder() / "unpacked"
    entry = folder / _name_entry(source)
    if entry.is_dir():
        with suppress(OSError):  # So that it is known when it was used last.
            os.utime(entry)
        return entry
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_suffix(".lock")):
            if entry.is_dir():
                return entry
            # With the lock held, what another process left behind is nobody's.
            for left in folder.glob(f"{entry.name}.*.tmp"):
                shutil.rmtree(left)
            staging = folder / f"{entry.name}.{secrets.token_hex(4)}.tmp"
            staging.mkdir()
            try:
                extract(source, staging, _rules(source, folder))
                if hasattr(os, "sync"):  # File by file it would take longer than unpacking.
                    os.sync()
                staging.replace(entry)
                sync_folder(folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except ArchiveError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(
            f"{source} cannot be unpacked into {folder}: {error.strerror or error}; make room, or "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return entry


def _name_entry(source: Path) -> str:
    """Name what an archive is unpacked into: by its content, wherever it lies.

    Of a large one the middle is not read: its size, its time and its ends have to do.
    """
    digest = hashlib.sha256(_ENTRY_FORMAT.encode())
    try:
        with source.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size <= _WHOLLY_HASHED:
                digest.update(file.read())
            else:
                digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
                digest.update(file.read(_END))
                file.seek(-_END, os.SEEK_END)
                digest.update(file.read())
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()[:32]


def find_candidates(root: Path, format: Format | None) -> list[Path]:
    """Return what may be the data set in an unpacked archive, the likeliest first."""
    place = root
    while True:
        children = [child for child in sorted(place.iterdir()) if not is_ignored(child.name)]
        if len(children) != 1 or not children[0].is_dir():
            break
        if any(is_image_name(child.name) for child in children[0].iterdir()):
            break
        place = children[0]
    # Formats that were registered later are asked first, here too.
    asked = reversed(tuple(FORMATS)) if format is None else [format]
    tables = [
        child
        for suffix in chain.from_iterable(each.suffixes for each in asked)
        for child in children
        if child.suffix.casefold() == suffix and child.is_file()
    ]
    if format is not None:
        return tables or [place]
    single = [child for child in children if child.is_file() and len(children) == 1]
    if single:
        return single
    return [place, *tables] if has_class_folders(place) else [*tables, place]


def _rules(source: Path, folder: Path) -> UnzipRules:
    def look_for_room(num_bytes: int) -> None:
        free = shutil.disk_usage(folder).free
        if num_bytes > free:
            raise ArchiveError(
                f"{source} unpacks to {num_bytes:,} bytes, and {folder} has room for {free:,}; "
                "make room, or set XDG_CACHE_HOME to a folder on a larger disk"
            )

    return UnzipRules(
        what="an archive of images",
        max_members=MAX_MEMBERS,
        max_bytes=MAX_BYTES,
        max_member_bytes=lambda name: MAX_BYTES,
        place_member=place_member,
        before_writing=look_for_room,
    )


def place_member(name: str) -> str | None:
    r"""Return the path of a member below the folder it is unpacked into; None if it is left out.

    >>> place_member("photos\\cat\\1.jpg"), place_member("__MACOSX/photos/._1.jpg")
    ('photos/cat/1.jpg', None)

    Raises
    ------
    ArchiveError
        If the name leads elsewhere, or is none that a file could have everywhere.
    """
    path = name.replace("\\", "/")  # Some archivers for Windows write these.
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in parts:
        raise ArchiveError("expected paths below the folder that it is unpacked into")
    if not parts:
        return None
    if not path.isprintable():
        raise ArchiveError("a name has characters that cannot be shown; rename it, and pack again")
    if len(parts) > MAX_DEPTH or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise ArchiveError(
            f"expected names of at most {_MAX_NAME_BYTES} bytes, in at most {MAX_DEPTH} folders"
        )
    return None if any(map(is_ignored, parts)) else "/".join(parts)
