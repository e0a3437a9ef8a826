"""What every format gives: labelled images that have been found, but not decoded yet."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.errors import DataError, DataNotFoundError, shorten
from burnish.image import read_file

SPLIT_NAMES = ("train", "val", "test")
NUM_NAMED = 20
"""How many files an error or a report names before it counts the rest."""

MAX_CLASSES = 10_000
"""Most classes of a data set; a column with more is no label, but says which image it is."""

MAX_NAME = 255
"""Longest name of a class, in characters; no folder has a longer one."""

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Beyond this a file's middle is not hashed: its times and its ends have to do.
_WHOLLY_HASHED = 2**28
_END = 2**20

Encoded: TypeAlias = bytes | NDArray[np.uint8]
"""The content of an image file, or pixels: uint8 (height, width) or (height, width, channels)."""


class ImageReader(Protocol):
    """Reads images by their number. It can be pickled, and is small when it is.

    Attributes
    ----------
    is_serial
        Whether one process reads the images in order and hands them on. Otherwise
        every process that decodes reads for itself.
    """

    @property
    def is_serial(self) -> bool:
        """See the attributes."""

    def read(self, index: int) -> Encoded:
        """Give image `index`.

        Raises
        ------
        ImageError
            If it cannot be read; the message does not name the image.
        """


@dataclass(frozen=True)
class FileImages:
    """Images that are a file each.

    Parameters
    ----------
    root
        Folder that none of the files may lie outside of.
    paths
        Of each image, relative to `root`.
    """

    root: Path
    paths: tuple[str, ...]
    is_serial: bool = False

    def find(self, index: int) -> Path:
        """Say where a file is."""
        return self.root / self.paths[index]

    def read(self, index: int) -> bytes:
        """Give the content of a file."""
        return read_file(f"{self.root}{os.sep}{self.paths[index]}")


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images that are arrays in this process's memory, or in a file that is mapped into it.

    Parameters
    ----------
    blocks
        Arrays (num, height, width) or (num, height, width, channels), one after the other;
        of unsigned bytes, or of 16 bits, which are scaled to 8.
    """

    blocks: tuple[NDArray[np.uint8] | NDArray[np.uint16], ...]
    is_serial: bool = True

    def read(self, index: int) -> NDArray[np.uint8]:
        """Give an image's pixels."""
        for block in self.blocks:
            if index < len(block):
                image = np.asarray(block[index])
                if image.dtype == np.uint8:
                    return np.ascontiguousarray(image)
                return np.rint(image / 257.0).astype(np.uint8)
            index -= len(block)
        raise IndexError("there are fewer images")


@dataclass(frozen=True, eq=False)
class Listing:
    """Labelled images as they were found at a path.

    Parameters
    ----------
    format
        Registered name of the format.
    name
        Of the data set, for people: that of its file or folder.
    class_names
        In natural order (`sort_naturally`); label `i` means ``class_names[i]``.
    labels
        int32 (num,)
    names
        What each image is called in messages, (num,).
    images
        Reads image `i`, as content of an image file or as an array.
    stamp
        Changes when what is read could have changed.
    splits
        ``train``, ``val`` or ``test`` of each image, (num,), where the data are split;
        else None.
    groups
        Value of the group column of each image, (num,), where one was asked for.
    problems
        What stops a study unless bad images are skipped: labels without a file, images
        without a label, paths that leave the folder.
    suspicious
        What was not read and perhaps should be: files of unknown kind, folders too deep.
    notes
        How it was read, where there was a choice, and how to get the other.

    Raises
    ------
    DataError
        If there are no images, fewer than two classes, two that differ only in case, or
        splits without one for training.
    """

    format: str
    name: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int32]
    names: Sequence[str]
    images: ImageReader
    stamp: str
    splits: NDArray[np.str_] | None = None
    groups: tuple[str, ...] | None = None
    problems: tuple[str, ...] = ()
    suspicious: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A path that is not text in UTF-8 is read, but a model's card is written under its name.
        plain = self.name.encode(errors="backslashreplace").decode()
        object.__setattr__(self, "name", plain)
        if len(self.labels) == 0:
            raise DataError(
                f"{self.name}: has no labelled images"
                + (f": {list_some(self.problems)}" if self.problems else "")
            )
        refuse_alike(self.name, self.class_names)
        if len(self.class_names) < 2:
            raise DataError(
                f"{self.name}: has one class, '{self.class_names[0]}', alone; a classifier "
                "needs at least two"
                + (f". How it was read: {list_some(self.notes)}" if self.notes else "")
            )
        if self.splits is not None:
            given = set(self.splits.tolist())
            if given == {"train"}:
                object.__setattr__(self, "splits", None)
            elif "train" not in given:
                raise DataError(
                    f"{self.name}: has images for {' and '.join(sorted(given))} only; expected "
                    "some for train"
                )

    def __len__(self) -> int:
        return len(self.labels)


def number_classes(where: str, names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Give the class names in natural order, and the label of each image.

    Raises
    ------
    DataError
        If a name is empty, not to be read or too long, two differ only in case, or there are
        more than `MAX_CLASSES`.
    """
    different = set(names)
    if len(different) > MAX_CLASSES:
        raise DataError(
            f"{where}: has {len(different):,} classes; at most {MAX_CLASSES:,} are taken. Are the "
            "labels what each image is called?"
        )
    cleaned = {name: unicodedata.normalize("NFC", name.strip()) for name in different}
    for name, clean in cleaned.items():
        if not clean or not clean.isprintable() or len(clean) > MAX_NAME:
            raise DataError(
                f"{where}: {shorten(repr(name))} is no name for a class; give it a readable one "
                f"of at most {MAX_NAME} characters"
            )
    class_names = sort_naturally(set(cleaned.values()))
    refuse_alike(where, class_names)
    places = {clean: place for place, clean in enumerate(class_names)}
    number = {name: places[clean] for name, clean in cleaned.items()}
    labels = np.fromiter((number[name] for name in names), np.int32, len(names))
    return class_names, labels


def refuse_alike(where: str, class_names: Iterable[str]) -> None:
    """Refuse class names that differ only in case.

    Raises
    ------
    DataError
        Names all of them.
    """
    by_key: dict[str, list[str]] = {}
    for name in class_names:
        by_key.setdefault(name.casefold(), []).append(name)
    alike = [" and ".join(f"'{n}'" for n in names) for names in by_key.values() if len(names) > 1]
    if alike:
        raise DataError(
            f"{where}: classes differ only in case: {list_some(alike)}; give them one name, or "
            "names that differ"
        )


def sort_naturally(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names as people do, with numbers in them by value.

    >>> sort_naturally(["10", "9", "img12", "img2"])
    ('9', '10', 'img2', 'img12')
    """

    def key(name: str) -> tuple[list[str | tuple[int, str]], str]:
        pieces = re.split(r"([0-9]+)", name.casefold())
        # Every second piece is a number, so that like meets like. Of two numbers without zeros
        # before them the longer is the larger; Python makes none of thousands of digits.
        numbers = [p.lstrip("0") for p in pieces]
        return [
            (len(numbers[place]), numbers[place]) if place % 2 else p
            for place, p in enumerate(pieces)
        ], name

    return tuple(sorted(names, key=key))


def split_of(word: str) -> str | None:
    """Give ``train``, ``val`` or ``test`` for what people write for them, else None.

    >>> split_of("Validation")
    'val'
    """
    return _SPLIT_WORDS.get(word.strip().casefold())


def list_some(things: Sequence[str], num: int = NUM_NAMED, separator: str = "; ") -> str:
    """Write out the first things, and how many more there are.

    >>> list_some(["a", "b", "c"], num=2)
    'a; b; and 1 more'
    """
    shown = [shorten(thing, 300) for thing in things[:num]]
    if len(things) > num:
        shown.append(f"and {len(things) - num:,} more")
    return separator.join(shown)


def refuse_group(format_name: str, group: str | None) -> None:
    """Say that a format has nothing to group by.

    Raises
    ------
    DataError
        If a group was asked for.
    """
    if group is not None:
        raise DataError(
            f"group = '{group}': format '{format_name}' has no columns to group by; give the data "
            "as csv or parquet with such a column"
        )


class Stamp:
    """Takes down what tells a changed data set from an unchanged one."""

    def __init__(self, root: Path) -> None:
        self._digest = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape"))

    def add(self, name: str, status: os.stat_result | None) -> None:
        """Take down one file of many: name, size and times; None if it is not there."""
        known = status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._digest.update(f"{name}\0{known}\0".encode(errors="surrogateescape"))

    def add_content(self, path: Path) -> None:
        """Take down a file that holds many images: its content, and of a large one its ends.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: is not a regular file")
            with path.open("rb") as file:
                if status.st_size <= _WHOLLY_HASHED:
                    self._digest.update(hashlib.file_digest(file, "sha256").digest())
                    return
                self.add(path.name, status)
                self._digest.update(file.read(_END))
                file.seek(-_END, os.SEEK_END)
                self._digest.update(file.read(_END))
        except FileNotFoundError as error:
            raise DataNotFoundError(f"{path}: there is no such file") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error

    def finish(self) -> str:
        """Give the stamp."""
        return self._digest.hexdigest()
