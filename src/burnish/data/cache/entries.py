"""Entries of the cache of decoded images: how they are named, written and found.

An entry is a folder: ``images.npy`` (the pixels), ``records.npz`` (what is known of each image),
``about.json``, and ``used``, an empty file whose time says when it was used last and which its
writer holds. It is written to a temporary name, flushed and renamed. Its name says what it was made
of (`Contents`), and how.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from burnish.data.cache.contents import Contents
from burnish.data.cache.in_use import hold, reserved
from burnish.data.decoded import BY_IMAGE, Decoded
from burnish.data.formats import Listing
from burnish.errors import DataError
from burnish.files import sync_folder
from burnish.image import InputSpec

TEMPORARY, ONCE = ".tmp", ".once"
"""Suffixes of what is being written, or removed, and of what serves one process alone."""

_FORMAT = 3
_PIXELS, _RECORDS, _ABOUT, _USED = "images.npy", "records.npz", "about.json", "used"
_RECORDED = (*BY_IMAGE, "colored")


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images as they lie in the cache, in the order of their listing.

    Attributes
    ----------
    folder
        Of the entry.
    spec
        Size and colour of all of them.
    decoded
        What is known of each.
    notes
        What was chosen, and why.
    contents
        What they were made of.
    pixels
        uint8 (num, height, width, channels), mapped into memory, read-only. While it is, no
        process removes the entry.
    """

    folder: Path
    spec: InputSpec
    decoded: Decoded
    notes: tuple[str, ...]
    contents: Contents
    pixels: NDArray[np.uint8]


def name_entry(contents: Contents, spec: InputSpec) -> str:
    """Name an entry by what it was made of, and what the images were brought to."""
    made = (astuple(spec), contents.max_pixels)
    how = hashlib.sha256(repr(made).encode()).hexdigest()
    return f"{contents.digest[:24]}-{how[:8]}"


def find_entries(folder: Path, contents: Contents) -> list[Path]:
    """List the entries of these contents, whatever the images were brought to."""
    return sorted(
        path for path in folder.glob(f"{contents.digest[:24]}-*") if is_entry_name(path.name)
    )


def is_entry_name(name: str) -> bool:
    """Whether a folder is called as a whole entry is."""
    return not name.endswith((TEMPORARY, ONCE, ".lock"))


@contextmanager
def writing_entry(folder: Path) -> Iterator[Path]:
    """Make a temporary folder for an entry; what is left there is removed.

    While it is written, it is marked as used, so that nobody takes it for a leftover.
    """
    temporary = folder / f"{secrets.token_hex(8)}{TEMPORARY}"
    with upkeep_lock(folder):
        temporary.mkdir()
        writer = (temporary / _USED).open("wb")
        hold(writer)
    if os.name == "nt":  # There, no folder is renamed in which a file is open.
        writer.close()
    try:
        with writer:
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def upkeep_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time begin an entry, or look for what can be removed: moments."""
    from filelock import FileLock

    with FileLock(folder / "upkeep.lock"):
        yield


def keep_entry(
    temporary: Path,
    listing: Listing,
    contents: Contents,
    spec: InputSpec,
    decoded: Decoded,
    *,
    once: bool,
) -> Path:
    """Write what is known of the images beside them, flush it, and give the whole its name.

    Parameters
    ----------
    temporary
        Of `writing_entry`; its ``images.npy`` is there and flushed.
    listing, contents, spec, decoded
        The images, and what they were brought to.
    once
        Whether only this process may use it.

    Returns
    -------
    The folder; where another process wrote the same meanwhile, that one's.
    """
    records = {name: getattr(decoded, name) for name in _RECORDED}
    if contents.images is not None:
        records["contents"] = contents.images
    np.savez(temporary / _RECORDS, **records)
    about = {
        "format": _FORMAT,
        "path": None if listing.path is None else os.path.realpath(listing.path),
        "name": listing.name,
        "num_images": len(listing),
        "code": contents.code,
        "input": asdict(spec),
        "max_pixels": contents.max_pixels,
        "bad": {str(index): why for index, why in decoded.bad.items()},
    }
    (temporary / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    for name in (_RECORDS, _ABOUT):
        with (temporary / name).open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(temporary)
    folder = temporary.parent
    entry = folder / name_entry(contents, spec)
    if once:
        entry = folder / f"{entry.name}.{secrets.token_hex(4)}{ONCE}"
    if entry.is_dir():
        if read_entry(entry, contents, len(listing)) is not None:
            return entry
        # Damaged: whoever uses it does better to find what is whole.
        _move_aside(entry)
    temporary.replace(entry)
    sync_folder(folder)
    return entry


def read_entry(entry: Path, contents: Contents, num_images: int) -> StoredImages | None:
    """Read an entry; None where there is none, or it was tampered with.

    From then on no process removes it, for as long as its pixels are mapped.
    """
    try:
        about = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT or about["max_pixels"] != contents.max_pixels:
            return None
        arrays = _read_records(entry)
        decoded = Decoded(
            **{name: arrays[name] for name in _RECORDED},
            bad={int(index): why for index, why in about["bad"].items()},
        )
        spec = _read_spec(about["input"])
        pixels = _map_pixels(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile):
        return None
    if pixels is None or pixels.shape != (num_images, *spec.shape):
        return None
    if len(decoded.digests) != num_images:
        return None
    return StoredImages(entry, spec, decoded, (), contents, pixels)


def _read_spec(about: dict[str, Any]) -> InputSpec:
    """Read what images were brought to; JSON has no tuples."""
    given = about["range"]
    return InputSpec(**{**about, "range": None if given is None else (given[0], given[1])})


def read_about(entry: Path) -> dict[str, Any]:
    """Read what an entry says of itself; nothing where that cannot be read."""
    try:
        about = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) and about.get("format") == _FORMAT else {}


def read_image_contents(entry: Path) -> NDArray[np.uint8] | None:
    """Read the digest of each image's file (num, 32), where an entry has them."""
    try:
        return _read_records(entry).get("contents")
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None


def mark_used(entry: Path) -> None:
    """Note that an entry is used now."""
    with suppress(OSError):  # Of a cache that can only be read nothing is removed either.
        os.utime(entry / _USED)


def find_last_use(entry: Path) -> float:
    """When an entry was used last, in seconds since 1970."""
    for path in (entry / _USED, entry):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def is_in_use(entry: Path) -> bool:
    """Whether a process writes or reads an entry."""
    with reserved(entry / _USED) as unwritten, reserved(entry / _PIXELS) as unread:
        return not (unwritten and unread)


def remove_entry(entry: Path) -> bool:
    """Remove an entry, whole or not at all; false where a process uses it."""
    with reserved(entry / _USED) as unwritten, reserved(entry / _PIXELS) as unread:
        if not (unwritten and unread):
            return False
        try:
            doomed = _move_aside(entry)
        except OSError:  # Open on Windows; another process was faster; or not ours to remove.
            return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _move_aside(entry: Path) -> Path:
    """Make an entry a leftover at once, whatever happens before all of it is removed."""
    doomed = entry.with_name(f"{secrets.token_hex(8)}{TEMPORARY}")
    entry.replace(doomed)
    return doomed


def _read_records(entry: Path) -> dict[str, NDArray[Any]]:
    with (entry / _RECORDS).open("rb") as file, np.load(file) as records:
        return {name: records[name] for name in records.files}


def _map_pixels(entry: Path) -> NDArray[np.uint8] | None:
    """Map the pixels of an entry; None where it was removed at that moment."""
    path = entry / _PIXELS
    with open(str(path), "rb") as file:  # noqa: PTH123 (so that the mapping knows its name)
        hold(file)
        # Whoever removes it renames it first; what is locked then is what was doomed.
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return None
        if npy.read_magic(file) != (1, 0):
            return None
        shape, _, dtype = npy.read_array_header_1_0(file)
        if dtype != np.uint8:
            return None
        return np.memmap(file, dtype, "r", file.tell(), shape)


@contextmanager
def writing_to(folder: Path, listing: Listing) -> Iterator[None]:
    """Say what can be done where the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images of {listing.name} cannot be kept there "
            f"({error.strerror or error}); make room ('burnish cache --clean'), or set "
            "XDG_CACHE_HOME to a folder that can be written"
        ) from error
