"""Images in the rows of Parquet files, read in order as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import ImageError, shorten

_BATCH = 64
_BATCH_BYTES = 2**30


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


def _size_batch(group: Any) -> int:
    """Say how many rows to read at once, where one may be as large as all that is packed.

    A column may hold a value once and use it in every row; rows that are read have it each.
    """
    return max(1, min(_BATCH, _BATCH_BYTES // max(1, int(group.total_byte_size))))
