"""Masks beside their images: a network that is given both learns what leaks the label.

    x.jpg, x.png                       the same name, another suffix
    x.png, x_mask.png                  ... or a word for masks behind it (segmentation, gt)
    images/x.png, masks/x.png          ... or a folder of masks beside that of images

Names alone do not tell: a folder may hold a.jpg and a.png of different pictures. So a pattern
counts where nearly every file that would be a mask has its image, over the whole data set,
and where some of them, decoded, look like masks: a few colours make up all of them.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.data.formats.options import MasksChoice
from burnish.errors import ImageError
from burnish.image import decode, read_file

PATTERN = 0.9
"""Share of the files that could be masks that must have an image for them to be masks."""

NUM_LOOKED_AT = 12
"""Masks that are decoded, evenly spaced."""

_WORDS = (
    "mask|masks|segmentation|segmentations|segmented|seg|label|labels|annotation|annotations|"
    "annot|gt|ground[-_ ]?truth|matte|trimap"
)
_MARK = re.compile(rf"(?<=.)[-_ .](?:{_WORDS})(?:[-_ .]?\d+)?\Z", re.IGNORECASE)
_MASK_FOLDER = re.compile(
    rf"(?:(?P<stem>.*?)[-_ ])?(?:{_WORDS}|ground[-_ ]?truths|trimaps|mattes|"
    r"segmentation(?:class|object))",
    re.IGNORECASE,
)
_IMAGE_FOLDER = re.compile(
    r"(?:.*[-_ ])?(?:jpeg)?(?:images?|imgs?|photos?|pictures?|originals?)", re.IGNORECASE
)
_SAME_SUFFIX = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}
_LOSSY = frozenset((".jpg", ".webp", ".heic", ".heif", ".hif", ".avif", ".jxl"))
# Colours that must make up so much of a mask; those of a lossy file are counted coarsely.
_MASK_COLOURS, _MASK_SHARE = 8, 0.95
_LOSSY_COLOURS, _LOSSY_SHARE = 3, 0.97


@dataclass(frozen=True)
class _Candidates:
    """Files that could be masks by their names, each with the image that it would belong to."""

    images: Mapping[str, str]
    num_alike: int
    """Files that are called as these are, those without an image among them."""


def find_masks(
    root: Path, paths: Sequence[str], masks: MasksChoice | None
) -> tuple[frozenset[str], list[str]]:
    """Find the masks among image files.

    Parameters
    ----------
    root, paths
        The files, relative to the folder.
    masks
        ``keep`` takes them for images, ``leave-out`` leaves out whatever could be one by its
        name; by default that is left out which is a mask by all signs.

    Returns
    -------
    The masks to be left out, and what is to be said.
    """
    if masks == "keep":
        return frozenset(), []
    left_out: set[str] = set()
    notes: list[str] = []
    for find in (_find_in_folders, _find_marked, _find_by_suffix):
        for found in find(root, [path for path in paths if path not in left_out]):
            mask, image = next(iter(found.images.items()))
            num = len(found.images)
            are_all = num >= PATTERN * found.num_alike
            if masks == "leave-out" or (are_all and _look_like_masks(root, list(found.images))):
                left_out |= found.images.keys()
                notes.append(
                    f"masks that were left out: {num:,}, such as {mask}, which belongs to {image}; "
                    'masks = "keep" (--masks keep) takes them as images'
                )
                continue
            why = "they do not look like masks"
            if not are_all:
                alone = found.num_alike - num
                why = f"most such files ({alone:,} of {found.num_alike:,}) stand alone"
            notes.append(
                f"{mask} stands beside {image}, as a mask does (pairs like it: {num:,}), and both "
                f'were taken as images, since {why}; masks = "leave-out" (--masks leave-out) '
                "leaves these out"
            )
    return frozenset(left_out), notes


def _find_in_folders(root: Path, paths: Sequence[str]) -> list[_Candidates]:
    """Find files in a folder of masks that are called as those of a folder of images beside it."""
    folders = {path.rpartition("/")[0] for path in paths}
    if not any(_MASK_FOLDER.fullmatch(part) for path in folders for part in path.split("/")):
        return []
    by_stem = {os.path.splitext(path)[0]: path for path in paths}  # noqa: PTH122
    siblings = _list_siblings(folders)
    images: dict[str, str] = {}
    num_alike = 0
    for stem, path in by_stem.items():
        parts = stem.split("/")
        for place, part in enumerate(parts[:-1]):
            found = _MASK_FOLDER.fullmatch(part)
            if found is None:
                continue
            above, below = parts[:place], parts[place + 1 :]
            beside = [
                name
                for name in siblings["/".join(above)]
                if name != part
                and (name == found["stem"] or (_IMAGE_FOLDER.fullmatch(name) and not found["stem"]))
            ]
            num_alike += bool(beside)
            marked = _MARK.search(below[-1])
            ends = [below]
            if marked:
                ends.append([*below[:-1], below[-1][: marked.start()]])
            same = ("/".join([*above, name, *end]) for name in beside for end in ends)
            image = next((by_stem[other] for other in same if other in by_stem), None)
            if image is not None:
                images[path] = image
            break
    return [_Candidates(images, num_alike)] if images else []


def _list_siblings(folders: Iterable[str]) -> defaultdict[str, set[str]]:
    """Return the names of the folders in each folder."""
    siblings: defaultdict[str, set[str]] = defaultdict(set)
    for folder in folders:
        inner = folder
        while inner:
            above, _, name = inner.rpartition("/")
            siblings[above].add(name)
            inner = above
    return siblings


def _find_marked(root: Path, paths: Sequence[str]) -> list[_Candidates]:
    """Find files with a word for masks behind the name of another in their folder."""
    by_stem = {os.path.splitext(path)[0]: path for path in paths}  # noqa: PTH122
    images: dict[str, str] = {}
    num_alike = 0
    for stem, path in by_stem.items():
        folder, slash, name = stem.rpartition("/")
        marked = _MARK.search(name)
        if marked is None:
            continue
        num_alike += 1
        image = by_stem.get(f"{folder}{slash}{name[: marked.start()]}")
        if image is not None:
            images[path] = image
    return [_Candidates(images, num_alike)] if images else []


def _find_by_suffix(root: Path, paths: Sequence[str]) -> list[_Candidates]:
    """Find files that are called as another in their folder is, but for the suffix."""
    if len({os.path.splitext(path)[1] for path in paths}) < 2:  # noqa: PTH122
        return []
    by_stem: defaultdict[str, dict[str, str]] = defaultdict(dict)
    totals: Counter[str] = Counter()
    for path in paths:
        stem, suffix = os.path.splitext(path)  # noqa: PTH122
        suffix = _SAME_SUFFIX.get(suffix.casefold(), suffix.casefold())
        by_stem[stem][suffix] = path
        totals[suffix] += 1
    pairs: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for files in by_stem.values():
        suffixes = sorted(files)
        for place, first in enumerate(suffixes):
            for second in suffixes[place + 1 :]:
                pairs[first, second][files[first]] = files[second]
    found = []
    for (first, second), images in pairs.items():
        if _is_mask_suffix(root, first, second, images):
            found.append(_Candidates(images, totals[first]))
        else:
            turned = {other: path for path, other in images.items()}
            found.append(_Candidates(turned, totals[second]))
    return found


def _is_mask_suffix(root: Path, first: str, second: str, images: Mapping[str, str]) -> bool:
    """Whether of two suffixes the first is that of the masks: no mask is kept in a lossy file."""
    if (first in _LOSSY) != (second in _LOSSY):
        return second in _LOSSY
    return _look_like_masks(root, list(images)) and not _look_like_masks(
        root, list(images.values())
    )


def _look_like_masks(root: Path, paths: Sequence[str]) -> bool:
    """Whether nearly all of some files are of a few colours."""
    num = min(len(paths), NUM_LOOKED_AT)
    looks = [
        look
        for place in np.linspace(0, len(paths) - 1, num).round().astype(int).tolist()
        if (look := _looks_like_mask(root / paths[place])) is not None
    ]
    return bool(looks) and sum(looks) >= 0.8 * len(looks)


def _looks_like_mask(path: Path) -> bool | None:
    """Whether a few colours make up an image; None where it cannot be decoded."""
    try:
        pixels = np.asarray(decode(read_file(path)))
    except (ImageError, MemoryError):
        return None
    is_lossy = _SAME_SUFFIX.get(path.suffix.casefold(), path.suffix.casefold()) in _LOSSY
    if is_lossy:  # What compression adds to a colour does not count as others.
        pixels = pixels >> 5
    flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    _, counts = np.unique(flat, axis=0, return_counts=True)
    most = np.sort(counts)[::-1][: _LOSSY_COLOURS if is_lossy else _MASK_COLOURS].sum()
    return bool(most >= (_LOSSY_SHARE if is_lossy else _MASK_SHARE) * len(flat))
