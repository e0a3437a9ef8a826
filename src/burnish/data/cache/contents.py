"""What the images of a listing are, told by content: so that a moved or touched file is known.

Reading a file takes far less time than decoding it, but more than asking for its size and times.
So the digests of files are kept, with size, times and inode, in one index for each data set.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats import FORMATS
from burnish.data.formats.listing import FileImages, Listing, status_of
from burnish.errors import DataError
from burnish.image import MAX_BYTES, MAX_PIXELS, name_decoders

INDICES = "paths"
"""Folder, in that of the cache, with what is known of each data set's files."""

# A file that was changed this short before it was read may be changed again unseen: file
# systems count time in steps, of up to two seconds (FAT).
_UNSURE_NS = 2 * 10**9
_HASHED_AT_ONCE = 64
_NOT_REGULAR = -2
_NO_INDEX = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile)
_CODE = (
    "burnish.image.color",
    "burnish.image.conversion",
    "burnish.image.decoding",
    "burnish.image.given",
    "burnish.image.large",
    "burnish.image.opening",
    "burnish.image.orientation",
    "burnish.image.png",
    "burnish.image.spec",
    "burnish.image.tiff.layout",
    "burnish.image.tiff.part",
    "burnish.image.tiff.read",
    "burnish.image.tiff.tags",
    "burnish.image.wide",
    "burnish.data.autosize",
    "burnish.data.decode",
    "burnish.data.decode_piece",
    "burnish.data.stored",
    "burnish.data.ranges",
    "burnish.data.traces",
    "burnish.data.formats.listing",
)


@dataclass(frozen=True, eq=False)
class Contents:
    """What the images of a listing are, by content.

    Attributes
    ----------
    digest
        Hex; over all images in their order, wherever they lie.
    code
        Hex; over the code that decodes them.
    images
        uint8 (num, 32), SHA-256 of each image's file, where each is a file; else None.
    modified
        int64 (num,), when each image's file was last written, in ns since 1970; else None.
    max_pixels
        Of the largest image that is decoded.
    """

    digest: str
    code: str
    images: NDArray[np.uint8] | None
    modified: NDArray[np.int64] | None
    max_pixels: int
    _files: tuple[str, ...]
    _status: NDArray[np.int64]

    def still_hold(self) -> bool:
        """Whether no file was changed since its content was taken."""
        return bool(np.array_equal(_stat_all(self._files), self._status))


def take_contents(listing: Listing, folder: Path, max_pixels: int = MAX_PIXELS) -> Contents:
    """Take down what the images of a listing are.

    Parameters
    ----------
    listing
        What was listed.
    folder
        Of the cache, where digests of files are found and kept. One that cannot be written
        costs reading the files each time.
    max_pixels
        Of the largest image that will be decoded.

    Raises
    ------
    DataError
        If a file that holds many images cannot be read.
    """
    stamp = listing.stamp
    code = _digest_code(type(listing.images).__module__, _origin_of_pixels(listing))
    total = hashlib.sha256(f"{len(listing)} {code}".encode())
    index = None if listing.path is None else folder / f"{name_index(listing.path)}.npz"
    if isinstance(listing.images, FileImages):
        if max_pixels > MAX_PIXELS:
            index = None  # It knows nothing of files that are too large for others.
        names = listing.images.paths
        files = tuple(f"{listing.images.root}{os.sep}{name}" for name in names)
        # A listing that has looked at every file has said already whether one changed.
        listed = "" if isinstance(stamp, str) or not stamp.seen else _digest(stamp.seen, *names)
        status, digests = _read_listed(index, listed) or _digest_all(
            names, files, index, listed, are_images=max_pixels <= MAX_PIXELS
        )
        total.update(digests.tobytes())
        modified = np.ascontiguousarray(status[:, 1])
        return Contents(total.hexdigest(), code, digests, modified, max_pixels, files, status)
    files = () if isinstance(stamp, str) else tuple(str(file) for file in stamp.files)
    names = tuple(os.path.realpath(file) for file in files)
    status, digests = _digest_all(names, files, index, "", are_images=False)
    total.update(digests.tobytes())
    for file, (size, *_) in zip(files, status.tolist(), strict=True):
        if size < 0:
            raise DataError(f"{file}: cannot be read; is it there still?")
    # Which image is which does not follow from the files alone.
    seen = stamp if isinstance(stamp, str) else stamp.seen
    total.update(_digest(listing.format, seen, *listing.names).encode())
    if not isinstance(stamp, str):  # What was listed belongs to the files as they were then.
        status = np.array(stamp.status, np.int64).reshape(-1, 4)
    return Contents(total.hexdigest(), code, None, None, max_pixels, files, status)


def name_index(path: Path) -> str:
    """Name the index of a data set, by where it lies; without suffix."""
    real = os.path.realpath(path).encode(errors="surrogateescape")
    return f"{INDICES}/{hashlib.sha256(real).hexdigest()[:32]}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()


def _origin_of_pixels(listing: Listing) -> str:
    """Return the plug-in whose code makes pixels; empty where that of the files alone counts."""
    if isinstance(listing.images, FileImages) or listing.format not in FORMATS:
        return ""
    return FORMATS.origin(listing.format) or ""


@cache
def _digest_code(reader: str, plugin: str) -> str:
    """Digest of the code that pixels depend on: burnish's, the format's and Pillow's version."""
    digest = hashlib.sha256(name_decoders().encode() + plugin.encode())
    for name in (*_CODE, reader):
        file = getattr(import_module(name), "__file__", None)  # Of a typed-in module there is none.
        if file is not None:
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _stat_all(files: Sequence[str]) -> NDArray[np.int64]:
    """Size, times of writing and of change in ns, and inode (num, 4); negative: it is no file."""
    status = np.full((len(files), 4), -1, np.int64)
    for place, file in enumerate(files):
        with suppress(OSError, ValueError):
            found = os.stat(file)  # noqa: PTH116 (much faster than by way of Path)
            if stat.S_ISREG(found.st_mode):
                status[place] = status_of(found)
            else:
                status[place] = _NOT_REGULAR
    return status


def _digest_all(
    names: Sequence[str],
    files: Sequence[str],
    index: Path | None,
    listed: str,
    *,
    are_images: bool,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return status (num, 4) and digest (num, 32) of each file, known ones where it did not change.

    Those that cannot be read have zeros.
    """
    status = _stat_all(files)
    digests = np.zeros((len(files), 32), np.uint8)
    known = _read_index(index)
    unknown = []
    for place, (name, now) in enumerate(zip(names, status.tolist(), strict=True)):
        before = known.get(name)
        if before is not None and before[0] == now:
            digests[place] = np.frombuffer(before[1], np.uint8)
        elif now[0] >= 0 and (now[0] <= MAX_BYTES or not are_images):
            unknown.append(place)
        elif now[0] != -1:  # There is something that is never read as an image.
            digests[place] = 1
    began = time.time_ns()
    pieces = [unknown[i : i + _HASHED_AT_ONCE] for i in range(0, len(unknown), _HASHED_AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashed = pool.map(lambda piece: [_digest_file(files[i], status[i]) for i in piece], pieces)
        for piece, found in zip(pieces, hashed, strict=True):
            digests[piece] = np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
    if index is not None and len(names):
        is_sure = (digests.any(axis=1) | (status[:, 0] == -1)) & (
            status[:, 1:3].max(axis=1) < began - _UNSURE_NS
        )
        _write_index(index, names, status, digests, is_sure, listed)
    return status, digests


def _digest_file(file: str, status: NDArray[np.int64]) -> bytes:
    """Digest of a file's content; zeros where it cannot be read."""
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 (much faster)
            if status[0] <= 2**20:  # In one piece, without a buffer of `file_digest`.
                return hashlib.sha256(opened.read()).digest()
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return bytes(32)


def _read_listed(
    index: Path | None, listed: str
) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
    """Return status and digest of each file of a listing that has been seen as it is."""
    if index is None or not listed:
        return None
    try:
        with index.open("rb") as file, np.load(file) as arrays:
            if arrays["listed"].tobytes().decode() == listed:
                return arrays["status"], arrays["digests"]
    except _NO_INDEX:
        pass
    return None


def _read_index(index: Path | None) -> dict[str, tuple[list[int], bytes]]:
    """Status and digest of each file by name; none where there is no index, or it is damaged."""
    if index is None:
        return {}
    try:
        with index.open("rb") as file, np.load(file) as arrays:
            names = json.loads(arrays["names"].tobytes())
            status, digests = arrays["status"], arrays["digests"]
        if digests.shape != (len(names), 32):
            return {}
        rows = zip(status.tolist(), map(bytes, digests), strict=True)
        return dict(zip(names, rows, strict=True))
    except _NO_INDEX:
        return {}


def _write_index(
    index: Path,
    names: Sequence[str],
    status: NDArray[np.int64],
    digests: NDArray[np.uint8],
    is_sure: NDArray[np.bool_],
    listed: str,
) -> None:
    """Write what is known of files, whole or not at all; a cache that is full does without."""
    text = json.dumps([name for name, sure in zip(names, is_sure, strict=True) if sure])
    buffer = io.BytesIO()
    np.savez(
        buffer,
        listed=np.frombuffer(listed.encode() if is_sure.all() else b"", np.uint8),
        # Of names that are not text JSON has escapes.
        names=np.frombuffer(text.encode(), np.uint8),
        status=status[is_sure],
        digests=digests[is_sure],
    )
    write_small(index, buffer.getvalue())


def write_small(path: Path, content: bytes) -> None:
    """Write a file that is found out anew where it is missing: whole, or not at all."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
