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
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from burnish.data.facts import DataFacts
from burnish.data.names import ImageNames
from burnish.data.stratify import (
    cut_in_blocks,
    cut_singly,
    draw_keys,
    find_shortages,
    place_every_class,
    round_table,
)
from burnish.errors import DataError
from burnish.image import InputSpec

# Keeps the cut apart from every other random choice that starts at the study's seed.
_SPLIT_STREAM = 0x5B117
# Goes into every fingerprint; raise it when what is hashed, or how, changes.
_FINGERPRINT_FORMAT = "burnish data 1"

DEFAULT_SHARE = 0.15
"""Of the images, for val and for test each, where no sizes are given; see `default_sizes`."""

HELD_BYTES = 2**28
"""Images of a split that fits hold in memory; more are read as they are used."""

ALIGNMENT = 64
"""Of memory that is lent to tensors, in bytes: what TensorFlow's kernels expect."""

# Images that are hashed at once.
_PIECE = 1024

# Stands for what the images' shape says; no model takes images of no pixels.
_BY_SHAPE = InputSpec(0, 0, "grey")
_NO_FACTS = DataFacts()

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
    names : ImageNames (num,), optional
        What each image is called, where its source says it. They are left behind when a
        split is pickled: processes that fit do without.

    Raises
    ------
    DataError
        If a shape or a dtype is another, the counts differ, a row is out of range, or
        there is no image.

    """

    stored: NDArray[np.uint8]
    labels: NDArray[np.int32]
    rows: NDArray[np.int64] | None = None
    names: ImageNames | None = None

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
    def is_held(self) -> bool:
        """Whether fits hold the images in memory, up to `HELD_BYTES` of them."""
        return self.num_bytes <= HELD_BYTES

    @property
    def stays_in_file(self) -> bool:
        """Whether the images are only ever read from their file: mapped, and too many to hold."""
        return self.is_mapped and not self.is_held

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
        picked = self.stored.view(np.ndarray)[rows]
        return picked if picked.flags.owndata else picked.copy()

    def as_dlpack(self) -> NDArray[np.uint8]:
        """Return all images where a tensor can be made of them without a copy.

        Returns
        -------
        uint8 array (num, height, width, channels)
            C-contiguous, at an address that is a multiple of `ALIGNMENT`, and writable, as
            DLPack demands, though nobody should. Of a file that is mapped as a whole it is the
            file's own memory, which is shared by all processes that map it; else a copy.
        """
        if self.is_mapped and self.rows is None:
            # Private: what would be written there would not reach the file.
            path, offset, shape = _locate(self.stored)
            mapped = np.memmap(path, np.uint8, "c", offset, shape).view(np.ndarray)
            if mapped.ctypes.data % ALIGNMENT == 0:
                return mapped
        buffer = np.empty(self.num_bytes + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        images = buffer[start : start + self.num_bytes].reshape(len(self), *self.image_shape)
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


@dataclass(frozen=True, eq=False)
class IdenticalImages:
    """Images whose pixels are those of another: which, and in which sets.

    Parameters
    ----------
    images : Split
        The images (num,), set after set.
    sets : int64 array (num,)
        Number of the set that each belongs to, from 0.
    splits : text array (num,) or None
        The split that the data came with for each; None where the data brought none.
    is_kept : bool array (num,)
        Whether a study uses the image; others were taken out, as a later split has them too.

    """

    images: Split
    sets: NDArray[np.int64]
    splits: NDArray[np.str_] | None
    is_kept: NDArray[np.bool_]


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
    input : InputSpec
        How an image of another size or colour is brought to these; by default padded.
    val : Split or None
        The source's own validation split, where it has one.
    blocks : int64 array (num_train,) or None
        Images of `train` with the same number must stay in the same split.
    facts : DataFacts
        What was found out about the data on the way.
    identical : IdenticalImages or None
        The images whose pixels another image has too, where the source looked for them.

    Raises
    ------
    DataError
        If there are fewer than two classes, names that repeat, labels out of range,
        or images of another shape than the training images.

    """

    source: str
    train: Split
    test: Split | None
    class_names: tuple[str, ...]
    input: InputSpec = _BY_SHAPE
    val: Split | None = None
    blocks: NDArray[np.int64] | None = None
    facts: DataFacts = _NO_FACTS
    identical: IdenticalImages | None = None

    def __post_init__(self) -> None:
        splits = {"train": self.train} | self.given
        _check_classes(self.source, self.class_names, splits)
        _check_blocks(self.blocks, self.train)
        object.__setattr__(self, "input", _check_input(self.input, self.train))

    @property
    def given(self) -> dict[str, Split]:
        """The splits beside `train` that the source brings, by name."""
        splits = {"val": self.val, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}


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
    input : InputSpec
        How an image of another size or colour is brought to these; by default padded.
    blocks : int64 array (num_train,) or None
        Images of `train` with the same number must stay in the same fold.
    facts : DataFacts
        What was found out about the data on the way.

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
    input: InputSpec = _BY_SHAPE
    blocks: NDArray[np.int64] | None = None
    facts: DataFacts = _NO_FACTS

    def __post_init__(self) -> None:
        _check_classes(self.source, self.class_names, {"train": self.train, "val": self.val})
        _check_blocks(self.blocks, self.train)
        object.__setattr__(self, "input", _check_input(self.input, self.train))

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
        """Return the test split. Only `burnish.evaluation` may call this."""
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

    >>> SplitSizes(val=0.25).count(100)
    {'train': 75, 'val': 25}

    Parameters
    ----------
    train : int, float or None
        None for all images that are left.
    val, test : int, float or None
        Needed where the source has no such images of its own, refused where it has.

    Raises
    ------
    DataError
        If an int is not positive or a float does not lie in (0, 1).

    """

    train: int | float | None = None
    val: int | float | None = None
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
            Number of images by split name: train, and val and test where given.

        Raises
        ------
        DataError
            If the sizes sum to more than `num_images`, or a fraction to no image.

        """
        given: dict[str, int | float | str] = {**self._given()}
        counts = {name: int(size) for name, size in self._given().items()}
        exact = {name: size * num_images for name, size in given.items() if isinstance(size, float)}
        # Largest remainders: round down, then one more for those that lost most.
        num_lost = round(math.fsum(exact.values())) - sum(math.floor(n) for n in exact.values())
        by_loss = sorted(exact, key=lambda name: math.floor(exact[name]) - exact[name])
        for place, name in enumerate(by_loss):
            counts[name] = math.floor(exact[name]) + (place < num_lost)
        if self.train is None:
            counts = {"train": max(0, num_images - sum(counts.values())), **counts}
            given = {"train": "the rest", **given}

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
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        return {name: size for name, size in sizes.items() if size is not None}


def prepare(raw: LabelledImages, sizes: SplitSizes | None, seed: int) -> tuple[Dataset, SealedTest]:
    """Cut what a source gave into train, val and the sealed test split.

    Splits that the source brings are kept as they are; the others are cut from its train
    split. The cut is stratified: each class's number of images in each split is its exact
    proportional share, rounded down or up, and the splits have exactly the sizes asked
    for. (Where a class is so rare that its share rounds to nothing, it gets one image
    there, and another class one fewer.) Images left over are not used. Within a split
    the images are in random order, not sorted by class.

    Images of one block stay together, which may come before exact sizes; the facts then
    say so.

    The cut depends on the labels, the blocks, the sizes and the seed alone.

    Parameters
    ----------
    raw : LabelledImages
        Its train split is cut; its test split, where there is one, is sealed whole.
    sizes : SplitSizes or None
        Of train, and of val and test where the source has none. None stands for
        `default_sizes`, and all the rest for train.
    seed : int
        Not negative; the same seed gives the same cut.

    Returns
    -------
    dataset : Dataset
    test : SealedTest

    Raises
    ------
    DataError
        If a size is missing or out of place, the sizes are more than there is, or
        a class has too few images to be in every split.

    """
    cut, counts = _cut(raw, sizes, seed)
    train = raw.train.take(cut["train"])
    val = raw.train.take(cut["val"]) if raw.val is None else raw.val
    test = raw.train.take(cut["test"]) if raw.test is None else raw.test
    splits = {"train": train, "val": val, "test": test}
    fingerprint = _take_fingerprint(raw.class_names, splits, raw.input)
    dataset = Dataset(
        raw.source,
        train,
        val,
        raw.class_names,
        fingerprint,
        raw.input,
        None if raw.blocks is None else raw.blocks[cut["train"]],
        _note_sizes(raw.facts, counts, cut),
    )
    return dataset, SealedTest(test)


def default_sizes(raw: LabelledImages) -> SplitSizes:
    """Return the sizes of val and test, as far as the data does not bring them.

    Each is `DEFAULT_SHARE` of the images, or of few images as many as there are classes.
    """
    num_classes = len(raw.class_names)
    is_enough = math.floor(DEFAULT_SHARE * len(raw.train)) >= num_classes
    size = DEFAULT_SHARE if is_enough else num_classes
    return SplitSizes(**{name: size for name in ("val", "test") if name not in raw.given})


def find_cut_problems(raw: LabelledImages, sizes: SplitSizes | None = None) -> list[str]:
    """Say why `prepare` would refuse these images, all at once; nothing where it would not.

    Whether it would does not depend on the seed.

    Parameters
    ----------
    raw, sizes
        As for `prepare`.
    """
    shortages = _find_shortages(raw)
    try:
        if not shortages:
            _cut(raw, sizes, seed=0)
    except DataError as error:
        return [str(error)]
    return shortages


def _find_shortages(raw: LabelledImages) -> list[str]:
    """Name the classes that cannot be in each of the splits that are to be cut."""
    names = [name for name in ("train", "val", "test") if name not in raw.given]
    return find_shortages(raw.train.labels, raw.blocks, names, raw.class_names)


def _refuse_small_splits(raw: LabelledImages, counts: dict[str, int]) -> None:
    num_classes = len(raw.class_names)
    for name, count in counts.items():
        if count < num_classes:
            # With fewer images than classes the rarest class goes without.
            rarest = np.argmin(np.bincount(raw.train.labels, minlength=num_classes))
            raise DataError(
                f"split: {name} is {count} images for {num_classes} classes, so class "
                f"'{raw.class_names[int(rarest)]}' would have none in it; give {name} at least "
                f"{num_classes} images"
            )


def _complete(raw: LabelledImages, sizes: SplitSizes | None) -> SplitSizes:
    """Check that the sizes name what the source does not bring, and nothing else."""
    if sizes is None:
        return default_sizes(raw)
    for name in ("val", "test"):
        size = getattr(sizes, name)
        if name in raw.given and size is not None:
            raise DataError(
                f"split: {name} = {size!r}, but source '{raw.source}' brings its own "
                f"{len(raw.given[name])} {name} images; leave {name} out"
            )
        if name not in raw.given and size is None:
            what = "to seal" if name == "test" else "to validate on"
            raise DataError(
                f"split: {name} is missing, and source '{raw.source}' has no {name} images of its "
                f"own; say how many of its images {what}, for example {name} = 0.2"
            )
    return sizes


def _note_sizes(
    facts: DataFacts, counts: dict[str, int], cut: dict[str, NDArray[np.intp]]
) -> DataFacts:
    """Note where blocks that stay together did not allow the sizes asked for."""
    others = [
        f"{name} {len(cut[name])} instead of {count}"
        for name, count in counts.items()
        if len(cut[name]) != count
    ]
    if not others:
        return facts
    note = f"split: {', '.join(others)}, as images that belong together stay together"
    return replace(facts, notes=(*facts.notes, note))


def _cut(
    raw: LabelledImages, sizes: SplitSizes | None, seed: int
) -> tuple[dict[str, NDArray[np.intp]], dict[str, int]]:
    """Choose the indices of each split, by split name, and say how many were asked for."""
    sizes = _complete(raw, sizes)
    shortages = _find_shortages(raw)
    if shortages:
        more = f"; and {len(shortages) - 5:,} more" if len(shortages) > 5 else ""
        raise DataError("; ".join(shortages[:5]) + more)
    counts = sizes.count(len(raw.train))
    _refuse_small_splits(raw, counts)
    labels = raw.train.labels
    # Train last: then asking for another number of training images leaves the others be.
    names = sorted(counts, key=("val", "test", "train").index)
    table = _share_out(counts, np.bincount(labels, minlength=len(raw.class_names)))
    rows = np.stack([*(table[name] for name in names), table["unused"]])
    keys = draw_keys(len(labels), (seed, _SPLIT_STREAM))
    if raw.blocks is None:
        cut = cut_singly(labels, rows, keys)
    else:
        cut = cut_in_blocks(labels, raw.blocks, rows, keys, len(names), raw.class_names)
    return dict(zip(names, cut, strict=False)), counts


def _share_out(
    counts: dict[str, int], class_counts: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Say how many images of each class (num_classes,) go into each split, and how many unused."""
    num_images = int(class_counts.sum())
    num_unused = num_images - sum(counts.values())
    sizes = np.array([*counts.values(), num_unused], dtype=np.int64)
    table = round_table(np.outer(sizes, class_counts), num_images)
    place_every_class(table, num_splits=len(counts))
    return dict(zip([*counts, "unused"], table, strict=True))


def _take_fingerprint(
    class_names: tuple[str, ...], splits: dict[str, Split], spec: InputSpec
) -> str:
    """Hash the content and the splits, a piece at a time."""
    head = {
        "format": _FINGERPRINT_FORMAT,
        "class_names": class_names,
        "image_shape": next(iter(splits.values())).image_shape,
        "image_dtype": "uint8",
        "label_dtype": "<i4",
        "num_images": {name: len(split) for name, split in splits.items()},
    } | ({} if spec.range is None else {"range": spec.range})
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode("ascii"))
    for split in splits.values():
        for first in range(0, len(split), _PIECE):
            piece = slice(first, first + _PIECE)
            pixels = split.stored[piece] if split.rows is None else split.read(piece)
            digest.update(pixels.reshape(-1).data)
        digest.update(split.labels.astype("<i4", copy=False).data)
    return digest.hexdigest()


def _check_input(given: InputSpec, train: Split) -> InputSpec:
    """Return the input's specification, by default what the shape of the images says."""
    height, width, channels = train.image_shape
    if given == _BY_SHAPE:
        # Of other numbers of channels there are no image files, but there may be arrays.
        return InputSpec(height, width, "rgb" if channels == 3 else "grey")
    if given.shape != train.image_shape:
        raise DataError(
            f"images are {_write_shape(train.image_shape)}, but their input is "
            f"{_write_shape(given.shape)}; give both the same shape"
        )
    return given


def _check_blocks(blocks: NDArray[np.int64] | None, train: Split) -> None:
    if blocks is not None:
        _check_array("blocks", blocks, np.int64, ("num",))
        if len(blocks) != len(train):
            raise DataError(f"got {len(train)} training images and {len(blocks)} blocks")


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
