"""What every format gives: labelled images that have been found, but not decoded yet."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.data.problems import Problem, UnusableError
from burnish.errors import DataError, DataNotFoundError, shorten
from burnish.image import read_file

SPLIT_NAMES = ("train", "val", "test")
NUM_NAMED = 20
"""How many files an error or a report names before it counts the rest."""


_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    # As FER2013 calls them.
    "publictest": "val",
    "privatetest": "test",
}
Encoded: TypeAlias = bytes | NDArray[Any]
"""The content of an image file, or pixels: (height, width) or (height, width, channels)."""


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
        """Return image `index`.

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
        """Return the content of a file."""
        return read_file(f"{self.root}{os.sep}{self.paths[index]}")


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images that are arrays in this process's memory, or in a file that is mapped into it.

    Parameters
    ----------
    blocks
        Arrays (num, height, width) or (num, height, width, channels), one after the other;
        of unsigned bytes, or of any other numbers (see :func:`burnish.image.from_values`).
    """

    blocks: tuple[NDArray[Any], ...]
    is_serial: bool = True

    def read(self, index: int) -> NDArray[Any]:
        """Return an image's pixels."""
        for block in self.blocks:
            if index < len(block):
                return np.ascontiguousarray(np.asarray(block[index]))
            index -= len(block)
        raise IndexError("there are fewer images")


@dataclass(frozen=True)
class Stamped:
    """What images are read from, where they are not a file each.

    Attributes
    ----------
    seen
        Digest of what was seen of files: names, sizes and times.
    files
        Files that hold many images each. Their content decides, not their times.
    status
        Of each of these when it was listed: see `status_of`.
    """

    seen: str
    files: tuple[Path, ...]
    status: tuple[tuple[int, ...], ...]


def status_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Size, times of writing and of change in ns, and inode: other ones tell a changed file."""
    # Some file systems use all 64 bits of an inode; arrays of int64 take 63.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & (2**63 - 1)


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
        Of `Stamp`, or a text that changes when what is read could have changed. Of images that
        are a file each (`FileImages`) the files themselves decide.
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
    chosen
        The options (`ListingOptions`) that would say what was found out alone; an
        ``image_root`` is absolute.
    path
        Where it was found; None for arrays in memory.

    Raises
    ------
    DataError
        If there are no images, fewer than two classes, or splits without one for training.
    """

    format: str
    name: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int32]
    names: Sequence[str]
    images: ImageReader
    stamp: Stamped | str
    splits: NDArray[np.str_] | None = None
    groups: tuple[str, ...] | None = None
    problems: tuple[Problem, ...] = ()
    suspicious: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        # A path that is not text in UTF-8 is read, but a model's card is written under its name.
        plain = self.name.encode(errors="backslashreplace").decode()
        object.__setattr__(self, "name", plain)
        if len(self.labels) == 0:
            raise UnusableError(f"{self.name}: has no labelled images", self.problems)
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
    """Return ``train``, ``val`` or ``test`` for what people write for them, else None.

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


class Stamp:
    """Takes down what tells a changed data set from an unchanged one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: list[bytes] = []
        self._choices: list[str] = []
        self._files: list[Path] = []
        self._status: list[tuple[int, ...]] = []

    def add(self, name: str, status: os.stat_result | None) -> None:
        """Take down one file of many: name, size and times; None if it is not there."""
        known = status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._seen.append(f"{name}\0{known}\0".encode(errors="surrogateescape"))

    def add_choice(self, choice: str) -> None:
        """Take down what was read of a file that holds more: the name of a column."""
        self._choices.append(choice)

    def add_content(self, path: Path) -> None:
        """Take down a file that holds many images, whose content decides.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: is not a regular file")
            with path.open("rb"):
                self._files.append(path)
                self._status.append(status_of(status))
        except FileNotFoundError as error:
            raise DataNotFoundError(f"{path}: there is no such file") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error

    def finish(self) -> Stamped:
        """Return the stamp."""
        if not self._seen and not self._choices:
            return Stamped("", tuple(self._files), tuple(self._status))
        digest = hashlib.sha256("\0".join(self._choices).encode(errors="surrogateescape"))
        if self._seen:  # Otherwise content alone decides, and it may lie anywhere.
            digest.update(str(self._root.resolve()).encode(errors="surrogateescape"))
        for seen in self._seen:
            digest.update(seen)
        return Stamped(digest.hexdigest(), tuple(self._files), tuple(self._status))
