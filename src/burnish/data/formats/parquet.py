"""Format `parquet`: tables of images as Hugging Face keeps them.

    image   struct of bytes and path, or binary
    label   integers, with class names in the schema's metadata; or names

The columns may have other usual names: see `burnish.data.formats.columns`.
One file, or a folder of shards, whose names say the split (``train-00000-of-00002.parquet``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.data.formats.classes import number_classes
from burnish.data.formats.columns import IMAGE, LABEL, find_column
from burnish.data.formats.folder import has_class_folders
from burnish.data.formats.listing import (
    Listing,
    Stamp,
    list_some,
    sort_naturally,
    split_of,
)
from burnish.data.formats.options import ListingOptions
from burnish.errors import DataError, DataNotFoundError, ImageError, shorten
from burnish.image_files import is_ignored

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<total>[0-9]{5})\.parquet")
_BATCH = 64
_BATCH_BYTES = 2**30

MAX_RATIO = 200
"""Most bytes that a packed one may unpack to, above `HARMLESS`; images are packed already."""

HARMLESS = 2**26
"""What unpacks to no more is unpacked at any ratio."""

MAX_ROWS_OF_NOTHING = 2**20
"""Rows beyond this need a byte of the file each; no image has less than some tens."""


def detect_parquet(path: Path) -> bool:
    """By names, of the file or of those in the folder or its folder ``data``."""
    if path.is_dir():
        return bool(_find_shards(path)) and not has_class_folders(path)
    return path.suffix.casefold() == ".parquet"


def read_parquet(path: Path, options: ListingOptions) -> Listing:
    """List the images of a table, or of a folder of shards.

    Raises
    ------
    DataError
        If a file is damaged or a shard missing, a column is missing or of another type, or
        a label is no class.
    """
    options.refuse_but("parquet", "group", "image_column", "label_column", "class_case")
    group = options.group
    shards = _find_shards(path) if path.is_dir() else [path]
    for shard in shards:
        try:
            str(shard).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shard}: the path is not text in UTF-8, as pyarrow needs it; rename what is not"
            ) from error
    if not shards:
        raise DataNotFoundError(f"{path}: there is no .parquet file in it")
    root = path if path.is_dir() else path.parent
    _refuse_missing_shards(path, shards)
    stamp = Stamp(path)
    words: list[str] = []
    groups: list[str] = []
    splits: list[str] = []
    images: list[str] = []
    counts: list[int] = []
    class_names: list[str] | None = None
    columns: _Columns | None = None
    for place, shard in enumerate(shards):
        stamp.add_content(shard)
        name = shard.relative_to(root).as_posix()
        with _opened(shard) as file:
            schema = _read_schema(shard, file)
            columns = columns or _find_columns(shard, schema, options)
            names = _check_schema(shard, schema, columns)
            _refuse_bomb(shard, file.metadata)
            if place and names != class_names:
                raise DataError(f"{shard}: names other classes than {shards[0].name}")
            class_names = names
            words += _read_labels(shard, file, columns.label, class_names)
            if group is not None:
                groups += _read_group(shard, file, group)
            counts.append(file.metadata.num_rows)
        splits += [_split_of_shard(shard) or ""] * counts[-1]
        images += [f"{name}[{row}]" for row in range(counts[-1])]
    if any(splits) and not all(splits):
        odd = [shard.name for shard in shards if _split_of_shard(shard) is None]
        raise DataError(
            f"{path}: the names of {list_some(odd, 5)} do not say the split, those of others do; "
            "expected all to begin with train, val or test, or none"
        )
    assert columns is not None
    stamp.add_choice(columns.image)
    classes = number_classes(str(path), words, options.class_case)
    unused = sort_naturally(set(class_names or ()) - set(words))
    return Listing(
        "parquet",
        path.resolve().name if path.is_dir() else path.stem,
        classes.names,
        classes.labels,
        images,
        ParquetImages(tuple(shards), tuple(counts), columns.image),
        stamp.finish(),
        splits=np.array(splits) if any(splits) else None,
        groups=None if group is None else tuple(groups),
        suspicious=tuple(f"class '{name}' is named, but has no image" for name in unused),
        notes=(*columns.note(), *classes.notes),
        chosen=columns.chosen(),
    )


@dataclass(eq=False)
class ParquetImages:
    """Reads rows of Parquet files, fast in order: it keeps its place in a stream.

    Parameters
    ----------
    paths
        Files.
    counts
        Rows of each.
    column
        That holds the images.
    """

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    column: str
    is_serial: bool = True
    _stream: Iterator[Any] | None = field(default=None, repr=False)
    _next: int = -1

    def read(self, index: int) -> bytes:
        """Return the content of an image file that a row holds."""
        if self._stream is None or index < self._next or index > self._next + 4 * _BATCH:
            self._stream, self._next = self._begin(index), index
        try:
            while self._next <= index:
                value = next(self._stream)
                self._next += 1
        except Exception as error:  # pyarrow's errors have no common base.
            self._stream = None
            said = shorten(str(error))
            raise ImageError(f"is in a damaged part of the table ({said})") from error
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise ImageError("has no bytes in the table; only images within it are read")
        return value

    def __reduce__(self) -> tuple[type[ParquetImages], tuple[Any, ...]]:
        return ParquetImages, (self.paths, self.counts, self.column)

    def _begin(self, index: int) -> Iterator[Any]:
        """Stream the values from a row on, file after file."""
        import pyarrow.parquet as pq

        for path, count in zip(self.paths, self.counts, strict=True):
            if index >= count:
                index -= count
                continue
            with pq.ParquetFile(path) as file:
                first = 0
                while index >= file.metadata.row_group(first).num_rows:
                    index -= file.metadata.row_group(first).num_rows
                    first += 1
                for place in range(first, file.num_row_groups):
                    size = _size_batch(file.metadata.row_group(place))
                    for batch in file.iter_batches(size, row_groups=[place], columns=[self.column]):
                        if index >= len(batch):
                            index -= len(batch)
                            continue
                        yield from batch.column(0)[index:].to_pylist()
                        index = 0


def _find_shards(folder: Path) -> list[Path]:
    """Find the .parquet files of a folder, or of its folder ``data``."""
    for place in (folder, folder / "data"):
        if place.is_dir():
            shards = [
                child
                for child in place.iterdir()
                if child.suffix.casefold() == ".parquet"
                and child.is_file()
                and not is_ignored(child.name)
            ]
            if shards:
                return sorted(shards)
    return []


def _split_of_shard(shard: Path) -> str | None:
    return split_of(re.split(r"[-._]", shard.name)[0])


def _refuse_missing_shards(path: Path, shards: list[Path]) -> None:
    there = {shard.name for shard in shards}
    missing: dict[str, None] = {}
    for shard in shards if path.is_dir() else []:
        if match := _SHARD.fullmatch(shard.name):
            for number in range(int(match["total"])):
                name = f"{match['stem']}-{number:05}-of-{match['total']}.parquet"
                if name not in there:
                    missing[name] = None
    if missing:
        raise DataError(f"{path}: shards are missing: {list_some(list(missing))}; fetch them again")


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


def _size_batch(group: Any) -> int:
    """Say how many rows to read at once, where one may be as large as all that is packed.

    A column may hold a value once and use it in every row; rows that are read have it each.
    """
    return max(1, min(_BATCH, _BATCH_BYTES // max(1, int(group.total_byte_size))))


@dataclass(frozen=True)
class _Columns:
    """Names of the columns of images and of labels."""

    image: str
    label: str

    def note(self) -> list[str]:
        if not self.chosen():
            return []
        return [f"column '{self.image}' holds the images, column '{self.label}' their labels"]

    def chosen(self) -> dict[str, str]:
        chosen = {"image_column": self.image} if self.image != "image" else {}
        return chosen | ({"label_column": self.label} if self.label != "label" else {})


def _find_columns(path: Path, schema: pa.Schema, options: ListingOptions) -> _Columns:
    def holds_images(name: str) -> bool:
        return _is_binary(schema.field(schema.names.index(name)).type)

    where, names = str(path), schema.names
    return _Columns(
        find_column(where, names, IMAGE, options.image_column, holds_images),
        find_column(where, names, LABEL, options.label_column),
    )


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field(kind.get_field_index("bytes")).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_schema(path: Path, schema: pa.Schema, columns: _Columns) -> list[str] | None:
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
