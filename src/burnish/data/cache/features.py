"""Upkeep of what networks made of images (`burnish.features`): what is listed, and what goes.

The files lie in ``features/`` beside the decoded images. Whoever has one mapped keeps what it has
mapped, also when the file is removed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDER = "features"

_SUFFIXES = (".npy", ".onnx", ".part", ".done", ".lock")
_DAY = 24 * 3600.0


def clean_features(root: Path, unused_days: float) -> list[Path]:
    """Remove files that nobody used for so many days; return which."""
    oldest = time.time() - unused_days * _DAY
    return [
        path for path, _, used in list_features(root / FOLDER) if used <= oldest and _remove(path)
    ]


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
    others = [item for item in list_features(folder) if item[0].stem != keep.stem]
    total, removed = num_bytes + sum(item[1] for item in others), []
    for path, size, _ in sorted(others, key=lambda item: item[2]):
        if total > limit and path.suffix == ".npy" and _remove(path):
            removed.append(path)
            total -= size
    return removed


def list_features(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """List files with their bytes, and when they were used last, in seconds since 1970."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix in _SUFFIXES:
                with suppress(OSError):
                    status = path.stat()
                    yield path, status.st_size, status.st_mtime


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # Open on Windows, or not ours.
        return False
    return True
