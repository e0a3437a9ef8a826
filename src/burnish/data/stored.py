"""Decoded images, found in the cache or made: in the size, colour and range that suit them all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from burnish.child_processes import refuse_to_begin_again
from burnish.data.autosize import choose_size, guess
from burnish.data.cache.contents import Contents, take_contents
from burnish.data.cache.entries import (
    StoredImages,
    find_entries,
    is_entry_name,
    keep_entry,
    mark_used,
    name_entry,
    read_entry,
    writing_entry,
    writing_to,
)
from burnish.data.cache.upkeep import find_limit, note_use, tidy
from burnish.data.decode import decode_images
from burnish.data.decode_piece import NO_MEMORY
from burnish.data.decoded import Decoded, OnDecoded
from burnish.data.formats import Listing
from burnish.data.problems import (
    Problem,
    UnusableError,
    read_trouble,
)
from burnish.data.ranges import (
    RangeChoice,
    check_range,
    choose_range,
    note_pages,
    refuse_pointless,
)
from burnish.data.reuse import decode_changed
from burnish.errors import DataError, name_what_exists
from burnish.files import find_cache_folder
from burnish.image import CANNOT_BE_READ, MAX_PIXELS, Color, InputSpec, Resize
from burnish.image.wide import Range, depends_on_range

ColorChoice: TypeAlias = Literal["auto"] | Color


SizeChoice: TypeAlias = Literal["auto"] | Sequence[int]


MAX_SIDE = 4096
"""Largest height and width, in pixels, that may be asked for."""


def list_troubles(listing: Listing, decoded: Decoded) -> list[Problem]:
    """Name all that cannot be used, and why."""
    bad = [read_trouble(listing.names[index], why) for index, why in decoded.bad.items()]
    return [*listing.problems, *bad]


def store_images(
    listing: Listing,
    *,
    color: ColorChoice = "auto",
    size: SizeChoice = "auto",
    resize: Resize = "pad",
    range: RangeChoice = "auto",
    max_pixels: int = MAX_PIXELS,
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
) -> StoredImages:
    """Decode the images of a listing into the cache, or find them there.

    Bad images are no error here: `StoredImages.decoded` has them.

    Raises
    ------
    DataError
        If a setting is none, no image at all can be used, or the cache cannot be written.
    """
    if color not in ("auto", "grey", "rgb"):
        raise DataError(name_what_exists("color", color, ("auto", "grey", "rgb")))
    if resize not in get_args(Resize):
        raise DataError(name_what_exists("resize", resize, get_args(Resize)))
    wanted = _Wanted(color, _check_size(size), resize, check_range(range))
    refuse_to_begin_again()
    folder = find_cache_folder() / "images" if cache_folder is None else cache_folder
    limit = find_limit(folder)
    with writing_to(folder, listing):
        contents = take_contents(listing, folder, max_pixels)
        stored = _find(listing, contents, wanted, folder)
        is_new = stored is None
        if stored is None:
            from filelock import FileLock

            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{contents.digest[:24]}.lock"):
                stored = _find(listing, contents, wanted, folder) or _store(
                    listing, contents, wanted, folder, on_progress
                )
        mark_used(stored.folder)
        # What serves this time alone says nothing of what the data set is.
        is_changed = is_entry_name(stored.folder.name) and note_use(folder, listing, contents)
        if is_new or is_changed:
            tidy(folder, limit)
    return stored


@dataclass(frozen=True)
class _Wanted:
    """Size, colour and range as they were asked for; what is None is chosen."""

    color: ColorChoice
    size: tuple[int, int] | None
    resize: Resize
    range: Range | None

    def choose(self, decoded: Decoded) -> tuple[InputSpec, tuple[str, ...]]:
        """Choose what suits images of which all is known, and say why."""
        notes = []
        good = decoded.is_good
        height, width = self.size or (0, 0)
        if self.size is None:
            (height, width), note = choose_size(decoded.heights[good], decoded.widths[good])
            notes.append(note)
        shade: Color = "rgb" if decoded.has_color else "grey"
        if self.color == "auto":
            why = "images have colour" if decoded.has_color else "no image has colour"
            notes.append(f"color {shade}: {why}")
        else:
            shade = self.color
        range, wide = self.range, decoded.is_wide & good
        if range is None and wide.any():
            range, note = choose_range(decoded.levels[wide], is_mixed=bool((~wide & good).any()))
            notes.append(note)
        return InputSpec(height, width, shade, self.resize, range=range), tuple(notes)

    def suits(self, stored: StoredImages) -> bool:
        """Whether an entry's images are as they are wanted, and all that can be used is there."""
        decoded = stored.decoded
        if not decoded.is_good.any() or self.choose(decoded)[0] != stored.spec:
            return False
        # What another range left out may count where the range is to be chosen.
        return self.range is not None or not any(map(depends_on_range, decoded.bad.values()))


def _find(
    listing: Listing, contents: Contents, wanted: _Wanted, folder: Path
) -> StoredImages | None:
    """Find the entry of these images in the size and colour that are wanted."""
    for entry in find_entries(folder, contents):
        stored = read_entry(entry, contents, len(listing))
        if stored is None or not stored.decoded.is_good.any():
            continue
        # Any entry of the same images says which one it is.
        spec, _ = wanted.choose(stored.decoded)
        if spec != stored.spec:
            stored = read_entry(folder / name_entry(contents, spec), contents, len(listing))
        if stored is not None and wanted.suits(stored):
            return _note(listing, wanted, stored)
    return None


def _note(listing: Listing, wanted: _Wanted, stored: StoredImages) -> StoredImages:
    """Add what was chosen and why."""
    _, notes = wanted.choose(stored.decoded)
    return replace(stored, notes=(*notes, *note_pages(listing.names, stored.decoded)))


def _store(
    listing: Listing,
    contents: Contents,
    wanted: _Wanted,
    folder: Path,
    on_progress: OnDecoded | None,
) -> StoredImages:
    """Make the entry of these images."""
    with writing_entry(folder) as temporary:
        path = temporary / "images.npy"

        made = decode_changed(listing, contents, folder, path, wanted.suits, on_progress)
        if made is None or not made[1].is_good.any() or wanted.choose(made[1])[0] != made[0]:
            made = _decode(listing, wanted, contents.max_pixels, path, on_progress)
        spec, decoded = made
        # Perhaps only the machine's trouble, or files that somebody is writing: this time alone.
        once = not contents.still_hold() or any(
            why.startswith((CANNOT_BE_READ, NO_MEMORY)) for why in decoded.bad.values()
        )
        entry = keep_entry(temporary, listing, contents, spec, decoded, once=once)
    stored = read_entry(entry, contents, len(listing))
    if stored is None:
        raise OSError(f"{entry.name} was there a moment ago")
    return _note(listing, wanted, stored)


def _decode(
    listing: Listing,
    wanted: _Wanted,
    max_pixels: int,
    path: Path,
    on_progress: OnDecoded | None,
) -> tuple[InputSpec, Decoded]:
    """Decode all images, in the size, colour and range that suit them all."""
    is_free = wanted.size is None or wanted.color == "auto"
    guessed = guess(listing, max_pixels) if is_free else None
    height, width = wanted.size or (guessed[0] if guessed else (8, 8))
    shade: Color = (guessed[1] if guessed else "rgb") if wanted.color == "auto" else wanted.color
    spec = InputSpec(height, width, shade, wanted.resize, range=wanted.range)
    while True:
        decoded = decode_images(
            listing.images,
            len(listing),
            spec,
            path,
            look_for_color=True,
            max_pixels=max_pixels,
            on_progress=on_progress,
        )
        refuse_pointless(listing.name, wanted.range, decoded)
        if not decoded.is_good.any():
            raise UnusableError(
                f"{listing.name}: no image can be used", list_troubles(listing, decoded)
            )
        suitable, _ = wanted.choose(decoded)
        if suitable == spec:
            return spec, decoded
        if suitable == replace(spec, color="grey"):
            wide = decoded.is_wide[:, np.newaxis]
            digests = np.where(wide, decoded.digests, _drop_channels(path))
            return suitable, replace(decoded, digests=digests)
        spec = suitable  # The guess was wrong; now all sizes, colours and values are known.


def _drop_channels(path: Path) -> NDArray[np.uint8]:
    """Keep one of three equal channels; give the digests (num, 32) of what is left."""
    pixels = np.load(path, mmap_mode="r").view(np.ndarray)
    shape = (*pixels.shape[:3], 1)
    digests = np.zeros((len(pixels), 32), np.uint8)
    narrow = path.with_name("grey.npy")
    with narrow.open("wb") as file:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for index, image in enumerate(pixels):
            content = image[..., 0].tobytes()
            file.write(content)
            digests[index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        file.flush()
        os.fsync(file.fileno())
    del pixels, image
    narrow.replace(path)
    return digests


def _check_size(size: SizeChoice) -> tuple[int, int] | None:
    if size == "auto":
        return None
    if not isinstance(size, str) and len(size) == 2:
        height, width = size
        if all(type(side) is int and 1 <= side <= MAX_SIDE for side in (height, width)):
            return height, width
    raise DataError(
        f'size = {size!r}; expected "auto", or height and width in pixels, 1 to {MAX_SIDE} each'
    )
