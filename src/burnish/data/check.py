"""What ``burnish check`` says of a data set before anyone trains on it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from burnish.data.cache import StoredImages, assemble, store_images, warn_of_classes
from burnish.data.dataset import LabelledImages
from burnish.data.decode import OnDecoded
from burnish.data.duplicates import order_canonically
from burnish.data.formats import Listing, read_listing
from burnish.data.formats.layout import LabelsChoice
from burnish.data.formats.listing import NUM_NAMED, SPLIT_NAMES
from burnish.data.formats.masks import MasksChoice
from burnish.errors import BurnishError, DataError
from burnish.image import from_array

NEEDED = len(SPLIT_NAMES)
"""Images that a class needs at least: one for each split."""

_NUM_COMMON = 10
_SHEET_COLUMNS, _SHEET_ROWS = 8, 8
_TILE, _GAP, _HEAD = 96, 6, 40


def check_data(
    path: Path,
    *,
    format: str | None = None,
    group: str | None = None,
    labels: LabelsChoice | None = None,
    masks: MasksChoice | None = None,
    out: Path | None = None,
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
) -> dict[str, Any]:
    """Look through a data set, and give all that was found as plain data.

    The images are decoded into the cache, where a study then finds them.

    Parameters
    ----------
    path, format, group, labels, masks, cache_folder, on_progress
        As for `burnish.data.cache.load_images`.
    out
        Folder for a contact sheet (PNG) per class; none are drawn without it.

    Returns
    -------
    dict
        ``problems`` is empty where a study would run and nothing is wrong with the data;
        ``notes`` are of interest. The other keys: ``path``, ``format``, ``num_images``,
        ``classes`` (name, total and counts by split), ``splits``, ``sizes`` and ``modes``
        (the most common, with counts), ``input`` (what a study would take), ``duplicates``,
        ``suspicious``, ``sheets``.
    """
    found: dict[str, Any] = {
        "path": str(path),
        "format": format,
        "num_images": 0,
        "classes": [],
        "splits": [],
        "sizes": [],
        "modes": [],
        "input": None,
        "duplicates": None,
        "problems": [],
        "num_problems": 0,
        "suspicious": [],
        "num_suspicious": 0,
        "notes": [],
        "sheets": [],
    }
    problems: list[str] = []
    try:
        listing = read_listing(path, format, group, labels=labels, masks=masks)
        found |= _describe_listing(listing)
        found["notes"] = list(listing.notes)
        problems += listing.problems
        stored = store_images(listing, cache_folder=cache_folder, on_progress=on_progress)
        problems = stored.list_troubles(listing)
        found |= _describe_images(listing, stored)
        raw = assemble(listing, stored, ())
        problems += _find_problems(listing, stored, raw)
        found["duplicates"] = {
            "num": raw.facts.num_duplicates,
            "num_across_splits": raw.facts.num_dropped,
            "num_conflicts": raw.facts.num_conflicts,
            "conflicts": list(raw.facts.conflicts),
        }
        found["notes"] = _note(raw)
        if out is not None:
            found["sheets"] = [str(sheet) for sheet in draw_sheets(listing, stored, out)]
    except DataError as error:
        # That no image can be used is said of each of them already.
        problems.append(str(error))
    found["problems"] = problems[:NUM_NAMED]
    found["num_problems"] = len(problems)
    return found


def _describe_listing(listing: Listing) -> dict[str, Any]:
    """Count images by class and split, bad ones among them."""
    given = [
        split
        for split in SPLIT_NAMES
        if listing.splits is not None and np.any(listing.splits == split)
    ]
    classes = []
    for number, name in enumerate(listing.class_names):
        is_it = listing.labels == number
        counts = {split: int(np.sum(is_it & (listing.splits == split))) for split in given}
        classes.append({"name": name, "total": int(is_it.sum()), **counts})
    return {
        "format": listing.format,
        "num_images": len(listing),
        "classes": classes,
        "splits": given,
        "suspicious": list(listing.suspicious[:NUM_NAMED]),
        "num_suspicious": len(listing.suspicious),
    }


def _describe_images(listing: Listing, stored: StoredImages) -> dict[str, Any]:
    """Count sizes and colour modes of what could be decoded."""
    good = stored.decoded.is_good
    heights, widths = stored.decoded.heights[good], stored.decoded.widths[good]
    sizes = Counter(zip(heights.tolist(), widths.tolist(), strict=True))
    modes = Counter(stored.decoded.modes[good].tolist())
    return {
        "num_good": int(good.sum()),
        "sizes": [
            {"height": height, "width": width, "num": num}
            for (height, width), num in sizes.most_common(_NUM_COMMON)
        ],
        "num_sizes": len(sizes),
        "modes": [{"mode": mode, "num": num} for mode, num in modes.most_common()],
        "input": {
            "height": stored.spec.height,
            "width": stored.spec.width,
            "color": stored.spec.color,
        },
    }


def _find_problems(listing: Listing, stored: StoredImages, raw: LabelledImages) -> list[str]:
    """Say what is wrong with a data set whose every image can be decoded."""
    problems = []
    facts = raw.facts
    splits_to_cut = NEEDED - len(raw.given)
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    for name, count in zip(raw.class_names, counts.tolist(), strict=True):
        if count < splits_to_cut:
            problems.append(
                f"class '{name}' has too few images, {count}, for each of {splits_to_cut} splits "
                "that are to be cut"
            )
    problems += [f"identical images have different labels: {pair}" for pair in facts.conflicts]
    if facts.num_conflicts > len(facts.conflicts):
        problems.append(f"and {facts.num_conflicts - len(facts.conflicts):,} more such sets")
    if facts.num_dropped:
        problems.append(
            "images of the given train or val split that are in a later split too: "
            f"{facts.num_dropped:,}; a study takes them out"
        )
    return problems


def _note(raw: LabelledImages) -> list[str]:
    """Say what is of interest, but does not stop anyone."""
    labels = {name: split.labels for name, split in ({"train": raw.train} | raw.given).items()}
    notes = [*raw.facts.notes, *warn_of_classes(raw.class_names, labels)]
    if raw.facts.num_duplicates:
        notes.append(
            f"images that are identical to another: {raw.facts.num_duplicates:,}; a study keeps "
            "such images in one split"
        )
    return notes


def draw_sheets(listing: Listing, stored: StoredImages, out: Path) -> list[Path]:
    """Draw up to 64 images of each class, evenly spaced among all, onto a sheet.

    Raises
    ------
    BurnishError
        If a sheet cannot be written.
    """
    pixels = stored.map_pixels()
    good = np.flatnonzero(stored.decoded.is_good)
    order = good[order_canonically(listing.labels[good], stored.decoded.digests[good])]
    paths = []
    digits = len(str(len(listing.class_names)))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(listing.class_names):
            members = order[listing.labels[order] == number]
            if len(members) == 0:
                continue
            num = min(len(members), _SHEET_COLUMNS * _SHEET_ROWS)
            chosen = members[np.linspace(0, len(members) - 1, num).round().astype(np.intp)]
            plain = re.sub(r"[^\w.-]+", "-", name)[:60].strip(".") or "class"
            path = out / f"{number + 1:0{digits}}-{plain}.png"
            _draw_sheet(f"{name}: {num:,} of {len(members):,}", pixels, chosen).save(path)
            paths.append(path)
    except OSError as error:
        raise BurnishError(
            f"{out}: contact sheets cannot be written ({error.strerror or error}); give another "
            "folder with --out"
        ) from error
    return paths


def _draw_sheet(title: str, pixels: NDArray[np.uint8], chosen: Sequence[int]) -> Image.Image:
    height, width = pixels.shape[1:3]
    # Small images are enlarged by a whole number, so that their pixels can be seen.
    scale = max(1, _TILE // max(height, width)) if max(height, width) <= _TILE else 0
    tile_height, tile_width = height * scale, width * scale
    if not scale:
        shrink = _TILE / max(height, width)
        tile_height, tile_width = round(height * shrink), round(width * shrink)
    tile_height, tile_width = max(1, tile_height), max(1, tile_width)
    columns = min(_SHEET_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    font = ImageFont.load_default(size=18)
    least = math.ceil(font.getlength(title))
    sheet_width = max(columns * (tile_width + _GAP) - _GAP, least) + 2 * _GAP
    sheet = Image.new("RGB", (sheet_width, rows * (tile_height + _GAP) + _HEAD), "white")
    ImageDraw.Draw(sheet).text((_GAP, _HEAD // 2), title, fill="black", font=font, anchor="lm")
    how = Image.Resampling.NEAREST if scale else Image.Resampling.BILINEAR
    for place, index in enumerate(chosen):
        row, column = divmod(place, columns)
        tile = from_array(np.asarray(pixels[index])).resize((tile_width, tile_height), how)
        corner = (_GAP + column * (tile_width + _GAP), _HEAD + row * (tile_height + _GAP))
        sheet.paste(tile.convert("RGB"), corner)
    return sheet
