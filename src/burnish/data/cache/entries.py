"""Entries of the cache of decoded images: how they are named, written and read.

An entry is a folder: ``images.npy`` (the pixels), ``records.npz`` (what is known of each image)
and ``about.json``. It is written to a temporary name, flushed and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import PIL
from numpy.typing import NDArray

import burnish.data.choice
import burnish.data.decode
import burnish.image
from burnish.data.decode import Decoded
from burnish.data.formats import Listing
from burnish.errors import DataError
from burnish.files import sync_folder
from burnish.image import InputSpec

_FORMAT = 1


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
    """

    folder: Path
    spec: InputSpec
    decoded: Decoded
    notes: tuple[str, ...]

    def map_pixels(self) -> NDArray[np.uint8]:
        """Map the pixels (num, height, width, channels) into memory, read-only."""
        pixels: NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r")
        return pixels

    def list_troubles(self, listing: Listing) -> list[str]:
        """Name all that cannot be used, and why."""
        bad = [f"{listing.names[index]}: {why}" for index, why in self.decoded.bad.items()]
        return [*listing.problems, *bad]


def name_entry(listing: Listing, settings: dict[str, Any]) -> str:
    """Name what decoding depends on: files, settings and code."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(f"{_FORMAT} {listing.format} {len(listing)} {PIL.__version__}".encode())
    digest.update(listing.stamp.encode())
    for module in (burnish.image, burnish.data.decode, burnish.data.choice):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:32]


def write_entry(folder: Path, stored: StoredImages) -> None:
    """Write what is known of the images beside them, and flush it."""
    decoded = stored.decoded
    records = folder / "records.npz"
    np.savez(
        records,
        heights=decoded.heights,
        widths=decoded.widths,
        modes=decoded.modes,
        digests=decoded.digests,
    )
    spec = stored.spec
    about = {
        "format": _FORMAT,
        "input": [spec.height, spec.width, spec.color, spec.resize],
        "notes": stored.notes,
        "has_color": decoded.has_color,
        "bad": {str(index): why for index, why in decoded.bad.items()},
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    for path in (records, folder / "about.json"):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def read_entry(folder: Path, num_images: int) -> StoredImages | None:
    """Read an entry; None where there is none, or it was tampered with."""
    if not folder.is_dir():
        return None
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            return None
        with (folder / "records.npz").open("rb") as file, np.load(file) as records:
            arrays = {name: records[name] for name in records.files}
        decoded = Decoded(
            **arrays,
            bad={int(index): why for index, why in about["bad"].items()},
            has_color=about["has_color"],
        )
        spec = InputSpec(*about["input"])
        stored = StoredImages(folder, spec, decoded, tuple(about["notes"]))
        pixels = stored.map_pixels()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile):
        return None
    if pixels.shape != (num_images, *spec.shape) or len(decoded.digests) != num_images:
        return None
    return stored


@contextmanager
def writing_to(folder: Path, listing: Listing) -> Iterator[None]:
    """Say what can be done where the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images of {listing.name} cannot be kept there "
            f"({error.strerror or error}); make room, or set XDG_CACHE_HOME to a folder that can "
            "be written"
        ) from error
