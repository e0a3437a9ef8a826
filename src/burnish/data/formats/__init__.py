"""The layouts that people have their labelled images in, one file each.

    listing = read_listing(Path("photos"))          # what is there, nothing decoded yet

A new format is one new file and one `register_format`; its test calls
`burnish.data.conformance.check_format`.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, Unpack

from burnish.data.formats.arrays import list_arrays
from burnish.data.formats.csv import detect_csv, read_csv
from burnish.data.formats.folder import detect_folder, read_folder
from burnish.data.formats.idx import detect_idx, read_idx_pairs
from burnish.data.formats.listing import (
    ArrayImages,
    Encoded,
    FileImages,
    ImageReader,
    Listing,
    list_some,
)
from burnish.data.formats.npz import detect_npz, read_npz
from burnish.data.formats.options import ListingKeywords, ListingOptions
from burnish.data.formats.parquet import detect_parquet, read_parquet
from burnish.data.formats.zipped import find_candidates, is_archive, unpack_data
from burnish.errors import DataError, DataNotFoundError, name_what_exists, shorten

__all__ = [
    "ArrayImages",
    "Encoded",
    "FileImages",
    "Format",
    "ImageReader",
    "Listing",
    "ListingOptions",
    "find_format",
    "format_names",
    "list_arrays",
    "read_listing",
    "register_format",
]

Detect: TypeAlias = Callable[[Path], bool]
Read: TypeAlias = Callable[[Path, ListingOptions], Listing]


@dataclass(frozen=True)
class Format:
    """A layout of labelled images.

    Parameters
    ----------
    name
        For ``format = "..."`` in a study file.
    detect
        Whether what lies at a path, which exists, looks like it, told from names alone.
    read
        Takes a path and what the user says of it, and lists the images.
    """

    name: str
    detect: Detect
    read: Read
    settings: tuple[str, ...] = ()


_OTHER_ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")

_formats: dict[str, Format] = {}


def register_format(format: Format) -> None:
    """Make a format known. Formats that were registered later are asked first.

    Raises
    ------
    DataError
        If the name is taken.
    """
    if format.name in _formats:
        raise DataError(f"format '{format.name}' is registered already; choose another name")
    _formats[format.name] = format


def format_names() -> tuple[str, ...]:
    """List the names of all registered formats, sorted."""
    return tuple(sorted(_formats))


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
        for format in reversed(_formats.values()):
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
        f"{path}: cannot tell its format; expected a folder, a file .csv, .tsv, .npz or .parquet, "
        f'or an IDX pair. Name it with format = "..."; there are: {", ".join(format_names())}'
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
        One of `format_names`; by default found by the names of what lies there.
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
    try:
        if is_archive(path):
            return replace(_read_archive(path, format, options), path=path)
        if format is None:
            listing = find_format(path).read(path, given)
        elif format not in _formats:
            raise DataError(name_what_exists("format", format, _formats))
        else:
            listing = _formats[format].read(path, given)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return replace(listing, path=path)


def _read_archive(path: Path, format: str | None, options: ListingKeywords) -> Listing:
    """List what lies in a zip file: a folder of images, or a table and its images."""
    root = unpack_data(path)
    refusals: list[DataError] = []
    for candidate in find_candidates(root, format):
        try:
            listing = read_listing(candidate, format, **options)
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


for _format in (
    Format("folder", detect_folder, read_folder, ("labels", "masks")),
    Format("csv", detect_csv, read_csv),
    Format("npz", detect_npz, read_npz),
    Format("idx", detect_idx, read_idx_pairs),
    Format("parquet", detect_parquet, read_parquet),
):
    register_format(_format)
