"""What images are called: a path, a row, a number; a million names in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray


class NameSource(Protocol):
    """Holds the names of stored images, and returns one by its number."""

    def __len__(self) -> int:
        """Return the number of names."""

    def find(self, number: int) -> str:
        """Return the name of stored image ``number``."""

    @property
    def num_bytes(self) -> int:
        """Bytes that all names take in UTF-8."""


class PackedNames:
    """Names one after the other as bytes: a name takes its own length and eight bytes.

    Parameters
    ----------
    names
        Any text, also that of a path that is not UTF-8 (lone surrogates).
    """

    def __init__(self, names: Iterable[str]) -> None:
        text, ends = bytearray(), array("q")
        for name in names:
            text += name.encode("utf-8", "surrogatepass")
            ends.append(len(text))
        self._text = bytes(text)
        self._ends = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def find(self, number: int) -> str:
        """Return the name of stored image ``number``."""
        start = int(self._ends[number - 1]) if number else 0
        return self._text[start : int(self._ends[number])].decode("utf-8", "surrogatepass")

    @property
    def num_bytes(self) -> int:
        """Bytes that all names take in UTF-8."""
        return len(self._text)


class NumberedNames:
    """Names made of a title and the image's number, from 0.

    >>> NumberedNames("mnist test", 10_000).find(4711)
    'mnist test 4711'
    """

    def __init__(self, title: str, num_images: int) -> None:
        self._title = title
        self._num_images = num_images

    def __len__(self) -> int:
        return self._num_images

    def find(self, number: int) -> str:
        """Return the name of stored image ``number``."""
        return f"{self._title} {number}"

    @property
    def num_bytes(self) -> int:
        """Bytes that all names take in UTF-8, at most."""
        longest = self.find(max(self._num_images - 1, 0))
        return self._num_images * len(longest.encode("utf-8", "surrogatepass"))


class ImageNames(Sequence[str]):
    """Names of the images of a split: which names of a source, in which order.

    Names are no part of a fingerprint, and do not travel to processes that fit.

    >>> names = ImageNames(PackedNames(["cat/1.png", "dog/2.png", "dog/3.png"]))
    >>> list(names.take([2, 0]))
    ['dog/3.png', 'cat/1.png']

    Parameters
    ----------
    source
        All names.
    rows
        int64 (num_images,), which of them; all, in order, by default.
    """

    def __init__(self, source: NameSource, rows: NDArray[np.int64] | None = None) -> None:
        self._source = source
        self._rows = rows

    def __len__(self) -> int:
        return len(self._source) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]  # Counts from the end, and refuses what is too far.
        if isinstance(places, range):
            return [self._find(place) for place in places]
        return self._find(places)

    def __iter__(self) -> Iterator[str]:
        rows = range(len(self)) if self._rows is None else self._rows.tolist()
        return map(self._source.find, rows)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageNames:
        """Return the names at ``indices`` (num_taken,), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return ImageNames(self._source, chosen if self._rows is None else self._rows[chosen])

    @property
    def mean_length(self) -> float:
        """Bytes of a name, over all that the source has."""
        return self._source.num_bytes / max(len(self._source), 1)

    def _find(self, place: int) -> str:
        return self._source.find(place if self._rows is None else int(self._rows[place]))
