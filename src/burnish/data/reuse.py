"""A data set of which some images changed: the others are copied, and not decoded again.

What comes out is what decoding all of them would give, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data.cache.contents import Contents
from burnish.data.cache.entries import (
    StoredImages,
    is_entry_name,
    read_about,
    read_entry,
    read_image_contents,
)
from burnish.data.decode import decode_images, reserve_pixels
from burnish.data.decoded import BY_IMAGE, Decoded, OnDecoded
from burnish.data.formats import FileImages, Listing
from burnish.image import InputSpec

LEAST_SHARE = 0.5
"""Of the images that must be in another entry already for it to be worth a look."""

_PIECE = 1024


def decode_changed(
    listing: Listing,
    contents: Contents,
    folder: Path,
    path: Path,
    suits: Callable[[StoredImages], bool],
    on_progress: OnDecoded | None,
) -> tuple[InputSpec, Decoded] | None:
    """Decode the images that the nearest entry does not have, and copy the rest of it.

    Parameters
    ----------
    listing, contents
        The images that are wanted.
    folder
        Of the cache.
    path
        File of pixels to write.
    suits
        Whether an entry's images are of the size and colour that is wanted.
    on_progress
        Told how many of the new images are done.

    Returns
    -------
    The size and colour of the entry that was copied from, and what is known of all images in it.
    None where there is no such entry, or colour cannot be told without decoding all.
    """
    found = _find_nearest(contents, folder, suits)
    if found is None or not isinstance(listing.images, FileImages):
        return None
    nearest, rows = found
    paths = listing.images.paths
    places = np.flatnonzero(rows < 0)
    kept = np.flatnonzero(rows >= 0)
    pixels = np.memmap(
        path,
        np.uint8,
        "r+",
        reserve_pixels(path, (len(listing), *nearest.spec.shape)),
        (len(listing), *nearest.spec.shape),
    )
    decoded = _take_rows(nearest.decoded, rows, kept)
    for first in range(0, len(kept), _PIECE):
        piece = kept[first : first + _PIECE]
        pixels[piece] = nearest.pixels[rows[piece]]
    if len(places):
        fresh_path = path.with_name("fresh.npy")
        fresh = decode_images(
            replace(listing.images, paths=tuple(paths[i] for i in places.tolist())),
            len(places),
            nearest.spec,
            fresh_path,
            look_for_color=True,
            max_pixels=contents.max_pixels,
            on_progress=on_progress,
        )
        new = np.load(fresh_path, mmap_mode="r")
        for first in range(0, len(places), _PIECE):
            some = slice(first, first + _PIECE)
            pixels[places[some]] = new[some]
        decoded = _put_rows(decoded, places, fresh)
        del new
        fresh_path.unlink()
    pixels.flush()
    if nearest.decoded.has_color and not decoded.has_color:
        return None  # Of those that are left it is not known.
    return nearest.spec, decoded


def _find_nearest(
    contents: Contents, folder: Path, suits: Callable[[StoredImages], bool]
) -> tuple[StoredImages, NDArray[np.int64]] | None:
    """Find the entry with the most of these images, and the row of each there, -1 for none."""
    if contents.images is None or not folder.is_dir():
        return None
    best: tuple[StoredImages, NDArray[np.int64]] | None = None
    most = LEAST_SHARE * len(contents.images)
    for entry in sorted(folder.iterdir()):
        about = read_about(entry) if is_entry_name(entry.name) else {}
        if about.get("code") != contents.code:
            continue
        there = read_image_contents(entry)
        if there is None:
            continue
        rows = _find_rows(contents.images, there)
        if (num := int((rows >= 0).sum())) < most:
            continue
        stored = read_entry(entry, contents, about["num_images"])
        if stored is not None and suits(stored):
            best, most = (stored, rows), num + 1
    return best


def _find_rows(wanted: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Say in which row each digest is, -1 where it is in none, or is that of no content."""
    row_of = {bytes(digest): row for row, digest in enumerate(there)}
    rows = [row_of.get(bytes(digest), -1) if digest.any() else -1 for digest in wanted]
    return np.array(rows, np.int64)


def _take_rows(decoded: Decoded, rows: NDArray[np.int64], kept: NDArray[np.intp]) -> Decoded:
    """Lay out what is known of rows where they are wanted now; the rest is left empty."""

    def lay(known: NDArray[Any]) -> NDArray[Any]:
        laid = np.zeros((len(rows), *known.shape[1:]), known.dtype)
        laid[kept] = known[rows[kept]]
        return laid

    arrays: dict[str, Any] = {name: lay(getattr(decoded, name)) for name in BY_IMAGE}
    bad = {int(i): decoded.bad[row] for i in kept if (row := int(rows[i])) in decoded.bad}
    colored = kept[np.isin(rows[kept], decoded.colored)].astype(np.int64)
    return replace(decoded, **arrays, bad=bad, colored=colored)


def _put_rows(decoded: Decoded, places: NDArray[np.intp], fresh: Decoded) -> Decoded:
    """Put what is known of new images where they belong."""
    for name in BY_IMAGE:
        getattr(decoded, name)[places] = getattr(fresh, name)
    bad = {**decoded.bad, **{int(places[i]): why for i, why in fresh.bad.items()}}
    colored = np.union1d(decoded.colored, places[fresh.colored]).astype(np.int64)
    return replace(decoded, bad=dict(sorted(bad.items())), colored=colored)
