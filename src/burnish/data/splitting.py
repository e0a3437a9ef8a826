"""Cut labelled images into train, val and a sealed test split, once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from burnish.data.dataset import Dataset, LabelledImages, SealedTest, take_fingerprint
from burnish.data.facts import DataFacts
from burnish.data.stratify import (
    cut_in_blocks,
    cut_singly,
    draw_keys,
    find_shortages,
    place_every_class,
    round_table,
)
from burnish.errors import DataError

# Keeps the cut apart from every other random choice that starts at the study's seed.
_SPLIT_STREAM = 0x5B117


DEFAULT_SHARE = 0.15
"""Of the images, for val and for test each, where no sizes are given; see `default_sizes`."""


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
    fingerprint = take_fingerprint(raw.class_names, splits, raw.input)
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
