"""Format `idx`: MNIST's pairs of an images file and a labels file, plain or gzipped.

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-..., t10k-labels-...

A folder with these, or with one pair, in folders below it too (as in MNIST/raw, or a folder
for each file); or the path of a pair's images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.arrays import list_blocks
from burnish.data.formats.folder import has_class_folders
from burnish.data.formats.format import Format
from burnish.data.formats.layout import split_of_folder
from burnish.data.formats.listing import Listing, Stamp, list_some, split_of
from burnish.data.formats.options import ListingOptions
from burnish.data.idx import read_labelled
from burnish.errors import DataError, DataNotFoundError
from burnish.image_files import is_ignored

_IMAGES = re.compile(
    r"(?P<prefix>.*?)images(?P<middle>[-._])idx3(?P<end>[-._]ubyte)(?P<packed>\.gz)?", re.IGNORECASE
)


_DEPTH = 2
"""Levels of folders below the one that was given in which IDX files are looked for."""


def detect_idx(path: Path) -> bool:
    """By the names of the images' files, unless they lie beside folders of images."""
    if path.is_dir():
        return not has_class_folders(path) and bool(_list_files(path))
    return _IMAGES.fullmatch(path.name) is not None


def _list_files(folder: Path) -> list[Path]:
    """List the files of a folder with IDX images, or where it has none those of folders below."""
    level = [folder]
    for _ in range(_DEPTH + 1):
        files: list[Path] = []
        deeper: list[Path] = []
        for place in level:
            with os.scandir(place) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
            for entry in entries:
                if is_ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(place / entry.name)
                elif entry.is_file():
                    files.append(place / entry.name)
        if any(_IMAGES.fullmatch(file.name) for file in files):
            return files
        level = deeper
    return []


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
        blocks[_name_below(path, images_path)] = read.images
        labels.append(read.labels)
        splits += [split] * len(read)
    name = path.name if path.is_dir() else path.parent.name
    given = None if "" in pairs else splits
    listing = list_blocks(
        "idx",
        name,
        blocks,
        list(labels),
        None,
        stamp.finish(),
        splits=given,
        class_case=options.class_case,
    )
    below = [images for images, _ in pairs.values() if path.is_dir() and images.parent != path]
    if not below:
        return listing
    shown = list_some([_name_below(path, image) for image in below], 5, ", ")
    note = f"the IDX files lie in folders below: {shown}"
    return replace(listing, notes=(note, *listing.notes))


def _find_pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Return images and labels files by split, which is '' for a pair that stands alone."""
    if not path.exists():
        raise DataNotFoundError(f"{path}: there is no such file or folder")
    children = _list_files(path) if path.is_dir() else [path]
    found: dict[str, tuple[Path, Path]] = {}
    for images_path in children:
        match = _IMAGES.fullmatch(images_path.name)
        if match is None:
            continue
        labels_path = _find_labels(images_path, match, children)
        # EMNIST has names like emnist-letters-train-images-idx3-ubyte.
        word = re.split(r"[-._]", match["prefix"].rstrip("-._"))[-1].casefold()
        if not word and images_path.parent != path and path.is_dir():
            word = split_of_folder(images_path.parent.name) or ""
        split = "test" if word == "t10k" else (split_of(word) or "")
        if split in found:
            first = found[split][0]
            if first == images_path.with_name(images_path.name.removesuffix(".gz")):
                continue  # The same file, packed beside unpacked.
            remedy = "give each data set a folder of its own"
            if first.parent != images_path.parent:
                remedy = f"give the path of one of them, {first.parent} or {images_path.parent}"
            raise DataError(
                f"{path}: {_name_below(path, first)} and {_name_below(path, images_path)} would "
                f"both be {split or 'all'} images; {remedy}"
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


def _name_below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


def _find_labels(images_path: Path, match: re.Match[str], files: Sequence[Path]) -> Path:
    """Find the labels beside the images, or else among all files that were found."""
    plain = f"{match['prefix']}labels{match['middle']}idx1{match['end']}"
    names = (plain, f"{plain}.gz")
    for name in names:
        if (images_path.parent / name).is_file():
            return images_path.parent / name
    elsewhere = [file for file in files if file.name in names]
    if elsewhere:
        return elsewhere[0]
    raise DataError(f"{images_path}: the labels are missing; expected {plain} beside it")


IDX = Format("idx", "a pair of IDX files", detect_idx, read_idx_pairs)
