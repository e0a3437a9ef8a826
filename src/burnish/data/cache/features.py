"""Upkeep of what networks made of images (`burnish.features`): what is listed, and what goes.

The files lie in ``features/`` beside the decoded images. Whoever has one mapped keeps what it has
mapped, also when the file is removed. What a process is computing at the moment stays.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = "features"

_SUFFIXES = (".npy", ".onnx", ".part", ".done", ".lock")
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class FeatureFileFound:
    """A file in the folder of features: where, its bytes, and when it was used last.

    ``last_used`` is in seconds since 1970.
    """

    path: Path
    num_bytes: int
    last_used: float


def clean_features(root: Path, unused_days: float) -> list[Path]:
    """Remove files that nobody used for so many days; return which."""
    oldest = time.time() - unused_days * _DAY
    found = list_features(root / FOLDER)
    return [one.path for one in found if one.last_used <= oldest and remove_features(one.path)]


def shrink_features(folder: Path, limit: int, keep: Path, num_bytes: int) -> list[Path]:
    """Remove the longest unused files until all take no more than a limit.

    Parameters
    ----------
    folder
        Where they lie.
    limit
        Bytes.
    keep
        A file that is about to be written and used, whatever it takes.
    num_bytes
        What it will take.
    """
    others = [one for one in list_features(folder) if one.path.stem != keep.stem]
    total, removed = num_bytes + sum(one.num_bytes for one in others), []
    for one in sorted(others, key=lambda one: one.last_used):
        if total > limit and one.path.suffix == ".npy" and remove_features(one.path):
            removed.append(one.path)
            total -= one.num_bytes
    return removed


def list_features(folder: Path) -> list[FeatureFileFound]:
    """List the files of a folder of features; of somebody's own there, none."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix in _SUFFIXES:
                with suppress(OSError):
                    status = path.stat()
                    found.append(FeatureFileFound(path, status.st_size, status.st_mtime))
    return found


def remove_features(path: Path) -> bool:
    """Remove a file unless a process is writing what it belongs to; return whether it is gone."""
    try:
        if _is_being_written(path):
            return False
        path.unlink()
    except OSError:  # Open on Windows, or not ours.
        return False
    return True


def _is_being_written(path: Path) -> bool:
    from filelock import FileLock, Timeout

    place = path.with_suffix(".lock")
    if not place.exists():
        return False
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
