"""One Parquet file: its columns found and checked, labels and groups read; no images yet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.data.formats.columns import IMAGE, LABEL, find_column
from burnish.data.formats.listing import list_some
from burnish.data.formats.options import ListingOptions
from burnish.errors import DataError, DataNotFoundError, shorten

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_RATIO = 200
"""Most bytes that a packed one may unpack to, above `HARMLESS`; images are packed already."""

HARMLESS = 2**26
"""What unpacks to no more is unpacked at any ratio."""

MAX_ROWS_OF_NOTHING = 2**20
"""Rows beyond this need a byte of the file each; no image has less than some tens."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns of images and of labels."""

    image: str
    label: str

    def note(self) -> list[str]:
        """Say which columns they are, where their names do not tell."""
        if not self.chosen():
            return []
        return [f"column '{self.image}' holds the images, column '{self.label}' their labels"]

    def chosen(self) -> dict[str, str]:
        """Return what a study file has to say so that the same columns are read."""
        chosen = {"image_column": self.image} if self.image != "image" else {}
        return chosen | ({"label_column": self.label} if self.label != "label" else {})


@dataclass(frozen=True)
class ParquetTable:
    """What a file says of its images.

    Attributes
    ----------
    path
        The file.
    columns
        Of images and labels.
    class_names
        That its metadata have, in the order of their numbers; ``None`` where they have none.
    labels
        Name of the class of each row.
    groups
        Of each row; empty where no column of groups was asked for.
    """

    path: Path
    columns: Columns
    class_names: list[str] | None
    labels: list[str]
    groups: list[str]


def read_table(path: Path, options: ListingOptions, first: ParquetTable | None) -> ParquetTable:
    """Read what a file says of its images.

    Parameters
    ----------
    path
        The file.
    options
        Of them, the columns and the group.
    first
        Of the shards of a data set the first, whose columns and classes count for all.

    Raises
    ------
    DataError
        If it is damaged, a column is missing or of another type, or a label is no class.
    """
    with _opened(path) as file:
        schema = _read_schema(path, file)
        columns = _find_columns(path, schema, options) if first is None else first.columns
        class_names = _check_schema(path, schema, columns)
        _refuse_bomb(path, file.metadata)
        if first is not None and class_names != first.class_names:
            raise DataError(f"{path}: names other classes than {first.path.name}")
        return ParquetTable(
            path,
            columns,
            class_names,
            _read_labels(path, file, columns.label, class_names),
            [] if options.group is None else _read_group(path, file, options.group),
        )


def _opened(path: Path) -> pq.ParquetFile:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow: pip install 'burnish[train]'"
        ) from error
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: there is no such file") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        said = shorten(str(error))
        raise DataError(f"{path}: is no Parquet file, or damaged ({said})") from error


def _read_schema(path: Path, file: pq.ParquetFile) -> pa.Schema:
    try:
        return file.schema_arrow
    except Exception as error:  # pyarrow's errors have no common base.
        said = shorten(str(error))
        raise DataError(f"{path}: is no Parquet file, or damaged ({said})") from error


def _refuse_bomb(path: Path, metadata: Any) -> None:
    """Refuse a table that its foot says to be far larger than its file could be.

    A foot that lies is not found out here: then a page, of which none is larger than 2 GB,
    is the most that is taken before the lie shows.
    """
    size = path.stat().st_size
    if metadata.num_rows > max(MAX_ROWS_OF_NOTHING, size):
        raise DataError(
            f"{path}: announces {metadata.num_rows:,} rows in {size:,} bytes, as no images do"
        )
    # Of columns pyarrow is not asked: where their entries are damaged it ends the process.
    groups = range(metadata.num_row_groups)
    unpacked = sum(max(0, metadata.row_group(place).total_byte_size) for place in groups)
    if unpacked > max(HARMLESS, MAX_RATIO * size):
        raise DataError(f"{path}: unpacks from {size:,} to {unpacked:,} bytes, as no images do")


def _find_columns(path: Path, schema: pa.Schema, options: ListingOptions) -> Columns:
    def holds_images(name: str) -> bool:
        return _is_binary(schema.field(schema.names.index(name)).type)

    where, names = str(path), schema.names
    return Columns(
        find_column(where, names, IMAGE, options.image_column, holds_images),
        find_column(where, names, LABEL, options.label_column),
    )


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field(kind.get_field_index("bytes")).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_schema(path: Path, schema: pa.Schema, columns: Columns) -> list[str] | None:
    """Check the columns; give the class names that the metadata have, or None."""
    import pyarrow as pa

    for name in (columns.image, columns.label):
        if schema.get_field_index(name) < 0:
            raise DataError(
                f"{path}: the columns are {list_some(schema.names, separator=', ') or 'none'}; "
                f"expected {columns.image} and {columns.label}, each once"
            )
    if not _is_binary(schema.field(columns.image).type):
        raise DataError(
            f"{path}: column {columns.image} is "
            f"{shorten(str(schema.field(columns.image).type))}; expected a struct of bytes and "
            "path, or binary"
        )
    kind = schema.field(columns.label).type
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise DataError(
            f"{path}: column {columns.label} is {shorten(str(kind))}; expected integers or text"
        )
    if _is_text(kind):
        return None
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[columns.label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        given = shorten(repr(names))
        raise DataError(f"{path}: the class names in its metadata are {given}; expected a list")
    return names


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_column(path: Path, file: pq.ParquetFile, name: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_text = _is_text(file.schema_arrow.field(name).type)
    values: list[Any] = []
    try:
        # Texts come as numbers and each text once, however often the column has it.
        with pq.ParquetFile(path, read_dictionary=[name] if is_text else None) as again:
            column = again.read(columns=[name]).column(0)
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type):
                words = chunk.dictionary.to_pylist()
                places = chunk.indices.to_pylist()
                values += [None if place is None else words[place] for place in places]
            else:
                values += chunk.to_pylist()
    except Exception as error:  # pyarrow's errors have no common base.
        said = shorten(str(error))
        raise DataError(f"{path}: column {name} is damaged ({said})") from error
    if len(values) != file.metadata.num_rows:
        raise DataError(
            f"{path}: column {name} is damaged (it has {len(values):,} rows, and the table "
            f"announces {file.metadata.num_rows:,})"
        )
    missing = [str(row) for row, value in enumerate(values) if value is None]
    if missing:
        raise DataError(f"{path}: rows without a {name}: {list_some(missing, separator=', ')}")
    return values


def _read_labels(
    path: Path, file: pq.ParquetFile, column: str, class_names: list[str] | None
) -> list[str]:
    values = _read_column(path, file, column)
    limit = np.inf if class_names is None else len(class_names)
    wrong = [
        f"row {row} has {value}"
        for row, value in enumerate(values)
        if isinstance(value, int) and not 0 <= value < limit
    ]
    if wrong:
        expected = "0 or more" if class_names is None else f"0 to {len(class_names) - 1}"
        raise DataError(f"{path}: column {column}: {list_some(wrong, 5)}; expected {expected}")
    if class_names is None:
        return [str(value) for value in values]
    return [class_names[value] for value in values]


def _read_group(path: Path, file: pq.ParquetFile, group: str) -> list[str]:
    names = file.schema_arrow.names
    if group not in names:
        listed = list_some(names, separator=", ")
        raise DataError(f"{path}: group = '{group}' is no column; there are: {listed}")
    return [str(value) for value in _read_column(path, file, group)]
