"""What ``burnish check`` says of a data set before anyone trains on it."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from burnish.data.assemble import assemble, warn_of_classes
from burnish.data.cache.entries import StoredImages
from burnish.data.dataset import LabelledImages
from burnish.data.decode import OnDecoded
from burnish.data.duplicates import order_canonically
from burnish.data.formats import Listing, read_listing
from burnish.data.formats.listing import NUM_NAMED, SPLIT_NAMES, FileImages
from burnish.data.formats.options import ListingKeywords
from burnish.data.problems import Problem, UnusableError, describe_groups, pick_examples
from burnish.data.ranges import RangeChoice, name_clipped, name_mixed
from burnish.data.splitting import find_cut_problems
from burnish.data.stored import list_troubles, store_images
from burnish.errors import BurnishError, DataError
from burnish.image import MAX_PIXELS, from_array
from burnish.image_files import OUTPUT_MARK, is_within

_NUM_COMMON = 10
_SHEET_COLUMNS, _SHEET_ROWS = 8, 8
_TILE, _GAP, _HEAD = 96, 6, 40


def check_data(
    path: Path,
    *,
    format: str | None = None,
    range: RangeChoice = "auto",
    max_pixels: int | None = None,
    out: Path | None = None,
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
    **options: Unpack[ListingKeywords],
) -> dict[str, Any]:
    """Look through a data set, and give all that was found as plain data.

    The images are decoded into the cache, where a study then finds them.

    Parameters
    ----------
    path, format, range, max_pixels, cache_folder, on_progress, options
        As for `burnish.data.load.load_images`.
    out
        Folder for a contact sheet (PNG) per class; none are drawn without it.

    Returns
    -------
    dict
        ``problems`` is empty where a study would run and nothing is wrong with the data; it has
        some of each kind, and ``problem_kinds`` (kind, num, examples) counts all, causes first;
        ``is_refused`` says whether 'burnish init' and a study of its default split refuse it;
        ``warnings`` stop nobody and should be looked into (`burnish.data.shortcuts`);
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
        "problem_kinds": [],
        "is_refused": False,
        "suspicious": [],
        "num_suspicious": 0,
        "notes": [],
        "warnings": [],
        "sheets": [],
    }
    problems: list[Problem] = []
    try:
        listing = read_listing(path, format, **options)
        found |= _describe_listing(listing)
        found["notes"] = list(listing.notes)
        problems += listing.problems
        stored = store_images(
            listing,
            range=range,
            max_pixels=max_pixels or MAX_PIXELS,
            cache_folder=cache_folder,
            on_progress=on_progress,
        )
        problems = list_troubles(listing, stored.decoded)
        found |= _describe_images(listing, stored)
        raw = assemble(listing, stored, ())
        problems += [Problem("", said) for said in find_cut_problems(raw)]
        found["is_refused"] = bool(problems)
        problems += _find_doubts(listing, stored, raw)
        found["duplicates"] = {
            "num": raw.facts.num_duplicates,
            "num_across_splits": raw.facts.num_dropped,
            "num_conflicts": raw.facts.num_conflicts,
            "conflicts": list(raw.facts.conflicts),
        }
        found["notes"] = [
            *_note(raw),
            *name_clipped(listing.names, stored.decoded, stored.spec.range),
        ]
        found["warnings"] = list(raw.facts.shortcuts)
        if out is not None:
            found["sheets"] = [str(sheet) for sheet in draw_sheets(listing, stored, out)]
    except UnusableError as error:
        problems = [Problem("", error.head), *error.problems]
        found["is_refused"] = True
    except DataError as error:
        problems.append(Problem("", str(error)))
        found["is_refused"] = True
    found["problems"] = [str(problem) for problem in pick_examples(problems)]
    found["num_problems"] = len(problems)
    found["problem_kinds"] = describe_groups(problems)
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
            "range": stored.spec.range,
        },
    }


def _find_doubts(listing: Listing, stored: StoredImages, raw: LabelledImages) -> list[Problem]:
    """Say what is wrong with a data set that a study would take all the same."""
    facts = raw.facts
    problems = [Problem("", said) for said in name_mixed(listing.names, stored.decoded)]
    conflict = "are identical images with different labels"
    problems += [Problem(pair, conflict) for pair in facts.conflicts]
    if facts.num_conflicts > len(facts.conflicts):
        more = facts.num_conflicts - len(facts.conflicts)
        problems.append(Problem(f"{more:,} more such sets", conflict))
    if facts.num_dropped:
        problems.append(
            Problem(
                listing.name,
                "has images of the given train or val split that are in a later split too; a "
                "study takes them out",
                f" ({facts.num_dropped:,})",
            )
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
    pixels = stored.pixels
    good = np.flatnonzero(stored.decoded.is_good)
    order = good[order_canonically(listing.labels[good], stored.decoded.digests[good])]
    paths = []
    digits = len(str(len(listing.class_names)))
    try:
        _refuse_image_folder(listing, out)
        out.mkdir(parents=True, exist_ok=True)
        (out / OUTPUT_MARK).touch()
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


def _refuse_image_folder(listing: Listing, out: Path) -> None:
    """Refuse a folder that holds images of the data set, which would be mixed with the sheets."""
    if not isinstance(listing.images, FileImages):
        return
    root, folder = os.path.realpath(listing.images.root), os.path.realpath(out)
    for path in listing.images.paths:
        if is_within(os.path.join(root, path), folder):  # noqa: PTH118
            raise BurnishError(
                f"{out}: holds images of the data set ({path}); give contact sheets a folder of "
                "their own with --out"
            )


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
