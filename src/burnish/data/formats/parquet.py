"""Format `parquet`: tables of images as Hugging Face keeps them.

    image   struct of bytes and path, or binary
    label   integers, with class names in the schema's metadata; or names

The columns may have other usual names: see `burnish.data.formats.columns`.
One file, or a folder of shards, whose names say the split (``train-00000-of-00002.parquet``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.classes import number_classes
from burnish.data.formats.folder import has_class_folders
from burnish.data.formats.format import Format
from burnish.data.formats.listing import Listing, Stamp, list_some, sort_naturally, split_of
from burnish.data.formats.options import ListingOptions
from burnish.data.formats.parquet_images import ParquetImages
from burnish.data.formats.parquet_table import ParquetTable, read_table
from burnish.errors import DataError, DataNotFoundError
from burnish.image_files import is_ignored

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<total>[0-9]{5})\.parquet")


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
    shards = _find_shards(path) if path.is_dir() else [path]
    _refuse_names(shards)
    if not shards:
        raise DataNotFoundError(f"{path}: there is no .parquet file in it")
    _refuse_missing_shards(path, shards)
    stamp = Stamp(path)
    tables: list[ParquetTable] = []
    for shard in shards:
        stamp.add_content(shard)
        tables.append(read_table(shard, options, tables[0] if tables else None))
    columns, class_names = tables[0].columns, tables[-1].class_names
    splits = _find_splits(path, tables)
    stamp.add_choice(columns.image)
    root = path if path.is_dir() else path.parent
    words = [word for table in tables for word in table.labels]
    classes = number_classes(str(path), words, options.class_case)
    unused = sort_naturally(set(class_names or ()) - set(words))
    counts = tuple(len(table.labels) for table in tables)
    return Listing(
        "parquet",
        path.resolve().name if path.is_dir() else path.stem,
        classes.names,
        classes.labels,
        [
            f"{shard.relative_to(root).as_posix()}[{row}]"
            for shard, count in zip(shards, counts, strict=True)
            for row in range(count)
        ],
        ParquetImages(tuple(shards), counts, columns.image),
        stamp.finish(),
        splits=splits,
        groups=None if options.group is None else tuple(g for t in tables for g in t.groups),
        suspicious=tuple(f"class '{name}' is named, but has no image" for name in unused),
        notes=(*columns.note(), *classes.notes),
        chosen=columns.chosen(),
    )


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


def _refuse_names(shards: Sequence[Path]) -> None:
    for shard in shards:
        try:
            str(shard).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shard}: the path is not text in UTF-8, as pyarrow needs it; rename what is not"
            ) from error


def _find_splits(path: Path, tables: Sequence[ParquetTable]) -> NDArray[np.str_] | None:
    """Return the split of each row, which the names of files say; ``None`` where none does."""
    known = {table.path: _split_of_shard(table.path) for table in tables}
    odd = [shard.name for shard, split in known.items() if split is None]
    splits = [known[table.path] or "" for table in tables for _ in table.labels]
    if not any(splits):
        return None
    if not all(splits):
        raise DataError(
            f"{path}: the names of {list_some(odd, 5)} do not say the split, those of others do; "
            "expected all to begin with train, val or test, or none"
        )
    return np.array(splits)


# It has no suffixes: files beside each other are shards of one data set, that of the folder.
PARQUET = Format("parquet", "tables .parquet", detect_parquet, read_parquet)
