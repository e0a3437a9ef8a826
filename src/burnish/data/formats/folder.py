"""Format `folder`: a folder per class, in any of the layouts of `burnish.data.formats.layout`.

    root/cat/1.png                     root/train/cat/1.png
    root/dog/2.jpg              or     root/test/dog/2.jpg

Hidden files are ignored, masks beside their images left out (`burnish.data.formats.masks`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from burnish.data.formats.classes import number_classes
from burnish.data.formats.format import Format
from burnish.data.formats.layout import find_layout
from burnish.data.formats.listing import (
    FileImages,
    Listing,
    Stamp,
    list_some,
)
from burnish.data.formats.masks import find_masks
from burnish.data.formats.options import ListingOptions
from burnish.data.formats.tree import Folder, prune, walk_tree
from burnish.data.problems import Problem
from burnish.errors import DataError, DataNotFoundError
from burnish.image_files import is_ignored, is_image_name, is_output

_TABLES = (".csv", ".tsv", ".npz", ".parquet")
_MAX_LABELS_IN_NAMES = 50


def detect_folder(path: Path) -> bool:
    """Any folder may be one of images."""
    return path.is_dir()


def has_class_folders(path: Path) -> bool:
    """Whether a folder holds at least two folders with images, one or two levels below it.

    What else lies there, a table or a pair of IDX files, is then not what it is about.
    """
    num = 0
    with os.scandir(path) as entries:
        for entry in entries:
            if (
                not is_ignored(entry.name)
                and entry.is_dir(follow_symlinks=False)
                and not is_output(entry.path)
            ):
                num += _count_with_images(entry.path, 1)
                if num > 1:
                    return True
    return False


def _count_with_images(folder: str, deeper: int) -> int:
    """Count folders that hold images themselves: this one, and some levels below it."""
    num = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_ignored(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if is_output(entry.path):
                    continue
                num += _count_with_images(entry.path, deeper - 1) if deeper else 0
            elif is_image_name(entry.name):
                return num + 1
    return num


def read_folder(path: Path, options: ListingOptions) -> Listing:
    """List the images of a folder.

    Parameters
    ----------
    path
        The folder.
    options
        Of them, ``labels``, ``masks`` and ``class_case`` may be given.

    Raises
    ------
    DataError
        If it is no folder, cannot be read, or holds no folders with images.
    """
    options.refuse_but("folder", "class_case", "labels", "masks")
    if not path.is_dir():
        raise DataNotFoundError(f"{path}: there is no such folder")
    tree = walk_tree(path)
    _refuse_loose(path, tree)
    left_out, notes = find_masks(path, tree.image_paths(), options.masks)
    if outputs := tree.output_paths():
        notes.append(f"left out, as burnish wrote them: {list_some(outputs, 5, ', ')}")
    tree = prune(tree, left_out)
    layout = find_layout(str(path), path.name, tree, options.labels)
    problems = [
        Problem(
            folder.join(name),
            "is an image without a label, beside the classes' folders",
            is_cause=False,
        )
        for folder in layout.unlabelled
        for name in folder.images
    ]
    problems += layout.problems
    suspicious: list[str] = []
    for folder in (*layout.unlabelled, *(f for part in layout.parts for f in part.folders)):
        problems += folder.problems
        suspicious += folder.suspicious
        suspicious += [_tell_of_other(path, folder.join(name)) for name in folder.others]
    stamp = Stamp(path)
    paths: list[str] = []
    words: list[str] = []
    splits: list[str] = []
    for part in layout.parts:
        for folder in part.folders:
            for name in folder.images:
                stamp.add(folder.join(name), folder.status[name])
                paths.append(folder.join(name))
                words.append(part.label)
                splits.append(part.split)
    classes = number_classes(str(path), words, options.class_case)
    return Listing(
        "folder",
        path.resolve().name,
        classes.names,
        classes.labels,
        paths,
        FileImages(path, tuple(paths)),
        stamp.finish(),
        splits=np.array(splits) if any(splits) else None,
        problems=tuple(dict.fromkeys(problems)),
        suspicious=tuple(dict.fromkeys(suspicious)),
        notes=(*notes, *layout.notes, *classes.notes),
    )


def _tell_of_other(root: Path, path: str) -> str:
    if path.casefold().endswith(_TABLES):
        return f"{path}: is a table that is not read; to read it instead, give {root / path}"
    return f"{path}: is not called as an image is"


def _refuse_loose(path: Path, tree: Folder) -> None:
    """Say what is expected where there is nothing that could be a class."""
    if tree.folders and (tree.full or not tree.images):
        return
    tables = [name for name in tree.others if name.casefold().endswith(_TABLES)]
    if tree.images:
        remedy = f"give the path of a CSV file with the columns path and label{_guess_remedy(tree)}"
        if tables:
            remedy = f"is {path / tables[0]} meant, which may have the labels?"
        raise DataError(
            f"{path}: has images, but no folder per class; expected {path.name}/<class>/<image>, "
            f"or {remedy}"
        )
    if tables:
        raise DataError(f"{path}: has no folders; is {path / tables[0]} meant?")
    raise DataError(
        f"{path}: "
        + ("has no images, only " + list_some(tree.others, 5) if tree.others else "is empty")
        + f"; expected {path.name}/<class>/<image>"
    )


def _guess_remedy(tree: Folder) -> str:
    """Say which labels seem to stand in the names of files: cat.0.jpg, cat.1.jpg, dog.0.jpg."""
    words = [re.match(r"([^\W\d_]+)[-_. ]?\(?\d", name) for name in tree.images]
    counts = Counter(word[1] for word in words if word)
    if not 2 <= len(counts) <= _MAX_LABELS_IN_NAMES or min(counts.values()) < 2 or None in words:
        return ""
    shown = list_some([f"{word} ({num:,})" for word, num in counts.most_common(5)], 5, ", ")
    more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
    return (
        f". The files' names begin with {shown}{more}: if these are the labels, make a folder of "
        "each"
    )


FOLDER = Format("folder", "a folder of images", detect_folder, read_folder)
