"""Labelled images, cut once into train, val and a sealed test split.

A source gives `LabelledImages`; `prepare` cuts them into a `Dataset`, which is
what every stage sees, and a `SealedTest`, which only the last one may open.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from burnish.errors import DataError

# Keeps the cut apart from every other random choice that starts at the study's seed.
_SPLIT_STREAM = 0x5B117
# Goes into every fingerprint; raise it when what is hashed, or how, changes.
_FINGERPRINT_FORMAT = "burnish data 1"

# Images that are hashed at once.
_PIECE = 1024

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
    stored : uint8 array (num_stored, height, width, channels)
        Pixels from 0 to 255.
    labels : int32 array (num,)
        The class of each image, from 0.
    rows : integer array (num,), optional
        Which of `stored` each label belongs to; all of them, in order, by default.

    Raises
    ------
    DataError
        If a shape or a dtype is another, the counts differ, a row is out of range, or
        there is no image.

    """

    stored: NDArray[np.uint8]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _check_array("images", self.stored, np.uint8, ("num", "height", "width", "channels"))
        _check_array("labels", self.labels, np.int32, ("num",))
        num_images = len(self.stored)
        if self.rows is not None:
            _check_array("rows", self.rows, np.int64, ("num",))
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
        return f"Split({len(self)} images, {_write_shape(self.image_shape)})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.is_mapped:
            return _map_split, (*_locate(self.stored), self.labels, self.rows)
        # NumPy's pickles forget that an array is read-only; construction brings it back.
        return Split, (self.stored, self.labels, self.rows)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, channels = self.stored.shape
        return height, width, channels

    @property
    def num_bytes(self) -> int:
        """Bytes that the images take."""
        return len(self) * math.prod(self.image_shape)

    @property
    def is_mapped(self) -> bool:
        """Whether the images lie in a file that is mapped into memory."""
        return isinstance(self.stored, np.memmap)

    @property
    def images(self) -> NDArray[np.uint8]:
        """All images (num, height, width, channels); of rows, a copy that takes `num_bytes`."""
        return self.stored if self.rows is None else self.read(slice(None))

    def read(self, indices: slice | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Copy images into memory.

        Parameters
        ----------
        indices : integer array of any shape, or slice
            Places in this split.

        Returns
        -------
        uint8 array (*indices.shape, height, width, channels)
        """
        rows = indices if self.rows is None else self.rows[indices]
        # Without the memmap class, which would give mapped arrays of what is no file.
        return np.array(self.stored.view(np.ndarray)[rows])

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
        if not self.is_mapped:
            return Split(self.read(chosen), self.labels[chosen])
        all_rows = np.arange(len(self), dtype=np.int64) if self.rows is None else self.rows
        return Split(self.stored, self.labels[chosen], all_rows[chosen])


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """What a source gives: images in which nothing has been held back yet.

    Parameters
    ----------
    source : str
        The source's registered name.
    train : Split
        The images to cut.
    test : Split or None
        The source's own test split, where it has one.
    class_names : tuple of str
        One per class; label `i` means ``class_names[i]``.

    Raises
    ------
    DataError
        If there are fewer than two classes, names that repeat, labels out of range,
        or test images of another shape than the training images.

    """

    source: str
    train: Split
    test: Split | None
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        splits = {"train": self.train}
        if self.test is not None:
            splits["test"] = self.test
        _check_classes(self.source, self.class_names, splits)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What the stages of a study see: train and val, never test.

    Parameters
    ----------
    source : str
        The source's registered name.
    train, val : Split
    class_names : tuple of str
        Label `i` means ``class_names[i]``.
    fingerprint : str
        SHA-256 (hex) of all pixels, labels and class names and of how they were split,
        the sealed test split included.

    Raises
    ------
    DataError
        As for `LabelledImages`.

    """

    source: str
    train: Split
    val: Split
    class_names: tuple[str, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        _check_classes(self.source, self.class_names, {"train": self.train, "val": self.val})

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


class SealedTest:
    """The test split, which no stage before the final one may look into.

    Only `burnish.evaluation` may call `open`: it writes each reading into the run's
    ledger. A sealed test cannot be pickled or copied, so that no worker process, which
    fits and selects, ever holds one.
    """

    __slots__ = ("_split",)

    def __init__(self, split: Split) -> None:
        self._split = split

    @property
    def num_images(self) -> int:
        """Number of images, which may be known before the seal is broken."""
        return len(self._split)

    def open(self) -> Split:
        """Give the test split. Only `burnish.evaluation` may call this."""
        return self._split

    def __repr__(self) -> str:
        return f"SealedTest(num_images={self.num_images})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a SealedTest cannot be pickled or copied: the test split stays in the process "
            "that prepared it; send the Dataset instead"
        )


@dataclass(frozen=True)
class SplitSizes:
    """How large the splits are to be.

    An int is a number of images, a float in (0, 1) a fraction of the images to be cut:

    >>> SplitSizes(train=50_000, val=10_000)
    SplitSizes(train=50000, val=10000, test=None)
    >>> SplitSizes(train=0.6, val=0.2, test=0.2).count(1797)
    {'train': 1078, 'val': 360, 'test': 359}

    Parameters
    ----------
    train, val : int or float
    test : int, float or None
        Needed where the source has no test images of its own, refused where it has.

    Raises
    ------
    DataError
        If an int is not positive or a float does not lie in (0, 1).

    """

    train: int | float
    val: int | float
    test: int | float | None = None

    def __post_init__(self) -> None:
        for name, size in self._given().items():
            if isinstance(size, bool) or not isinstance(size, int | float):
                fits = False
            elif isinstance(size, int):
                fits = size >= 1
            else:
                fits = 0.0 < size < 1.0
            if not fits:
                raise DataError(
                    f"split: {name} = {size!r}; give a whole number of images of at least 1 "
                    "(50000), or a fraction between 0 and 1 (0.8)"
                )

    def count(self, num_images: int) -> dict[str, int]:
        """Turn the sizes into numbers of images.

        Fractions are rounded together, so that fractions which sum to one use every image.

        Parameters
        ----------
        num_images : int
            How many images are to be cut.

        Returns
        -------
        dict
            Number of images by split name: train, val and, where given, test.

        Raises
        ------
        DataError
            If the sizes sum to more than `num_images`, or a fraction to no image.

        """
        given = self._given()
        counts = {name: int(size) for name, size in given.items()}
        exact = {name: size * num_images for name, size in given.items() if isinstance(size, float)}
        # Largest remainders: round down, then one more for those that lost most.
        num_lost = round(math.fsum(exact.values())) - sum(math.floor(n) for n in exact.values())
        by_loss = sorted(exact, key=lambda name: math.floor(exact[name]) - exact[name])
        for place, name in enumerate(by_loss):
            counts[name] = math.floor(exact[name]) + (place < num_lost)

        written = ", ".join(
            f"{name} {counts[name]}" + (f" (from {size})" if isinstance(size, float) else "")
            for name, size in given.items()
        )
        if sum(counts.values()) > num_images:
            raise DataError(
                f"split: {written} is {sum(counts.values())} images, and there are {num_images} "
                "to cut; ask for fewer"
            )
        if not all(counts.values()):
            raise DataError(
                f"split: {written} of the {num_images} images to cut; "
                "each split needs at least one image, so ask for a larger fraction"
            )
        return counts

    def _given(self) -> dict[str, int | float]:
        given = {"train": self.train, "val": self.val}
        return given if self.test is None else {**given, "test": self.test}


def prepare(raw: LabelledImages, sizes: SplitSizes, seed: int) -> tuple[Dataset, SealedTest]:
    """Cut what a source gave into train, val and the sealed test split.

    The cut is stratified: each class's number of images in each split is its exact
    proportional share, rounded down or up, and the splits have exactly the sizes asked
    for. (Where a class is so rare that its share rounds to nothing, it gets one image
    there, and another class one fewer.) Images left over are not used. Within a split
    the images are in random order, not sorted by class.

    The cut depends on the labels, the sizes and the seed alone.

    Parameters
    ----------
    raw : LabelledImages
        Its train split is cut; its test split, where there is one, is sealed whole.
    sizes : SplitSizes
        Of train and val, and of test where the source has none.
    seed : int
        Not negative; the same seed gives the same cut.

    Returns
    -------
    dataset : Dataset
    test : SealedTest

    Raises
    ------
    DataError
        If `sizes.test` is missing or out of place, the sizes are more than there is, or
        a class has too few images to be in every split.

    """
    if raw.test is not None and sizes.test is not None:
        raise DataError(
            f"split: test = {sizes.test!r}, but source '{raw.source}' brings its own "
            f"{len(raw.test)} test images; leave test out"
        )
    if raw.test is None and sizes.test is None:
        raise DataError(
            f"split: test is missing, and source '{raw.source}' has no test images of its own; "
            "say how many of its images to seal, for example test = 0.2"
        )
    counts = sizes.count(len(raw.train))
    cut = _cut_stratified(raw, counts, seed)
    train = raw.train.take(cut["train"])
    val = raw.train.take(cut["val"])
    test = raw.train.take(cut["test"]) if raw.test is None else raw.test
    fingerprint = _take_fingerprint(raw.class_names, {"train": train, "val": val, "test": test})
    return Dataset(raw.source, train, val, raw.class_names, fingerprint), SealedTest(test)


def _cut_stratified(
    raw: LabelledImages, counts: dict[str, int], seed: int
) -> dict[str, NDArray[np.intp]]:
    """Choose the indices of each split, by split name."""
    labels = raw.train.labels
    class_counts = np.bincount(labels, minlength=len(raw.class_names))
    table = _share_out(raw, counts, class_counts)

    # One random key per image. The generator's raw output, unlike `permutation`, is the
    # same in every NumPy version, and so the split of a study is too.
    generator = np.random.PCG64(np.random.SeedSequence((seed, _SPLIT_STREAM)))
    keys = np.asarray(generator.random_raw(len(labels)), dtype=np.uint64)
    by_class = np.lexsort((keys, labels))
    starts = np.cumsum(class_counts) - class_counts

    cut = {}
    # Train last: then asking for another number of training images leaves the others be.
    for name in sorted(counts, key=("val", "test", "train").index):
        ends = starts + table[name]
        chosen = np.concatenate(
            [by_class[start:end] for start, end in zip(starts, ends, strict=True)]
        )
        cut[name] = chosen[np.argsort(keys[chosen], kind="stable")]
        starts = ends
    return cut


def _share_out(
    raw: LabelledImages, counts: dict[str, int], class_counts: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Say how many images of each class (num_classes,) go into each split."""
    names = ", ".join(counts)
    for class_name, count in zip(raw.class_names, class_counts, strict=True):
        if count < len(counts):
            raise DataError(
                f"class '{class_name}' of source '{raw.source}' has {count} images, and each of "
                f"the {len(counts)} splits ({names}) needs at least one of every class; "
                "add images of it, or leave the class out"
            )
    for name, count in counts.items():
        if count < len(class_counts):
            # With fewer images than classes the rarest class goes without.
            rarest = raw.class_names[int(np.argmin(class_counts))]
            raise DataError(
                f"split: {name} is {count} images for {len(class_counts)} classes, so class "
                f"'{rarest}' would have none in it; give {name} at least {len(class_counts)} images"
            )
    num_images = int(class_counts.sum())
    num_unused = num_images - sum(counts.values())
    sizes = np.array([*counts.values(), num_unused], dtype=np.int64)
    table = _round_table(np.outer(sizes, class_counts), num_images)
    _place_every_class(table, num_splits=len(counts))
    return dict(zip(counts, table, strict=False))


def _round_table(shares: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
    """Round ``shares / unit`` to whole numbers without changing a row's or column's sum.

    Every entry is rounded down or up; the sums must be whole already. Around a cycle of
    entries that are not whole yet, what is added to one is taken from the next, until one
    of them is whole (Causey, Cox and Ernst 1985, "Applications of transportation theory to
    statistical problems"). Rounding one split after the other instead would leave the last
    with the sum of the others' errors.

    Parameters
    ----------
    shares : int64 array (rows, columns)
        Numerators, not negative.
    unit : int
        Their common denominator.

    """
    whole, rest = np.divmod(shares, unit)
    while rest.any():
        cycle = _find_cycle(rest)
        gains, losses = cycle[0::2], cycle[1::2]
        step = min(
            min(unit - rest[cell] for cell in gains),
            min(rest[cell] for cell in losses),
        )
        for cell in gains:
            rest[cell] += step
        for cell in losses:
            rest[cell] -= step
        filled = rest == unit
        whole[filled] += 1
        rest[filled] = 0
    return whole


def _find_cycle(rest: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Find cells that are not zero, of which each shares a row or a column with the next.

    There is a way on from every cell, since no row or column has only one such cell: its
    sum would not be whole.
    """
    row, column = int(np.flatnonzero(rest.any(axis=1))[0]), -1
    path: list[tuple[int, int]] = []
    rows_left_at: dict[int, int] = {row: 0}
    columns_left_at: dict[int, int] = {}
    while True:
        column = next(int(c) for c in np.flatnonzero(rest[row]) if c != column)
        path.append((row, column))
        if column in columns_left_at:
            return path[columns_left_at[column] :]
        columns_left_at[column] = len(path)
        row = next(int(r) for r in np.flatnonzero(rest[:, column]) if r != row)
        path.append((row, column))
        if row in rows_left_at:
            return path[rows_left_at[row] :]
        rows_left_at[row] = len(path)


def _place_every_class(table: NDArray[np.int64], num_splits: int) -> None:
    """Give each class an image in each split, keeping all sums; changes `table`.

    Parameters
    ----------
    table : int64 array (num_splits + 1, num_classes)
        The last row counts the images not used. Each column holds at least `num_splits`
        images and each other row at least `num_classes`, so that a swap always exists.
    num_splits : int
        Number of rows that are splits.

    """
    for row, column in np.argwhere(table[:num_splits] == 0):
        spare = table[:, column].copy()
        spare[:num_splits] -= 1
        giver = int(np.argmax(spare))
        common = int(np.argmax(table[row]))
        table[row, column] += 1
        table[giver, column] -= 1
        table[row, common] -= 1
        table[giver, common] += 1


def _take_fingerprint(class_names: tuple[str, ...], splits: dict[str, Split]) -> str:
    """Hash the content and the splits, a piece at a time."""
    head = {
        "format": _FINGERPRINT_FORMAT,
        "class_names": class_names,
        "image_shape": next(iter(splits.values())).image_shape,
        "image_dtype": "uint8",
        "label_dtype": "<i4",
        "num_images": {name: len(split) for name, split in splits.items()},
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode("ascii"))
    for split in splits.values():
        for first in range(0, len(split), _PIECE):
            piece = slice(first, first + _PIECE)
            pixels = split.stored[piece] if split.rows is None else split.read(piece)
            digest.update(pixels.reshape(-1).data)
        digest.update(split.labels.astype("<i4", copy=False).data)
    return digest.hexdigest()


def _check_array(name: str, array: object, dtype: type[np.generic], axes: tuple[str, ...]) -> None:
    expected = f"expected a {np.dtype(dtype)} array ({', '.join(axes)})"
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} is a {type(array).__name__}; {expected}")
    if array.dtype != dtype or array.ndim != len(axes):
        mend = f"; convert with .astype(np.{np.dtype(dtype)})" if array.dtype != dtype else ""
        raise DataError(f"{name} has dtype {array.dtype} and shape {array.shape}; {expected}{mend}")


def _check_classes(source: str, class_names: tuple[str, ...], splits: dict[str, Split]) -> None:
    if len(class_names) < 2:
        raise DataError(
            f"source '{source}' has {len(class_names)} classes ({', '.join(class_names)}); "
            "a classifier needs at least two"
        )
    for class_name in class_names:
        if class_names.count(class_name) > 1:
            raise DataError(f"source '{source}' has two classes '{class_name}'; rename one")
    shapes = {name: split.image_shape for name, split in splits.items()}
    if len(set(shapes.values())) > 1:
        written = ", ".join(f"{name} {_write_shape(shape)}" for name, shape in shapes.items())
        raise DataError(
            f"source '{source}' has images of different shapes: {written} (height x width x "
            "channels); bring them to one shape"
        )
    for name, split in splits.items():
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(class_names):
            raise DataError(
                f"source '{source}': labels of {name} go from {low} to {high}; expected 0 to "
                f"{len(class_names) - 1}, for {len(class_names)} classes"
            )


def _freeze(array: NDArray[_Element]) -> NDArray[_Element]:
    # A view, so that the caller's own array object stays as it was.
    mapped = isinstance(array, np.memmap) and array.flags.c_contiguous
    frozen = array.view() if mapped else np.ascontiguousarray(array).view(np.ndarray)
    frozen.flags.writeable = False
    return frozen


def _locate(mapped: NDArray[np.uint8]) -> tuple[str, int, tuple[int, ...]]:
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
    labels: NDArray[np.int32],
    rows: NDArray[np.int64] | None,
) -> Split:
    """Open a split of a mapped file again, in another process."""
    return Split(np.memmap(path, np.uint8, "r", offset, shape), labels, rows)


def _write_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
