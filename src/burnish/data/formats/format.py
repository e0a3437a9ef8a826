"""What a data format is: a plug point. It lists the labelled images of a folder or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from burnish.data.formats.listing import Listing
from burnish.data.formats.options import ListingOptions


@dataclass(frozen=True)
class Format:
    """A layout of labelled images.

    Attributes
    ----------
    name
        For ``format = "..."`` in a study file.
    looks_like
        What is of this format, in words, for the error of what is of none.
    detect
        Whether what lies at a path, which exists, looks like it, told from names alone.
    read
        Takes a path and what the user says of it, and lists the images. It refuses the options
        that it has no use for.
    suffixes
        Endings of a file that is a whole data set, in small letters; of several such files in
        a zip file the one with the first ending is tried first.
    """

    name: str
    looks_like: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, ListingOptions], Listing]
    suffixes: tuple[str, ...] = ()
