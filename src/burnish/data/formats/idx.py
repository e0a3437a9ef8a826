"""Format `idx`: MNIST's pairs of an images file and a labels file, plain or gzipped.

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-..., t10k-labels-...

A folder with these, or with one pair; or the path of a pair's images.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.arrays import list_blocks
from burnish.data.formats.listing import Listing, Stamp, is_ignored, split_of
from burnish.data.formats.options import ListingOptions
from burnish.data.idx import read_labelled
from burnish.errors import DataError, DataNotFoundError

_IMAGES = re.compile(
    r"(?P<prefix>.*?)images(?P<middle>[-._])idx3(?P<end>[-._]ubyte)(?P<packed>\.gz)?", re.IGNORECASE
)


def detect_idx(path: Path) -> bool:
    """By the names of the images' files."""
    if path.is_dir():
        return any(_IMAGES.fullmatch(child.name) for child in path.iterdir() if child.is_file())
    return _IMAGES.fullmatch(path.name) is not None


def read_idx_pairs(path: Path, options: ListingOptions) -> Listing:
    """List the images of IDX files.

    Raises
    ------
    DataError
        If a file is missing or damaged, or it cannot be told what is train and what test.
    """
    options.refuse_but("idx", "class_case")
    pairs = _find_pairs(path)
    stamp = Stamp(path)
    blocks: dict[str, NDArray[np.uint8]] = {}
    labels: list[NDArray[np.int32]] = []
    splits: list[str] = []
    for split, (images_path, labels_path) in pairs.items():
        stamp.add_content(images_path)
        stamp.add_content(labels_path)
        read = read_labelled(images_path, labels_path, num_classes=256)
        blocks[images_path.name] = read.images
        labels.append(read.labels)
        splits += [split] * len(read)
    name = path.name if path.is_dir() else path.parent.name
    given = None if "" in pairs else splits
    return list_blocks(
        "idx",
        name,
        blocks,
        list(labels),
        None,
        stamp.finish(),
        splits=given,
        class_case=options.class_case,
    )


def _find_pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Give images and labels files by split, which is '' for a pair that stands alone."""
    if not path.exists():
        raise DataNotFoundError(f"{path}: there is no such file or folder")
    children = sorted(path.iterdir()) if path.is_dir() else [path]
    found: dict[str, tuple[Path, Path]] = {}
    for images_path in children:
        match = _IMAGES.fullmatch(images_path.name)
        if match is None or is_ignored(images_path.name):
            continue
        labels_path = _find_labels(images_path, match)
        # EMNIST has names like emnist-letters-train-images-idx3-ubyte.
        word = re.split(r"[-._]", match["prefix"].rstrip("-._"))[-1].casefold()
        split = "test" if word == "t10k" else (split_of(word) or "")
        if split in found:
            if found[split][0].name == images_path.name.removesuffix(".gz"):
                continue  # The same file, packed beside unpacked.
            raise DataError(
                f"{path}: {found[split][0].name} and {images_path.name} would both be "
                f"{split or 'all'} images; give each data set a folder of its own"
            )
        found[split] = (images_path, labels_path)
    if not found:
        raise DataError(
            f"{path}: has no IDX pair; expected train-images-idx3-ubyte and "
            "train-labels-idx1-ubyte, each plain or .gz, and perhaps the same for t10k"
        )
    if len(found) == 1:
        return {"": next(iter(found.values()))}
    if "" in found:
        raise DataError(
            f"{path}: {found[''][0].name} stands beside the files of splits; move it away"
        )
    return found


def _find_labels(images_path: Path, match: re.Match[str]) -> Path:
    plain = f"{match['prefix']}labels{match['middle']}idx1{match['end']}"
    for name in (plain, f"{plain}.gz"):
        if (images_path.parent / name).is_file():
            return images_path.parent / name
    raise DataError(f"{images_path}: the labels are missing; expected {plain} beside it")
