"""Format `csv`: a table of images and their labels.

    path,label,split,writer
    scans/0001.png,7,train,w12

The columns are found by their usual names (`burnish.data.formats.columns`); `split` is optional,
and so is any column to group by. Commas, semicolons or tabs stand between the cells. Paths are
relative to the table's folder, or to ``image_root``, and may not leave it; where they lead
nowhere, the images are looked for near by (`burnish.data.formats.locate`).

Hugging Face's `metadata.csv` or `metadata.jsonl` in a folder, or in its folders of splits, is
such a table, and the folder's path will do. A table whose cells are pixels is one too: see
`burnish.data.formats.pixel_table`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.classes import number_classes
from burnish.data.formats.columns import (
    IMAGE,
    LABEL,
    find_column,
    fold_name,
    has_column,
    name_column,
)
from burnish.data.formats.format import Format
from burnish.data.formats.listing import (
    SPLIT_NAMES,
    FileImages,
    Listing,
    Stamp,
    list_some,
    split_of,
)
from burnish.data.formats.locate import ImagePlace, Locator, find_images_near
from burnish.data.formats.options import ListingOptions
from burnish.data.formats.pixel_table import is_pixel_table, read_pixel_table
from burnish.data.formats.table import TableHead, is_table_name, read_head, read_rows, refuse_rows
from burnish.data.problems import Problem
from burnish.errors import DataError, DataNotFoundError
from burnish.image_files import is_ignored, is_image_name, is_output

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
"""What Hugging Face calls the table beside the images."""

_MAX_CELL = 2**16


def detect_csv(path: Path) -> bool:
    """By its name; a folder by a table of Hugging Face's in it."""
    if path.is_dir():
        return bool(_find_metadata(path))
    return is_table_name(path.name)


def read_csv(path: Path, options: ListingOptions) -> Listing:
    """List the images of a table, or of a folder with such a table in it.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, or a row lacks a value; all rows that
        are wrong are named.
    """
    options.refuse_but("csv", "group", "image_column", "label_column", "image_root", "class_case")
    if path.is_dir():
        return _read_metadata(path, options)
    head = read_head(path)
    if is_pixel_table(head, options):
        return read_pixel_table(path, head, options)
    columns = _find_columns(path, head, options)
    rows = list(_read_table(path, head, columns))
    if options.image_root is None:
        place = find_images_near(path, [row.path for row in rows])
    else:
        place = ImagePlace(_check_root(options.image_root))
    stamp = Stamp(place.root)
    stamp.add_content(path)
    found = _Found(path)
    found.add(place.locator(), rows, stamp)
    found.find_unlabelled(place)
    return found.list_images(path.stem, place, columns, options, stamp)


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that are read."""

    image: str
    label: str
    split: str | None
    group: str | None


@dataclass(frozen=True)
class _Row:
    """What is read of a row; the texts are empty where there is no such column."""

    where: str
    path: str
    label: str
    split: str
    group: str


def _find_columns(path: Path, head: TableHead, options: ListingOptions) -> _Columns:
    where, columns = str(path), head.columns
    if options.image_column is None and options.label_column is None and not any(columns):
        raise DataError(
            f"{path}: the columns are none; expected a first line that names the columns, as "
            "path,label"
        )
    return _Columns(
        find_column(where, columns, IMAGE, options.image_column),
        find_column(where, columns, LABEL, options.label_column),
        find_split_column(where, columns),
        None if options.group is None else name_column(where, columns, "group", options.group),
    )


def find_split_column(where: str, columns: Sequence[str]) -> str | None:
    """Return the column called ``split``, if there is one.

    Raises
    ------
    DataError
        If there are several.
    """
    found = [name for name in columns if fold_name(name) == "split"]
    return name_column(where, columns, "split", "split") if found else None


def _read_table(
    path: Path, head: TableHead, columns: _Columns, prefix: str = "", split: str = ""
) -> Iterator[_Row]:
    """Read the rows of a table of paths; of one in a folder of its own, with the folder's split."""
    names = (columns.image, columns.label, columns.split, columns.group)
    places = [None if name is None else head.columns.index(name) for name in names]
    wrong: list[Problem] = []
    for row in read_rows(path, head, wrong):
        cells = ["" if place is None else row.cells[place] for place in places]
        where = f"{prefix}row {row.number}"
        if not (cells[0] and cells[1]) or (columns.group is not None and not cells[3]):
            wrong.append(Problem(where, "lacks a value", f" ({','.join(row.cells)[:80]})"))
        elif "\0" in cells[0] or len(cells[0]) > _MAX_CELL:
            wrong.append(Problem(where, "has no path that could be one"))
        else:
            yield _Row(where, cells[0], cells[1], split or cells[2], cells[3])
    refuse_rows(path, wrong)


def _check_root(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataNotFoundError(
            f"image_root = '{folder}': there is no such folder (--image-root names the folder that "
            "the paths of a table count from)"
        )
    return folder


class _Found:
    """The rows of one table or several whose images may be read, and what is wrong with others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[_Row] = []
        self._paths: list[str] = []
        self._labelled: set[str] = set()
        self._first_rows: dict[str, _Row] = {}
        self._how: Counter[str] = Counter()
        self._num_otherwise = 0
        self._problems: list[Problem] = []

    def add(self, locator: Locator, rows: Sequence[_Row], stamp: Stamp) -> None:
        """Take the rows of a table whose paths may be read.

        A file that is not there keeps its place: reading it says so, with all other bad ones.
        """
        for row in rows:
            located = locator.find(row.path)
            name = f"{row.where}: {row.path}"
            if located.path is None:
                self._problems.append(Problem(name, located.kind, located.detail))
                # Refused, but not without a label.
                self._labelled.add(os.path.normpath(row.path))
                continue
            self._labelled.add(os.path.normpath(located.path))
            real_path = located.real_path or os.path.normpath(located.path)
            first = self._first_rows.setdefault(real_path, row)
            if first is not row:
                differs = first.label != row.label
                kind = "is listed with two labels" if differs else "is listed twice"
                labels = f", as '{first.label}' and as '{row.label}'" if differs else ""
                self._problems.append(Problem(name, kind, f"{labels}, in {first.where} first"))
                continue
            if located.how:
                self._how.update(located.how)
                self._num_otherwise += 1
            stamp.add(located.path, located.status)
            self._rows.append(row)
            self._paths.append(located.path)

    def find_unlabelled(self, place: ImagePlace) -> None:
        """Name the images beside those of the table that are in no row of it."""
        for base in place.folders():
            for folder, folders, files in os.walk(place.root / base):
                folders[:] = sorted(
                    name
                    for name in folders
                    if not (is_ignored(name) or is_output(os.path.join(folder, name)))  # noqa: PTH118
                )
                inner = os.path.relpath(folder, place.root)
                for name in sorted(files):
                    path = os.path.normpath(os.path.join(inner, name))  # noqa: PTH118
                    if is_image_name(name) and not is_ignored(name) and path not in self._labelled:
                        kind = "is an image without a label, in no row of the table"
                        self._problems.append(Problem(path, kind, is_cause=False))

    def list_images(
        self, name: str, place: ImagePlace, columns: _Columns, options: ListingOptions, stamp: Stamp
    ) -> Listing:
        """Return what was found."""
        classes = number_classes(
            str(self._path), [row.label for row in self._rows], options.class_case
        )
        paths = tuple(self._paths)
        chosen = _name_choices(place, columns)
        return Listing(
            "csv",
            name,
            classes.names,
            classes.labels,
            paths,
            FileImages(place.root, paths),
            stamp.finish(),
            splits=_read_splits(self._path, self._rows),
            groups=None if columns.group is None else tuple(row.group for row in self._rows),
            problems=tuple(self._problems),
            notes=(*self._note(place, columns), *classes.notes),
            chosen=chosen,
        )

    def _note(self, place: ImagePlace, columns: _Columns) -> list[str]:
        notes = []
        if (fold_name(columns.image), fold_name(columns.label)) != ("path", "label"):
            notes.append(
                f"column '{columns.image}' names the images, column '{columns.label}' their labels"
            )
        if place.is_near:
            folders = [str(place.root / base) for base in place.folders()]
            notes.append(
                f"the paths of the table lead nowhere in {self._path.parent}; the images were "
                f"found near by, in {list_some(folders, 5, ' and ')}. image_root (--image-root) "
                "says where they are"
            )
        if self._num_otherwise:
            kinds = [f"{num:,} {how}" for how, num in self._how.items()]
            notes.append(
                "paths that were taken though the files are called a little otherwise: "
                f"{self._num_otherwise:,} ({', '.join(kinds)})"
            )
        return notes


def _name_choices(place: ImagePlace, columns: _Columns) -> dict[str, str]:
    """Return the keys of ``[data]`` that would say what was found out alone."""
    chosen = {}
    if fold_name(columns.image) != "path":
        chosen["image_column"] = columns.image
    if fold_name(columns.label) != "label":
        chosen["label_column"] = columns.label
    # Of the folder above the table's only some folders count, which no key says.
    if place.is_near and len(place.bases) == 1 and place.bases[0]:
        chosen["image_root"] = str((place.root / place.bases[0]).absolute())
    return chosen


def _read_splits(path: Path, rows: Sequence[_Row]) -> NDArray[np.str_] | None:
    if not any(row.split for row in rows):
        return None
    splits = [split_of(row.split) for row in rows]
    wrong = [
        f"{row.where} has '{row.split}'"
        for row, split in zip(rows, splits, strict=True)
        if split is None
    ]
    if wrong:
        raise DataError(
            f"{path}: column split: {list_some(wrong)}; expected {', '.join(SPLIT_NAMES)} in "
            "every row, or no such column"
        )
    return np.array(splits)


# Hugging Face's folders.


def _find_metadata(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by the folder they lie in, '' for itself.

    A table counts only where it says a label for each file; it may as well lie beside folders
    of classes, and tell of other things.
    """
    tables = {}
    inner = [""]
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if split_of(entry.name) and entry.is_dir(follow_symlinks=False):
            inner.append(entry.name)
    for base in inner:
        for name in METADATA_NAMES:
            table = folder / base / name
            if table.is_file() and not table.is_symlink() and _says_labels(table):
                tables[base] = table
    return tables


def _says_labels(table: Path) -> bool:
    try:
        columns = read_head(table).columns
    except DataError:
        return False
    return "file_name" in map(fold_name, columns) and has_column(columns, LABEL)


def _read_metadata(path: Path, options: ListingOptions) -> Listing:
    options.refuse_but("metadata.csv", "group", "image_column", "label_column", "class_case")
    tables = _find_metadata(path)
    if not tables:
        raise DataNotFoundError(
            f"{path}: there is no table in it; expected {' or '.join(METADATA_NAMES)} with the "
            "columns file_name and label, in it or in its folders train and test; or give the "
            "path of a table"
        )
    if "" in tables and len(tables) > 1:
        raise DataError(
            f"{path}: has {tables[''].name} beside the tables of splits; expected one or the other"
        )
    place = ImagePlace(path, tuple(tables))
    stamp, found = Stamp(path), _Found(path)
    columns: _Columns | None = None
    for base, table in tables.items():
        stamp.add_content(table)
        head = read_head(table)
        its = _find_columns(table, head, options)
        prefix = f"{base}/{table.name} " if base else ""
        rows = list(_read_table(table, head, its, prefix, base))
        found.add(Locator(path, (base,)), rows, stamp)
        columns = columns or its
    assert columns is not None
    found.find_unlabelled(place)
    if any(base for base in tables):
        columns = replace(columns, split=None)
    return found.list_images(path.resolve().name, place, columns, options, stamp)


CSV = Format("csv", "a table .csv or .tsv", detect_csv, read_csv, (".csv", ".tsv"))
