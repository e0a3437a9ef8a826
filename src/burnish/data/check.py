"""What ``burnish check`` says of a data set before anyone trains on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from burnish.data.assemble import assemble, warn_of_classes
from burnish.data.cache.entries import StoredImages
from burnish.data.contact_sheets import draw_sheets
from burnish.data.dataset import LabelledImages
from burnish.data.decoded import OnDecoded
from burnish.data.formats import Listing, read_listing
from burnish.data.formats.listing import NUM_NAMED, SPLIT_NAMES
from burnish.data.formats.options import ListingKeywords
from burnish.data.problems import Problem, UnusableError, describe_groups, pick_examples
from burnish.data.ranges import RangeChoice, name_clipped, name_mixed
from burnish.data.splitting import find_cut_problems
from burnish.data.stored import list_troubles, store_images
from burnish.errors import DataError
from burnish.image import MAX_PIXELS

_NUM_COMMON = 10


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
    found = _find_nothing(path, format)
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
        found |= _describe_whole(listing, stored, raw)
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


def _find_nothing(path: Path, format: str | None) -> dict[str, Any]:
    """Return what is said of data that nothing is known of."""
    return {
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


def _describe_whole(listing: Listing, stored: StoredImages, raw: LabelledImages) -> dict[str, Any]:
    """Say what shows only in all images together: identical ones, values, shortcuts."""
    return {
        "duplicates": {
            "num": raw.facts.num_duplicates,
            "num_across_splits": raw.facts.num_dropped,
            "num_conflicts": raw.facts.num_conflicts,
            "conflicts": list(raw.facts.conflicts),
        },
        "notes": [
            *_note(raw),
            *name_clipped(listing.names, stored.decoded, stored.spec.range),
        ],
        "warnings": list(raw.facts.shortcuts),
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
