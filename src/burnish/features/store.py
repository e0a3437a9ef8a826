"""Files of what a network made of images: written in pieces, whole in the end, shared by all.

A file that is whole has its name; one that is being written ends in ``.part`` and has beside it
how many of its rows are there. Whoever comes next goes on from these. One process writes at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from burnish.errors import DataError, RunFolderError
from burnish.files import make_folder, read_json, sync_folder, write_json

Shape = tuple[int, int, int, int]


class FeatureFile:
    """One file: float16, shape (rows, height, width, channels).

    Parameters
    ----------
    path
        Of the whole file.
    shape
        Of its array.
    """

    def __init__(self, path: Path, shape: Shape) -> None:
        self.path = path
        self.shape = shape
        self._part = path.with_suffix(".part")
        self._done = path.with_suffix(".done")

    def write(
        self,
        compute: Callable[[int, int], NDArray[Any]],
        rows_at_once: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """Write what is missing, from the first row that is not there yet.

        Parameters
        ----------
        compute
            Gives the rows from a first to a last, without that.
        rows_at_once
            How many are asked for at a time.
        on_progress
            Told how many rows are there, and how many there will be.

        Raises
        ------
        DataError
            If the disk refuses.
        """
        with writing_to(self.path.parent):
            rows = self.shape[0]
            done = self._find_done()
            array = self._open_part(anew=not done)
            while done < rows:
                on_progress(done, rows)
                last = min(done + rows_at_once, rows)
                array[done:last] = compute(done, last)
                done = last
                if done % (rows_at_once * 16) == 0:  # What the file says is there must be there.
                    array.flush()
                    write_json(self._done, {"rows": done, "shape": list(self.shape)})
            array.flush()
            del array
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())
            self._part.replace(self.path)
            self._done.unlink(missing_ok=True)
            sync_folder(self.path.parent)
            on_progress(rows, rows)

    def _find_done(self) -> int:
        """Return how many rows are there; 0 where that cannot be relied on."""
        try:
            known = read_json(self._done)
            rows = int(known["rows"])
            has_shape = known["shape"] == list(self.shape)
        except (RunFolderError, KeyError, TypeError, ValueError):
            return 0
        whole = _map_whole(self._part, self.shape[0])
        is_same = has_shape and whole is not None and whole.shape == self.shape
        return rows if is_same and 0 <= rows <= self.shape[0] else 0

    def _open_part(self, *, anew: bool) -> Any:
        make_folder(self.path.parent)
        if not anew:
            return npy.open_memmap(self._part, "r+")
        self._done.unlink(missing_ok=True)
        array = npy.open_memmap(self._part, "w+", np.float16, self.shape)
        # All of its room is taken now: of a mapped file that the disk cannot hold a process dies.
        if hasattr(os, "posix_fallocate"):
            try:
                with self._part.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, self._part.stat().st_size)
            except OSError:
                self._part.unlink()  # What it had got would stay taken.
                raise
        return array


def map_features(path: Path, num_rows: int) -> NDArray[np.float16] | None:
    """Map a whole file into memory, read-only; ``None`` where there is none, or it is damaged.

    That is found by its size, and by what it says of itself: hashing gigabytes takes too long.

    Parameters
    ----------
    path
        Of the file.
    num_rows
        That it must have.
    """
    found = _map_whole(path, num_rows)
    if found is not None:
        with suppress(OSError):  # Of a cache that somebody else keeps, no time can be set.
            os.utime(path)  # It is used.
    return found


def _map_whole(path: Path, num_rows: int) -> NDArray[np.float16] | None:
    """Map a file that may be in writing, as :func:`map_features` does."""
    try:
        found: NDArray[np.float16] = npy.open_memmap(path, mode="r")
        size = path.stat().st_size
    except Exception:  # A damaged description fails in many ways; all mean the same.
        return None
    assert isinstance(found, np.memmap)
    is_right = found.dtype == np.float16 and found.ndim == 4 and len(found) == num_rows
    is_whole = found.offset + found.nbytes == size and found.flags.c_contiguous
    return found if is_right and is_whole else None


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say what can be done where the cache cannot be written."""
    try:
        yield
    except (OSError, RunFolderError) as error:
        refusal = error if isinstance(error, OSError) else error.__cause__
        why = getattr(refusal, "strerror", None) or error
        raise DataError(
            f"{folder}: what a network makes of the images cannot be kept there ({why}); make "
            "room ('burnish cache --clean'), ask for fewer views, or set XDG_CACHE_HOME to a "
            "folder that can be written"
        ) from error
