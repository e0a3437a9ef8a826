"""What ``burnish cache`` says: what lies in the cache, how much it takes, what was removed."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from burnish.data.cache.entries import upkeep_lock
from burnish.data.cache.features import (
    FOLDER,
    FeatureFileFound,
    clean_features,
    list_features,
    remove_features,
)
from burnish.data.cache.upkeep import (
    UNUSED_DAYS,
    Kept,
    clean,
    find_limit,
    list_kept,
    measure,
    parse_limit,
    remove_kept,
)
from burnish.errors import DataError
from burnish.files import find_cache_folder


def look_after_cache(
    *, remove: bool = False, everything: bool = False, size: str | None = None
) -> dict[str, Any]:
    """Say what lies in the user's cache, and remove some of it where that is asked for.

    Parameters
    ----------
    remove
        Whether to remove what nobody used for `UNUSED_DAYS` days, leftovers, and what is
        superseded.
    everything
        Whether to remove all decoded images that no process uses.
    size
        Such as ``5GB``: remove decoded images and features unused longest, until the rest of both
        takes no more.

    Returns
    -------
    dict
        ``folder``; ``limit`` and ``bytes`` of all decoded images; ``entries`` and ``removed``
        (see `burnish.data.cache.upkeep.Kept`); ``features``, what networks made of images:
        ``path``, ``files``, ``bytes`` and ``limit``; ``removed_features``, names of files;
        ``others``: what else lies there and is never removed here (``path``, ``what``, ``bytes``).

    Raises
    ------
    DataError
        If a size is none, or the cache cannot be looked through.
    """
    root = find_cache_folder()
    folder = root / "images"
    wanted = None if size is None else parse_limit(size, "--size")
    limit = find_limit(folder)
    removed: list[Kept] = []
    forgotten: list[Path] = []
    try:
        if remove:
            days = 0 if everything else UNUSED_DAYS
            removed += clean(folder, days)
            forgotten += clean_features(root, days)
        if wanted is not None:
            images, features = _shrink_to(root, wanted)
            removed += images
            forgotten += features
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be cleaned ({error.strerror or error}); whose folder is it?"
        ) from error
    kept = list_kept(folder)
    return {
        "folder": str(folder),
        "limit": limit,
        "bytes": sum(one.num_bytes for one in kept),
        "entries": [_describe(one) for one in kept],
        "removed": [_describe(one) for one in removed],
        "features": _describe_features(root / FOLDER),
        "removed_features": [path.name for path in forgotten],
        "others": list_others(root),
    }


def _shrink_to(root: Path, size: int) -> tuple[list[Kept], list[Path]]:
    """Remove what was unused longest, images or features; return what went of either."""
    folder = root / "images"
    removed: list[Kept] = []
    forgotten: list[Path] = []
    with upkeep_lock(folder) if folder.is_dir() else nullcontext():
        found: list[Kept | FeatureFileFound] = [*list_kept(folder), *list_features(root / FOLDER)]
        total = sum(one.num_bytes for one in found)
        for one in sorted(found, key=lambda one: one.last_used):
            if total <= size:
                break
            if isinstance(one, Kept):
                if not remove_kept(one):
                    continue
                removed.append(one)
            else:
                if not remove_features(one.path):
                    continue
                forgotten.append(one.path)
            total -= one.num_bytes
    return removed, forgotten


def _describe_features(folder: Path) -> dict[str, Any]:
    found = list_features(folder)
    return {
        "path": str(folder),
        "files": sum(one.path.suffix == ".npy" for one in found),
        "bytes": sum(one.num_bytes for one in found),
        "limit": find_limit(folder),
    }


def list_others(root: Path) -> list[dict[str, Any]]:
    """List what burnish keeps beside decoded images: downloads, and Keras's own weights."""
    found = []
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            if path.name not in ("images", FOLDER):
                found.append({"path": str(path), "what": "download", "bytes": measure(path)})
    # Keras has one folder for the weights that all programs download.
    with suppress(OSError, RuntimeError):
        home = os.environ.get("KERAS_HOME")
        models = (Path(home) if home else Path.home() / ".keras") / "models"
        if models.is_dir() and any(models.iterdir()):
            found.append(
                {"path": str(models), "what": "weights of Keras", "bytes": measure(models)}
            )
    return found


def _describe(kept: Kept) -> dict[str, Any]:
    return {
        "name": kept.folder.name,
        "kind": kept.kind,
        "paths": list(kept.paths),
        "num_images": kept.num_images,
        "height": kept.height,
        "width": kept.width,
        "color": kept.color,
        "bytes": kept.num_bytes,
        "last_used": datetime.fromtimestamp(kept.last_used, UTC).isoformat(timespec="seconds"),
        "in_use": kept.in_use,
    }
