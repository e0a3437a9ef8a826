"""What lies at a path, listed by the format that it is of; a zip file is unpacked first."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from burnish.data.formats.format import Format
from burnish.data.formats.formats import FORMATS
from burnish.data.formats.listing import Listing, list_some
from burnish.data.formats.options import ListingKeywords, ListingOptions
from burnish.data.formats.zipped import find_candidates, is_archive, unpack_data
from burnish.errors import (
    BurnishError,
    DataError,
    DataNotFoundError,
    describe_exception,
    shorten,
)

_OTHER_ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")


def find_format(path: Path) -> Format:
    """Tell the format of what lies at a path.

    Raises
    ------
    DataNotFoundError
        If nothing lies there.
    DataError
        If it is of no known format.
    """
    try:
        if not path.exists():
            raise DataNotFoundError(f"{path}: there is no such file or folder")
        for format in reversed(tuple(FORMATS)):
            with _named_if_foreign(format):
                if format.detect(path):
                    return format
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if path.suffix == ".toml":
        raise DataError(
            f"{path}: a study file by its name, where images are expected; "
            f"'burnish plan {path}' looks through a study"
        )
    if path.suffix.casefold() in _OTHER_ARCHIVES:
        raise DataError(
            f"{path}: is an archive that is not read; unpack it and give the folder, or pack it "
            "as .zip, which is read as it is"
        )
    raise DataError(
        f"{path}: cannot tell its format; expected {', '.join(f.looks_like for f in FORMATS)}. "
        f'Name it with format = "..."; there are: {", ".join(sorted(FORMATS.names()))}'
    )


def read_listing(
    path: Path, format: str | None = None, **options: Unpack[ListingKeywords]
) -> Listing:
    """List the labelled images at a path; nothing is decoded yet.

    Parameters
    ----------
    path
        A folder or a file.
    format
        One of `FORMATS`; by default found by the names of what lies there.
    options
        See `ListingOptions`.

    Raises
    ------
    DataNotFoundError
        If nothing lies there.
    DataError
        If there is no such format, or what lies there cannot be used.
    """
    _refuse_special(path)
    given = ListingOptions(**options)
    named = None if format is None else FORMATS.find(format)
    try:
        if is_archive(path):
            return replace(_read_archive(path, named, options), path=path)
        found = named or find_format(path)
        with _named_if_foreign(found):
            listing = found.read(path, given)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return replace(listing, path=path)


@contextmanager
def _named_if_foreign(format: Format) -> Iterator[None]:
    """Name a format from outside that goes wrong; an error of burnish's own is a bug.

    Raises
    ------
    DataError
        Says what was raised, and where.
    """
    try:
        yield
    except (BurnishError, OSError):
        raise
    except Exception as error:  # Whatever a format from outside dies of.
        if FORMATS.is_shipped(format.name):
            raise
        raise DataError(
            f"the format '{format.name}' failed: {describe_exception(error)}"
        ) from error


def _read_archive(path: Path, format: Format | None, options: ListingKeywords) -> Listing:
    """List what lies in a zip file: a folder of images, or a table and its images."""
    root = unpack_data(path)
    refusals: list[DataError] = []
    for candidate in find_candidates(root, format):
        try:
            listing = read_listing(candidate, None if format is None else format.name, **options)
        except DataError as error:
            refusals.append(error)
            continue
        inner = candidate.relative_to(root).as_posix()
        where = "" if candidate == root else f": {inner} in it"
        note = f"{path.name} was unpacked into the cache and read{where}"
        return replace(listing, name=path.stem, notes=(note, *listing.notes))
    raise DataError(
        list_some([str(error).replace(str(root), str(path)) for error in refusals], 3)
    ) from refusals[0]


def _refuse_special(path: Path) -> None:
    """Refuse what cannot be a path, and what may have no end or no beginning: pipes, devices."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return  # Whoever reads it says what is missing: there may be a name within a folder.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shorten(repr(str(path)))}: cannot be read ({reason})") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: is neither a folder nor a regular file")
