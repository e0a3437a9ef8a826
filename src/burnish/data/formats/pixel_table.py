"""Tables whose cells are pixels, as Kaggle has MNIST and FER2013.

    label,pixel0,pixel1,...,pixel783        emotion,pixels,Usage
    5,0,0,...,0                             0,70 80 82 ...,Training

The pixels are whole numbers from 0 to 255, row by row, of grey images: square ones, or such as
names like ``28x20`` say. The table is read line by line, and an image only when it is wanted: a
listing takes a few bytes for each.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.classes import number_classes
from burnish.data.formats.columns import (
    IMAGE,
    LABEL,
    find_column,
    find_usual,
    fold_name,
    name_column,
)
from burnish.data.formats.listing import SPLIT_NAMES, Listing, Stamp, list_some, split_of
from burnish.data.formats.options import ListingOptions
from burnish.data.formats.table import MAX_LINE, TableHead, refuse_too_many
from burnish.data.problems import Problem
from burnish.errors import DataError, ImageError, shorten

LEAST_PIXELS = 16
"""Columns with numbers for names, from which they are taken for pixels."""

_TEXT_COLUMN = "pixels"
_PIXEL_NAME = re.compile(r"(?:pixel|px|p)?_?([0-9]{1,7})")
_PLACE_NAME = re.compile(r"([0-9]{1,4})x([0-9]{1,4})")


def is_pixel_table(head: TableHead, options: ListingOptions) -> bool:
    """Whether the columns of a table are pixels, or one of them holds all of an image's."""
    if options.image_column is not None:
        return fold_name(options.image_column) == _TEXT_COLUMN
    usual = [fold_name(name) for name in find_usual(head.columns, IMAGE)]
    if usual:
        # Beside a column of paths, what is numbered are features, or nobody knows.
        return set(usual) == {_TEXT_COLUMN}
    return len(_find_pixels(head.columns)) > 0


def read_pixel_table(path: Path, head: TableHead, options: ListingOptions) -> Listing:
    """List the images of a table of pixels.

    Raises
    ------
    DataError
        If it cannot be told what size the images have, or a column is missing.
    """
    options.refuse_but("csv of pixels", "group", "image_column", "label_column", "class_case")
    layout, others = _lay_out(path, head)
    where = str(path)
    label = find_column(where, others, LABEL, options.label_column)
    split = next((name for name in others if fold_name(name) in ("split", "usage")), None)
    group = None
    if options.group is not None:
        group = name_column(where, others, "group", options.group)
    stamp = Stamp(path)
    stamp.add_content(path)
    wanted = [name for name in (label, split, group) if name is not None]
    for name in wanted:  # A row that lacks one of them is left out.
        stamp.add_choice(name)
    read = _read_others(path, layout, [head.columns.index(name) for name in wanted])
    classes = number_classes(where, read.column(0), options.class_case)
    if layout.is_text:
        layout = _measure_text(path, layout, read)
    else:
        layout = replace(layout, shape=_find_shape(path, head.columns, layout))
    return Listing(
        "csv",
        path.stem,
        classes.names,
        classes.labels,
        [f"row {number}" for number in read.numbers],
        PixelRows(path, np.array(read.offsets, np.int64), layout),
        stamp.finish(),
        splits=None if split is None else _read_splits(path, split, read),
        groups=None if group is None else tuple(read.column(-1)),
        problems=tuple(read.problems),
        notes=(_note(layout, head.columns), *classes.notes),
        chosen={} if fold_name(label) == "label" else {"label_column": label},
    )


@dataclass(frozen=True)
class PixelLayout:
    """Where the pixels are in a line.

    Attributes
    ----------
    delimiter
        Between the cells.
    num_columns
        Cells of a line.
    first, stop
        Columns of pixels.
    is_text
        Whether there is one, which holds all of them with spaces between.
    shape
        Height and width.
    """

    delimiter: str
    num_columns: int
    first: int
    stop: int
    is_text: bool
    shape: tuple[int, int] = (0, 0)

    def split(self, line: bytes) -> list[bytes]:
        """Split a line into its cells."""
        if b'"' not in line:
            return line.split(self.delimiter.encode())
        text = line.decode("utf-8", "surrogateescape")
        rows = list(csv.reader([text], delimiter=self.delimiter))
        return [cell.encode("utf-8", "surrogateescape") for cell in rows[0]] if rows else []

    def find_pixels(self, line: bytes) -> list[bytes]:
        """Return the numbers of an image, as they are written."""
        cells = self.split(line)
        if self.is_text:
            return cells[self.first].translate(_SPACES).split() if self.first < len(cells) else []
        return cells[self.first : self.stop]


_SPACES = bytes.maketrans(b"[],;", b"    ")


@dataclass(frozen=True, eq=False)
class PixelRows:
    """Images that are lines of a table.

    Parameters
    ----------
    path
        The table.
    offsets
        int64 (num,), of the first byte of each image's line.
    layout
        Where its pixels are.
    """

    path: Path
    offsets: NDArray[np.int64]
    layout: PixelLayout
    is_serial: bool = False

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels (height, width) of a line."""
        try:
            with self.path.open("rb") as file:
                file.seek(int(self.offsets[index]))
                line = file.readline(MAX_LINE + 1)
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror or error})") from error
        try:
            cells = self.layout.find_pixels(line.rstrip(b"\r\n"))
        except csv.Error as error:
            raise ImageError(f"is no line of a table ({error})") from error
        height, width = self.layout.shape
        if len(cells) != height * width:
            raise ImageError(
                f"has another number of pixels than the others, {len(cells)} instead of "
                f"{height * width}"
            )
        return np.frombuffer(_parse_pixels(cells), np.uint8).reshape(height, width)


def _parse_pixels(cells: list[bytes]) -> bytes:
    try:
        return bytes(map(int, cells))
    except ValueError:
        pass
    values = bytearray()
    for cell in cells:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not (0 <= value <= 255 and value == int(value)):
            shown = shorten(repr(cell.decode("utf-8", "replace")), 30)
            raise ImageError(f"has pixels that are no whole numbers from 0 to 255 ({shown})")
        values.append(int(value))
    return bytes(values)


def _find_pixels(columns: tuple[str, ...]) -> list[int]:
    """Return the places of columns that are called as pixels are, if there are enough."""
    names = [fold_name(name) for name in columns]
    for pattern in (_PLACE_NAME, _PIXEL_NAME):
        places = [place for place, name in enumerate(names) if pattern.fullmatch(name)]
        if len(places) >= LEAST_PIXELS:
            return places
    return []


def _lay_out(path: Path, head: TableHead) -> tuple[PixelLayout, list[str]]:
    """Tell where the pixels are; return the other columns, too."""
    columns, num_columns = head.columns, len(head.columns)
    if head.encoding == "utf-16" or not head.delimiter:
        raise DataError(f"{path}: is a table of pixels; save it as CSV in UTF-8")
    texts = [place for place, name in enumerate(columns) if fold_name(name) == _TEXT_COLUMN]
    if texts:
        if len(texts) > 1:
            raise DataError(f"{path}: has {len(texts)} columns called {_TEXT_COLUMN}; expected one")
        others = [name for place, name in enumerate(columns) if place != texts[0]]
        layout = PixelLayout(head.delimiter, num_columns, texts[0], texts[0] + 1, is_text=True)
        return layout, others
    places = _find_pixels(columns)
    first, stop = places[0], places[-1] + 1
    if stop - first != len(places):
        raise DataError(
            f"{path}: the columns of pixels, {columns[first]} to {columns[stop - 1]}, have others "
            "between them; expected them beside each other"
        )
    if len(places) == num_columns and all(name.isdigit() for name in columns):
        raise DataError(
            f"{path}: its first line has {num_columns} numbers and no names; put a line with names "
            f"above it: label,pixel0,...,pixel{num_columns - 2} (or with the label last)"
        )
    others = [name for place, name in enumerate(columns) if not first <= place < stop]
    return PixelLayout(head.delimiter, num_columns, first, stop, is_text=False), others


def _find_shape(path: Path, columns: tuple[str, ...], layout: PixelLayout) -> tuple[int, int]:
    names = [fold_name(name) for name in columns[layout.first : layout.stop]]
    matches = [_PLACE_NAME.fullmatch(name) for name in names]
    if all(matches):
        at = [(int(match[1]), int(match[2])) for match in matches if match is not None]
        least = at[0]
        height, width = (last - first + 1 for first, last in zip(least, at[-1], strict=True))
        grid = [(least[0] + y, least[1] + x) for y in range(height) for x in range(width)]
        if at != grid:
            raise DataError(
                f"{path}: the columns of pixels are not in order: expected {names[0]} to "
                f"{names[-1]} row by row"
            )
        return height, width
    numbers = [int(match[1]) for name in names if (match := _PIXEL_NAME.fullmatch(name))]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise DataError(
            f"{path}: the columns of pixels are not in order, or one is missing: expected "
            f"{names[0]} and so on to {len(numbers)} of them"
        )
    return _square(path, len(names))


def _square(path: Path, num: int) -> tuple[int, int]:
    side = math.isqrt(num)
    if side and side * side == num:
        return side, side
    third = math.isqrt(num // 3)
    if num and 3 * third * third == num:
        raise DataError(
            f"{path}: an image has {num} numbers, as {third}x{third} pixels in colour have; "
            "nothing says in which order the colours are. Save the images as files, or as .npz"
        )
    raise DataError(
        f"{path}: an image has {num} pixels, which make no square; name the columns by row and "
        "column (1x1, 1x2, ...), or save the images as files, or as .npz"
    )


@dataclass(frozen=True, eq=False)
class _Others:
    """What a table says beside the pixels: of each row that is whole, its number and place."""

    numbers: list[int]
    offsets: list[int]
    cells: list[tuple[str, ...]]
    problems: list[Problem]

    def column(self, place: int) -> list[str]:
        return [cells[place] for cells in self.cells]


def _read_others(path: Path, layout: PixelLayout, wanted: list[int]) -> _Others:
    """Read all but the pixels, line by line."""
    read = _Others([], [], [], [])
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, offset, line in _walk_lines(path):
        refuse_too_many(path, read.problems)
        try:
            cells = layout.split(line)
            if not any(map(bytes.strip, cells)):
                continue
            found = tuple(cells[place].decode().strip() for place in wanted if place < len(cells))
        except (csv.Error, UnicodeDecodeError) as error:
            read.problems.append(Problem(f"row {number}", "is no line of a table", f" ({error})"))
            continue
        if len(cells) != layout.num_columns:
            kind = "has more or fewer values than there are columns"
            detail = f" ({len(cells)} instead of {layout.num_columns})"
            read.problems.append(Problem(f"row {number}", kind, detail))
        elif not all(found):
            read.problems.append(Problem(f"row {number}", "lacks a value"))
        else:
            read.numbers.append(number)
            read.offsets.append(offset)
            # Rows that say the same share what they say.
            read.cells.append(known.setdefault(found, found))
    return read


def _walk_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Return number, offset and content of each line but the first."""
    try:
        with path.open("rb") as file:
            offset, number = 0, 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise DataError(
                        f"{path}: is no CSV table (a line of more than {MAX_LINE:,} characters)"
                    )
                if number > 1:
                    yield number, offset, line.rstrip(b"\r\n")
                offset += len(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _measure_text(path: Path, layout: PixelLayout, read: _Others) -> PixelLayout:
    """Take the size of the first image for that of all; others say so when they are read."""
    if not read.offsets:
        return layout
    with path.open("rb") as file:
        file.seek(read.offsets[0])
        num = len(layout.find_pixels(file.readline(MAX_LINE).rstrip(b"\r\n")))
    return replace(layout, shape=_square(path, num))


def _read_splits(path: Path, column: str, read: _Others) -> NDArray[np.str_] | None:
    words = read.column(1)
    splits = [split_of(word) for word in words]
    wrong = [
        f"row {number} has '{word}'"
        for number, word, split in zip(read.numbers, words, splits, strict=True)
        if split is None
    ]
    if wrong:
        raise DataError(
            f"{path}: column {column}: {list_some(wrong, 5)}; expected {', '.join(SPLIT_NAMES)} "
            "(or Training, PublicTest, PrivateTest) in every row, or no such column"
        )
    return np.array(splits) if splits else None


def _note(layout: PixelLayout, columns: tuple[str, ...]) -> str:
    height, width = layout.shape
    first, last = columns[layout.first], columns[layout.stop - 1]
    named = f"column '{first}'" if layout.is_text else f"the columns '{first}' to '{last}'"
    return f"pixels of {height}x{width} grey images were read from {named}"
