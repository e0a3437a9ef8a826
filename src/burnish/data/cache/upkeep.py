"""What the cache keeps, and what goes: superseded, long unused, or beyond the size it may have.

Nothing that a running process uses is removed. Whoever adds an entry tidies up after itself;
``burnish cache`` lists what is there and ``burnish cache --clean`` removes what nobody used lately.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.cache.contents import INDICES, Contents, name_index, write_small
from burnish.data.cache.entries import (
    TEMPORARY,
    find_last_use,
    is_entry_name,
    is_in_use,
    read_about,
    remove_entry,
    upkeep_lock,
)
from burnish.data.formats import Listing
from burnish.errors import DataError
from burnish.sizes import parse_size

SIZE_VARIABLE = "BURNISH_CACHE_SIZE"
"""Environment variable with the size that the cache may have."""

UNUSED_DAYS = 30
"""How long an entry may be unused before ``burnish cache --clean`` removes it."""

_LARGEST, _SHARE = 20 * 10**9, 0.1
_DAY = 24 * 3600.0
_OLD_LOCK = 1.0  # Days; one that is held longer is not removed either.


@dataclass(frozen=True)
class Kept:
    """What lies in the cache of decoded images under one name.

    Attributes
    ----------
    folder
        Where it lies.
    kind
        ``entry``, or ``leftover`` of a process that ended in the middle.
    paths
        The data sets it belongs to, as they are now; else the one it was made for.
    num_images, height, width, color
        Of an entry; 0 and empty where an older version of burnish made it.
    num_bytes
        On disk.
    last_used
        Seconds since 1970.
    in_use
        Whether a process on this machine uses it.
    """

    folder: Path
    kind: str
    paths: tuple[str, ...]
    num_images: int
    height: int
    width: int
    color: str
    num_bytes: int
    last_used: float
    in_use: bool


def find_limit(folder: Path) -> int:
    """Bytes that the cache may have: what `SIZE_VARIABLE` says, else 20 GB or a tenth of the disk.

    Raises
    ------
    DataError
        If the variable holds no size.
    """
    given = os.environ.get(SIZE_VARIABLE, "").strip()
    if not given:
        return min(_LARGEST, int(shutil.disk_usage(find_existing(folder)).total * _SHARE))
    return parse_limit(given, SIZE_VARIABLE)


def parse_limit(text: str, where: str) -> int:
    """Read a size such as ``20GB``.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        return parse_size(text)
    except ValueError as error:
        raise DataError(f"{where} = '{text}': expected MB or GB, such as 500MB or 20GB") from error


def note_use(folder: Path, listing: Listing, contents: Contents) -> bool:
    """Note that a data set has these contents now.

    Returns
    -------
    Whether it had others before, whose entries are superseded then.
    """
    if listing.path is None:
        return False
    index = folder / f"{name_index(listing.path)}.json"
    before = _read_index(index)
    known = dict(before.get("contents", {}))
    if known.get(contents.code) == contents.digest:
        return False
    path = os.path.realpath(listing.path)
    # Of other code too: whoever uses two versions of burnish does not decode at each change.
    about = {"path": path, "contents": {**known, contents.code: contents.digest}}
    write_small(index, json.dumps(about).encode())
    return contents.code in known


def tidy(folder: Path, limit: int) -> None:
    """Remove leftovers, what is superseded, and what was unused longest, down to a size."""
    with suppress(OSError), upkeep_lock(folder):
        for kept in list_kept(folder):
            if (kept.kind == "leftover" or is_superseded(folder, kept.folder)) and not kept.in_use:
                _remove(kept.folder)
        shrink(folder, limit)


def shrink(folder: Path, limit: int) -> list[Kept]:
    """Remove entries, those unused longest first, until the rest takes so many bytes; list them."""
    kept = sorted(list_kept(folder), key=lambda one: one.last_used)
    total = sum(one.num_bytes for one in kept)
    removed = []
    for one in kept:
        if total <= limit:
            break
        if remove_kept(one):
            removed.append(one)
            total -= one.num_bytes
    return removed


def remove_kept(one: Kept) -> bool:
    """Remove what no process uses; return whether it is gone."""
    return not one.in_use and _remove(one.folder)


def clean(folder: Path, days: float = UNUSED_DAYS) -> list[Kept]:
    """Remove what was not used for so many days, leftovers, and what is superseded; list it.

    With 0 days everything goes that no process uses.
    """
    if not folder.is_dir():
        return []
    removed = []
    oldest = time.time() - days * _DAY
    with upkeep_lock(folder):
        for kept in list_kept(folder):
            goes = kept.kind == "leftover" or is_superseded(folder, kept.folder)
            if (goes or days == 0 or kept.last_used < oldest) and not kept.in_use:
                removed += [kept] if _remove(kept.folder) else []
        made_for = {read_about(kept.folder).get("path") for kept in list_kept(folder)}
        for index in _list_indices(folder):
            path = _read_index(index).get("path", "")
            is_old = not os.path.lexists(path) and index.stat().st_mtime < oldest
            if (days == 0 or is_old) and path not in made_for:
                for file in (index, index.with_suffix(".npz")):
                    file.unlink(missing_ok=True)
    return removed


def list_kept(folder: Path) -> list[Kept]:
    """List all that lies in the cache of decoded images, what was used last at the head."""
    owners: dict[str, list[str]] = {}
    for index in _list_indices(folder):
        about = _read_index(index)
        for digest in about.get("contents", {}).values():
            if os.path.exists(about["path"]):  # noqa: PTH110
                owners.setdefault(str(digest)[:24], []).append(about["path"])
    return sorted(
        (_describe(path, owners) for path in _list_names(folder)),
        key=lambda kept: (-kept.last_used, kept.folder.name),
    )


def is_superseded(folder: Path, entry: Path) -> bool:
    """Whether the data set that an entry was made for has other contents now, and no other these.

    One whose data set is not there any more may have moved, and is not.
    """
    about = read_about(entry)
    if not about or about["path"] is None or not os.path.exists(about["path"]):  # noqa: PTH110
        return False
    digest = entry.name.split("-")[0]
    is_changed = False
    for index in _list_indices(folder):
        known = _read_index(index)
        current = str(known.get("contents", {}).get(about["code"], ""))
        if current[:24] == digest and os.path.exists(known["path"]):  # noqa: PTH110
            return False
        is_changed |= known.get("path") == about["path"] and current != ""
    return is_changed


def _describe(path: Path, owners: dict[str, list[str]]) -> Kept:
    is_left = not is_entry_name(path.name)
    about = {} if is_left else read_about(path)
    made_for = [about["path"]] if about.get("path") is not None else []
    spec = about.get("input", {"height": 0, "width": 0, "color": ""})
    return Kept(
        path,
        "leftover" if is_left else "entry",
        tuple(sorted(owners.get(path.name.split("-")[0], made_for))),
        int(about.get("num_images", 0)),
        spec["height"],
        spec["width"],
        spec["color"],
        measure(path),
        find_last_use(path),
        is_in_use(path),
    )


def _list_names(folder: Path) -> Iterator[Path]:
    """All that the cache of decoded images wrote into its folder, but for its indices."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix == ".lock":
                # It says nothing, and may be a waiting process's.
                is_old = find_last_use(path) < time.time() - _OLD_LOCK * _DAY
                if path.name != "upkeep.lock" and is_old:
                    yield path
            elif path.is_dir() and path.name != INDICES:
                # On Windows it does not show that somebody is writing there.
                is_young = find_last_use(path) > time.time() - _DAY
                if os.name != "nt" or is_entry_name(path.name) or not is_young:
                    yield path
    with suppress(OSError):
        for path in sorted((folder / INDICES).glob(f"*{TEMPORARY}")):
            if find_last_use(path) < time.time() - _DAY:
                yield path


def _list_indices(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted((folder / INDICES).glob("*.json"))
    return []


def _read_index(path: Path) -> dict[str, Any]:
    """Read which contents a data set has: ``path``, and ``contents`` by the code that decodes."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(about["path"], str) and isinstance(about["contents"], dict):
            return dict(about)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _remove(path: Path) -> bool:
    if path.is_dir():
        return remove_entry(path)
    try:
        path.unlink()
    except OSError:
        return False
    return True


def measure(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    with suppress(OSError):
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())
    return 0


def find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
