"""Format `csv`: a table of images and their labels.

    path,label,split,writer
    scans/0001.png,7,train,w12

`split` is optional, and so is any column to group by. Paths are relative to the table's
folder, and may not leave it.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from burnish.data.formats.listing import (
    SPLIT_NAMES,
    FileImages,
    Listing,
    Stamp,
    list_some,
    number_classes,
    split_of,
)
from burnish.errors import DataError, DataNotFoundError
from burnish.image_files import is_ignored, is_image_name, is_within

_MAX_CELL = 2**16
_MAX_LINE = 2**20


def detect_csv(path: Path) -> bool:
    """By its name."""
    return path.suffix.casefold() == ".csv" and not path.is_dir()


def read_csv(path: Path, group: str | None) -> Listing:
    """List the images of a table.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, or a row lacks a value; all rows that
        are wrong are named.
    """
    root = path.parent
    rows = _read_table(path, group)
    stamp = Stamp(root)
    stamp.add_content(path)
    paths, problems = _check_paths(root, rows, stamp)
    kept = [row for row, safe in zip(rows, paths, strict=True) if safe]
    problems += _find_unlabelled(root, {os.path.normpath(row[0]) for row in rows})
    class_names, labels = number_classes(str(path), [row[1] for row in kept])
    listed = tuple(p for p in paths if p)
    return Listing(
        "csv",
        path.stem,
        class_names,
        labels,
        listed,
        FileImages(root, listed),
        stamp.finish(),
        splits=_read_splits(path, kept),
        groups=tuple(row[3] for row in kept) if group is not None else None,
        problems=tuple(problems),
    )


def _read_table(path: Path, group: str | None) -> list[tuple[str, str, str, str, int]]:
    """Give path, label, split, group and number of the line for each row."""
    try:
        # The mark that spreadsheets put at the beginning is not part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_read_lines(path, file), strict=True)
            header = [name.strip().casefold() for name in next(reader, [])]
            columns = _find_columns(path, header, group)
            return list(_read_rows(path, reader, columns, len(header)))
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_lines(path: Path, file: TextIO) -> Iterator[str]:
    """Give line after line; a file that is no table may be one line of gigabytes."""
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise DataError(
                f"{path}: is no CSV table (a line of more than {_MAX_LINE:,} characters)"
            )
        yield line


def _find_columns(path: Path, header: list[str], group: str | None) -> list[int | None]:
    written = list_some(header, separator=", ") or "none"
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise DataError(f"{path}: the columns are {written}; expected commas between them")
    for name in ("path", "label"):
        if header.count(name) != 1:
            raise DataError(
                f"{path}: the columns are {written}; expected a first line that names path and "
                "label, each once, and perhaps split"
            )
    if group is not None and group.strip().casefold() not in header:
        raise DataError(f"{path}: group = '{group}' is no column; there are: {written}")
    wanted = ("path", "label", "split", group.strip().casefold() if group is not None else None)
    return [header.index(name) if name in header else None for name in wanted]


def _read_rows(
    path: Path, reader: Iterator[list[str]], columns: list[int | None], width: int
) -> Iterator[tuple[str, str, str, str, int]]:
    wrong = []
    for number, row in enumerate(reader, start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [row[c].strip() if c is not None and c < len(row) else "" for c in columns]
        needed = [c for place, c in enumerate(columns) if c is not None and place != 2]
        if len(row) != width:
            wrong.append(f"row {number} has {len(row)} values instead of {width}")
        elif not all(row[c].strip() for c in needed):
            wrong.append(f"row {number} lacks a value ({','.join(row)[:80]})")
        elif "\0" in cells[0] or len(cells[0]) > _MAX_CELL:
            wrong.append(f"row {number} has no path that could be one")
        else:
            yield cells[0], cells[1], cells[2], cells[3], number
    if wrong:
        raise DataError(f"{path}: {list_some(wrong)}; mend or delete these rows")


def _check_paths(
    root: Path, rows: Sequence[tuple[str, str, str, str, int]], stamp: Stamp
) -> tuple[list[str | None], list[str]]:
    """Give the paths that may be read, None for others, and what is wrong with those.

    A file that is not there keeps its place: reading it says so, with all other bad ones.
    """
    real_root = os.path.realpath(root)
    real_folders: dict[str, str] = {}
    first_rows: dict[str, tuple[int, str]] = {}
    paths: list[str | None] = []
    problems: list[str] = []
    for path, label, _, _, number in rows:
        paths.append(None)
        folder, name = os.path.split(path)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(os.path.join(real_root, folder))  # noqa: PTH118
        real_path = os.path.join(real_folders[folder], name)  # noqa: PTH118
        try:
            status = os.lstat(real_path)
            if stat.S_ISLNK(status.st_mode) or name in ("", ".", ".."):
                real_path = os.path.realpath(real_path)
                status = os.stat(real_path)  # noqa: PTH116
        except (OSError, ValueError):
            status = None
        if os.path.isabs(path) or not is_within(real_path, real_root):  # noqa: PTH117
            problems.append(
                f"row {number}: {path} leaves the folder {root}; paths are relative to it"
            )
            continue
        first, first_label = first_rows.setdefault(real_path, (number, label))
        if first != number:
            labels = f"as '{first_label}' and as '{label}'" if label != first_label else "twice"
            problems.append(f"row {number}: {path} is listed {labels}, in row {first} first")
            continue
        stamp.add(path, status)
        paths[-1] = path
    return paths, problems


def _find_unlabelled(root: Path, labelled: set[str]) -> list[str]:
    """Name the images in the table's folder that are in no row of it."""
    problems = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        inner = os.path.relpath(folder, root)
        for name in sorted(files):
            path = os.path.normpath(os.path.join(inner, name))  # noqa: PTH118
            if is_image_name(name) and not is_ignored(name) and path not in labelled:
                problems.append(f"{path}: is an image without a label, in no row of the table")
    return problems


def _read_splits(
    path: Path, rows: Sequence[tuple[str, str, str, str, int]]
) -> np.ndarray[tuple[int], np.dtype[np.str_]] | None:
    if not any(row[2] for row in rows):
        return None
    splits = [split_of(row[2]) for row in rows]
    wrong = [
        f"row {row[4]} has '{row[2]}'"
        for row, split in zip(rows, splits, strict=True)
        if split is None
    ]
    if wrong:
        raise DataError(
            f"{path}: column split: {list_some(wrong)}; expected {', '.join(SPLIT_NAMES)} in "
            "every row, or no such column"
        )
    return np.array(splits)
