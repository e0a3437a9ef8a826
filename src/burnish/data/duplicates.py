"""Identical images: found by the hash of their pixels, and kept on one side of every cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.listing import NUM_NAMED, SPLIT_NAMES
from burnish.errors import DataError


def order_canonically(labels: NDArray[np.int32], digests: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Order images by class, and within it by content: so that the way they came does not matter.

    Parameters
    ----------
    labels
        (num,)
    digests
        (num, 32), SHA-256 of the pixels.

    Returns
    -------
    Indices (num,); of images that are the same in both, the first comes first.
    """
    keys = [*_sort_keys(digests), labels.astype(np.uint64)]
    return np.lexsort(keys)


def number_contents(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return images with the same pixels the same number: that of the first one, (num,)."""
    keys = _sort_keys(digests)
    order = np.lexsort(keys)
    starts = np.ones(len(order), dtype=np.bool_)
    if len(order):
        starts[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    # The sort is stable, so that the first of each run is the first of all.
    firsts = order[starts][np.cumsum(starts) - 1]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = firsts
    return numbers


def list_sets(contents: NDArray[np.int64]) -> NDArray[np.intp]:
    """List the images that are not alone with their pixels, set after set.

    >>> list_sets(np.array([0, 1, 0, 3, 1])).tolist()
    [0, 2, 1, 4]

    Parameters
    ----------
    contents
        Of `number_contents`, (num,).
    """
    shared = np.flatnonzero(np.bincount(contents, minlength=len(contents))[contents] > 1)
    return shared[np.argsort(contents[shared], kind="stable")]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What was found about identical images.

    Attributes
    ----------
    is_kept
        Which images stay where they are, (num,); others are in a later split too.
    num
        Images that are identical to an earlier one.
    conflicts
        Sets of identical images that have more than one label, by the names of two.
    """

    is_kept: NDArray[np.bool_]
    num: int
    conflicts: tuple[str, ...]
    num_conflicts: int


def settle_duplicates(
    contents: NDArray[np.int64],
    labels: NDArray[np.int32],
    splits: NDArray[np.str_] | None,
    names: Sequence[str],
    class_names: Sequence[str],
) -> Duplicates:
    """Find identical images, and of those in several splits keep those in the last one.

    An image that is in test is taken out of train and val, one that is in val out of train:
    what a model is judged by must be new to it.

    Parameters
    ----------
    contents
        Of `number_contents`, (num,).
    labels, names
        Of each image, (num,).
    splits
        The splits that the data came with, (num,), or None.
    """
    is_first = contents == np.arange(len(contents))
    is_kept = np.ones(len(contents), dtype=np.bool_)
    if splits is not None:
        rank = np.zeros(len(splits), np.int8)
        for number, split in enumerate(SPLIT_NAMES):
            rank[splits == split] = number
        last = np.zeros(len(splits), np.int8)
        np.maximum.at(last, contents, rank)
        is_kept = rank == last[contents]
    differs = np.flatnonzero(labels != labels[contents])
    sets, first_members = np.unique(contents[differs], return_index=True)
    conflicts = tuple(
        f"{names[one]} ({class_names[labels[one]]}) and {names[two]} ({class_names[labels[two]]})"
        for one, two in zip(sets[:NUM_NAMED], differs[first_members[:NUM_NAMED]], strict=True)
    )
    return Duplicates(is_kept, int((~is_first).sum()), conflicts, len(sets))


def join_blocks(
    contents: NDArray[np.int64], groups: Sequence[str] | None
) -> NDArray[np.int64] | None:
    """Say which images must stay together: identical ones, and those of one group.

    Returns
    -------
    A number for each image (num,), the same for those that stay together: that of the
    first of them. None where every image is on its own.
    """
    blocks = contents
    if groups is not None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        num_images = len(contents)
        _, group_numbers = np.unique(np.asarray(groups), return_inverse=True)
        nodes = np.arange(num_images)
        # Images and groups are nodes; what is connected stays together.
        rows = np.concatenate((nodes, nodes))
        columns = np.concatenate((contents, num_images + group_numbers))
        num_nodes = num_images + int(group_numbers.max()) + 1
        edges = coo_array(
            (np.ones(len(rows), np.int8), (rows, columns)), shape=(num_nodes, num_nodes)
        )
        _, components = connected_components(edges, directed=False)
        _, firsts, members = np.unique(
            components[:num_images], return_index=True, return_inverse=True
        )
        blocks = firsts[members].astype(np.int64)
    return None if (blocks == np.arange(len(blocks))).all() else blocks


def refuse_straddling(where: str, groups: Sequence[str], splits: NDArray[np.str_]) -> None:
    """Refuse groups that the given splits cut through.

    Raises
    ------
    DataError
        Names the first of them.
    """
    seen: dict[str, str] = {}
    cut: dict[str, str] = {}
    for group, split in zip(groups, splits.tolist(), strict=True):
        if seen.setdefault(group, split) != split:
            both = sorted((seen[group], split), key=SPLIT_NAMES.index)
            cut.setdefault(group, f"'{group}' ({' and '.join(both)})")
    if cut:
        shown = "; ".join(list(cut.values())[:5])
        raise DataError(
            f"{where}: groups with images in more than one of the given splits: {len(cut):,}, "
            f"as {shown}. Leave the group out, or the splits, which are then cut anew"
        )


def _sort_keys(digests: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], ...]:
    """Four numbers an image, the least significant first, as `numpy.lexsort` wants them."""
    words = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    return tuple(words[:, place] for place in reversed(range(words.shape[1])))
