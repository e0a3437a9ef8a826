"""Tables of text: comma, semicolon or tab between the cells, or JSON Lines.

UTF-8 is read, with and without the mark that spreadsheets put first, and UTF-16 with its mark.
Other encodings are refused: nothing in such a file says which it is, and a guess would change
the names of classes and files.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from burnish.data.problems import Problem, UnusableError
from burnish.errors import DataError, DataNotFoundError, shorten

MAX_LINE = 2**20
"""Longest line, in characters; a file that is no table may be one line of gigabytes."""

MAX_WRONG = 100_000
"""Rows that cannot be used, beyond which a file is given up."""

TABLE_SUFFIXES = (".csv", ".tsv")
_JSON_LINES = ".jsonl"
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class TableHead:
    """What the beginning of a table says of it.

    Attributes
    ----------
    columns
        Names, trimmed, in their order.
    encoding
        As Python calls it.
    delimiter
        Between the cells; empty for JSON Lines.
    """

    columns: tuple[str, ...]
    encoding: str
    delimiter: str


@dataclass(frozen=True)
class TableRow:
    """One row: its number, of which the header has the first, and its cells, trimmed."""

    number: int
    cells: tuple[str, ...]


def is_table_name(name: str) -> bool:
    """Whether a file is called as a table of text is."""
    return Path(name).suffix.casefold() in (*TABLE_SUFFIXES, _JSON_LINES)


def read_head(path: Path) -> TableHead:
    """Read the names of the columns.

    Raises
    ------
    DataError
        If it is no table, or of an unknown encoding.
    """
    with _reporting(path):
        encoding = _find_encoding(path)
        with path.open(encoding=encoding, newline="") as file:
            lines = _read_lines(path, file)
            if _is_json(path):
                first = next((line for line in lines if line.strip()), "")
                columns = tuple(_parse_object(path, first)) if first else ()
                return TableHead(columns, encoding, "")
            first = next(lines, "")
            delimiter = _find_delimiter(path, first)
            reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            return TableHead(columns, encoding, delimiter)


def read_rows(path: Path, head: TableHead, wrong: list[Problem]) -> Iterator[TableRow]:
    """Read the rows of a table, but for empty ones.

    Parameters
    ----------
    path, head
        The table.
    wrong
        Takes what is wrong with rows that have more or fewer cells than the head.

    Raises
    ------
    DataError
        If it is no table.
    """
    with _reporting(path), path.open(encoding=head.encoding, newline="") as file:
        lines = _read_lines(path, file)
        if _is_json(path):
            yield from _read_objects(path, head, lines)
            return
        reader = csv.reader(lines, delimiter=head.delimiter, strict=True)
        next(reader, None)
        width = len(head.columns)
        for number, row in enumerate(reader, start=2):
            cells = tuple(cell.strip() for cell in row)
            if not any(cells):
                continue
            if len(cells) == width:
                yield TableRow(number, cells)
                continue
            kind = "has more or fewer values than there are columns"
            wrong.append(Problem(f"row {number}", kind, f" ({len(cells)} instead of {width})"))
            refuse_too_many(path, wrong)


def refuse_rows(path: Path, wrong: list[Problem]) -> None:
    """Name the rows that cannot be used, if there are any.

    Raises
    ------
    DataError
        If there are.
    """
    if wrong:
        raise UnusableError(
            f"{path}: rows that cannot be used: {len(wrong):,}",
            wrong,
            "Correct or delete these rows.",
        )


def refuse_too_many(path: Path, wrong: list[Problem]) -> None:
    """Stop at a file that is no table, before the list of its rows fills the memory.

    Raises
    ------
    DataError
        If more than `MAX_WRONG` rows cannot be used.
    """
    if len(wrong) > MAX_WRONG:
        raise UnusableError(f"{path}: rows that cannot be used, over {MAX_WRONG:,}", wrong)


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Say of what reading raises what is wrong with the table."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    except UnicodeError as error:
        place = (
            f" (byte 0x{error.object[error.start]:02x})"
            if isinstance(error, UnicodeDecodeError) and error.start < len(error.object)
            else ""
        )
        raise DataError(
            f"{path}: is not UTF-8{place}; save it as UTF-8. Spreadsheets call it 'CSV UTF-8'; or: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _find_encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1024)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(start) >= 4 and start.count(0) > len(start) // 4:
        raise DataError(
            f"{path}: is no text in UTF-8 (it has zero bytes, as UTF-16 without its mark); save it "
            "as UTF-8"
        )
    # The mark that spreadsheets put at the beginning is not part of the first column's name.
    return "utf-8-sig"


def _is_json(path: Path) -> bool:
    return path.suffix.casefold() == _JSON_LINES


def _find_delimiter(path: Path, first: str) -> str:
    """Tell what stands between the cells: what gives the first line most of them."""
    preferred = "\t" if path.suffix.casefold() == ".tsv" else ","
    ordered = sorted(_DELIMITERS, key=lambda delimiter: delimiter != preferred)
    return max(ordered, key=lambda delimiter: _count_cells(first, delimiter))


def _count_cells(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def _read_lines(path: Path, file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"{path}: is no CSV table (a line of more than {MAX_LINE:,} characters)"
            )
        yield line


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _read_objects(path: Path, head: TableHead, lines: Iterator[str]) -> Iterator[TableRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        values = _parse_object(path, line)
        cells = tuple(_write_cell(values.get(name)) for name in head.columns)
        yield TableRow(number, cells)


def _parse_object(path: Path, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON Lines ({shorten(str(error))})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: is no JSON Lines: expected an object in every line")
    return found


def _write_cell(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)
