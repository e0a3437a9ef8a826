"""Images and labels of one split: rows of an array or of a mapped file."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from burnish.data.names import ImageNames
from burnish.errors import DataError

HELD_BYTES = 2**28
"""Images of a split that fits hold in memory; more are read as they are used."""


ALIGNMENT = 64
"""Of memory that is lent to tensors, in bytes: what TensorFlow's kernels expect."""


# Images that are hashed at once.
PIECE = 1024


_Element = TypeVar("_Element", bound=np.generic)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels, read-only.

    The memory is the caller's where it is C-contiguous already, and a copy where it
    is not. Two splits are equal only if they are the same object.

    Images that lie in a file mapped into memory (`numpy.memmap`) stay there: a split of
    them is a list of `rows`, so that a data set may be larger than memory.

    Parameters
    ----------
    stored : uint8 or float16 array (num_stored, height, width, channels)
        Pixels from 0 to 255; or in float16 what the frozen part of a network made of them
        (`burnish.features`).
    labels : int32 array (num,)
        The class of each image, from 0.
    rows : integer array (num,), optional
        Which of `stored` each label belongs to; all of them, in order, by default.
    names : ImageNames (num,), optional
        What each image is called, where its source says it. They are left behind when a
        split is pickled: processes that fit do without.

    Raises
    ------
    DataError
        If a shape or a dtype is another, the counts differ, a row is out of range, or
        there is no image.

    """

    stored: NDArray[Any]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64] | None = None
    names: ImageNames | None = None

    def __post_init__(self) -> None:
        kind = np.float16 if getattr(self.stored, "dtype", None) == np.float16 else np.uint8
        check_array("images", self.stored, kind, ("num", "height", "width", "channels"))
        check_array("labels", self.labels, np.int32, ("num",))
        num_images = len(self.stored)
        if self.rows is not None:
            check_array("rows", self.rows, np.int64, ("num",))
            if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < num_images:
                raise DataError(
                    f"rows go from {self.rows.min()} to {self.rows.max()}; "
                    f"expected 0 to {num_images - 1}"
                )
            num_images = len(self.rows)
        if num_images != len(self.labels):
            raise DataError(
                f"got {num_images} images and {len(self.labels)} labels; "
                "give one label for each image"
            )
        if self.names is not None and len(self.names) != num_images:
            raise DataError(
                f"got {num_images} images and {len(self.names)} names; give one name for each image"
            )
        if num_images == 0 or self.stored.size == 0:
            raise DataError(
                f"got images of shape {(num_images, *self.image_shape)}; give at least one image "
                "of at least one pixel"
            )
        object.__setattr__(self, "stored", _freeze(self.stored))
        object.__setattr__(self, "labels", _freeze(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images, {write_shape(self.image_shape)})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.is_mapped:
            return _map_split, (*_locate(self.stored), self.dtype, self.labels, self.rows)
        # NumPy's pickles forget that an array is read-only; construction brings it back.
        return Split, (self.stored, self.labels, self.rows)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, channels = self.stored.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, or float16 of what a network made of images."""
        return self.stored.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes that the images take."""
        return len(self) * math.prod(self.image_shape) * self.dtype.itemsize

    @property
    def is_mapped(self) -> bool:
        """Whether the images lie in a file that is mapped into memory."""
        return isinstance(self.stored, np.memmap)

    @property
    def is_held(self) -> bool:
        """Whether fits hold the images in memory, up to `HELD_BYTES` of them."""
        return self.num_bytes <= HELD_BYTES

    @property
    def stays_in_file(self) -> bool:
        """Whether the images are only ever read from their file: mapped, and too many to hold."""
        return self.is_mapped and not self.is_held

    @property
    def images(self) -> NDArray[Any]:
        """All images (num, height, width, channels); of rows, a copy that takes `num_bytes`."""
        return self.stored if self.rows is None else self.read(slice(None))

    def read(self, indices: slice | NDArray[np.integer]) -> NDArray[Any]:
        """Copy images into memory.

        Parameters
        ----------
        indices : integer array of any shape, or slice
            Places in this split.

        Returns
        -------
        array (*indices.shape, height, width, channels), of this split's type
        """
        rows = indices if self.rows is None else self.rows[indices]
        # Without the memmap class, which would give mapped arrays of what is no file.
        picked = self.stored.view(np.ndarray)[rows]
        return picked if picked.flags.owndata else picked.copy()

    def as_dlpack(self) -> NDArray[Any]:
        """Return all images where a tensor can be made of them without a copy.

        Returns
        -------
        array (num, height, width, channels), of this split's type
            C-contiguous, at an address that is a multiple of `ALIGNMENT`, and writable, as
            DLPack demands, though nobody should. Of a file that is mapped as a whole it is the
            file's own memory, which is shared by all processes that map it; else a copy.
        """
        if self.is_mapped and self.rows is None:
            # Private: what would be written there would not reach the file.
            path, offset, shape = _locate(self.stored)
            mapped = np.memmap(path, self.dtype, "c", offset, shape).view(np.ndarray)
            if mapped.ctypes.data % ALIGNMENT == 0:
                return mapped
        buffer = np.empty(self.num_bytes + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        held = buffer[start : start + self.num_bytes].view(self.dtype)
        images = held.reshape(len(self), *self.image_shape)
        if self.rows is None:
            images[:] = self.stored
        else:  # In any other mode NumPy would fill a second array first.
            np.take(self.stored.view(np.ndarray), self.rows, 0, out=images, mode="clip")
        return images

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Split:
        """Pick the images and labels at `indices`, in that order.

        Images in memory are copied, those in a mapped file are not.

        Parameters
        ----------
        indices : integers (num_taken,)
            Places in this split, from 0; they may repeat.

        Raises
        ------
        IndexError
            If an index is out of range, or not an integer.
        DataError
            If `indices` is empty.

        """
        chosen = np.asarray(indices)
        if chosen.size == 0:
            raise DataError("a split of no images was asked for; give at least one index")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise IndexError(
                f"indices of shape {chosen.shape} and dtype {chosen.dtype}; "
                "expected integers of shape (num_taken,)"
            )
        names = None if self.names is None else self.names.take(chosen)
        if not self.is_mapped:
            return Split(self.read(chosen), self.labels[chosen], names=names)
        all_rows = np.arange(len(self), dtype=np.int64) if self.rows is None else self.rows
        return Split(self.stored, self.labels[chosen], all_rows[chosen], names)


def check_array(name: str, array: object, dtype: type[np.generic], axes: tuple[str, ...]) -> None:
    """Refuse what is no array of this type and number of axes, with a `DataError`."""
    expected = f"expected a {np.dtype(dtype)} array ({', '.join(axes)})"
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} is a {type(array).__name__}; {expected}")
    if array.dtype != dtype or array.ndim != len(axes):
        remedy = f"; convert with .astype(np.{np.dtype(dtype)})" if array.dtype != dtype else ""
        raise DataError(
            f"{name} has dtype {array.dtype} and shape {array.shape}; {expected}{remedy}"
        )


def _freeze(array: NDArray[_Element]) -> NDArray[_Element]:
    # A view, so that the caller's own array object stays as it was.
    mapped = isinstance(array, np.memmap) and array.flags.c_contiguous
    frozen = array.view() if mapped else np.ascontiguousarray(array).view(np.ndarray)
    frozen.flags.writeable = False
    return frozen


def _locate(mapped: NDArray[Any]) -> tuple[str, int, tuple[int, ...]]:
    """File, offset in bytes and shape of a mapped array, which may be a part of what is mapped."""
    assert isinstance(mapped, np.memmap)
    assert mapped.filename is not None
    # An array that was sliced keeps the whole's offset. A mapping begins at a page.
    page = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
    begin = np.frombuffer(mapped._mmap, np.uint8, 1)  # type: ignore[attr-defined]
    return str(mapped.filename), page + mapped.ctypes.data - begin.ctypes.data, mapped.shape


def _map_split(
    path: str,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    labels: NDArray[np.int32],
    rows: NDArray[np.int64] | None,
) -> Split:
    """Open a split of a mapped file again, in another process."""
    return Split(np.memmap(path, dtype, "r", offset, shape), labels, rows)


def write_shape(shape: tuple[int, ...]) -> str:
    """Return a shape for people: 28x28x1."""
    return "x".join(map(str, shape))
