"""Which image goes into which split: by class, at random, with some kept together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from burnish.errors import DataError


def draw_keys(num: int, stream: tuple[int, ...]) -> NDArray[np.uint64]:
    """Draw a random key for each image (num,).

    The generator's raw output, unlike `permutation`, is the same in every NumPy version,
    and so the split of a study is too.
    """
    generator = np.random.PCG64(np.random.SeedSequence(stream))
    return np.asarray(generator.random_raw(num), dtype=np.uint64)


def cut_singly(
    labels: NDArray[np.int32], table: NDArray[np.int64], keys: NDArray[np.uint64]
) -> list[NDArray[np.intp]]:
    """Choose images for each bin, one by one.

    Parameters
    ----------
    labels, keys
        (num,)
    table
        How many images of each class go into each bin (num_bins, num_classes).

    Returns
    -------
    Indices for each bin, in the order of their keys.
    """
    class_counts = np.bincount(labels, minlength=table.shape[1])
    by_class = np.lexsort((keys, labels))
    starts = np.cumsum(class_counts) - class_counts
    cut = []
    for row in table:
        ends = starts + row
        chosen = np.concatenate(
            [by_class[start:end] for start, end in zip(starts, ends, strict=True)]
        )
        cut.append(chosen[np.argsort(keys[chosen], kind="stable")])
        starts = ends
    return cut


def cut_in_blocks(
    labels: NDArray[np.int32],
    blocks: NDArray[np.int64],
    table: NDArray[np.int64],
    keys: NDArray[np.uint64],
    num_splits: int,
    class_names: Sequence[str],
) -> list[NDArray[np.intp]]:
    """Choose images for each bin so that no block is in two of them.

    Blocks of several images are placed first, the largest at the head, each where it brings
    the counts of its classes nearest to what is wanted (least sum of squared deviations over
    the number wanted, as in a chi-squared test). Images that stand alone fill up the rest,
    so that where there are enough of them the counts are exact.

    Parameters
    ----------
    labels, blocks, keys
        (num,); images of the same block stay together.
    table
        How many images of each class are wanted in each bin (num_bins, num_classes).
    num_splits
        The first so many bins need every class; a last one may hold what is not used.
    class_names
        For messages.

    Returns
    -------
    Indices for each bin, in the order of their keys.

    Raises
    ------
    DataError
        If a class has too few blocks to be in every split.
    """
    members = _list_blocks(blocks, keys)
    wanted = np.maximum(table, 1e-3)
    need = table.astype(np.float64)
    bins: list[list[NDArray[np.intp]]] = [[] for _ in table]
    alone = []
    for block in members:
        if len(block) == 1:
            alone.append(block)
            continue
        classes, counts = np.unique(labels[block], return_counts=True)
        cost = counts * (counts - 2 * need[:, classes]) / wanted[:, classes]
        chosen = int(np.argmin(cost.sum(axis=1)))
        bins[chosen].append(block)
        need[chosen, classes] -= counts
    if alone:
        singles = np.concatenate(alone)
        rest = _spread(
            np.rint(need).astype(np.int64),
            np.bincount(labels[singles], minlength=table.shape[1]),
            num_splits,
        )
        for chosen, part in enumerate(cut_singly(labels[singles], rest, keys[singles])):
            bins[chosen] += [singles[place : place + 1] for place in part]
    if not _bring_every_class(bins, labels, num_splits, len(class_names)):
        bins = _bring_every_class_exactly(bins, labels, num_splits, class_names)
    cut = []
    for blocks_here in bins:
        indices = np.concatenate([np.empty(0, np.intp), *blocks_here]).astype(np.intp)
        cut.append(indices[np.argsort(keys[indices], kind="stable")])
    return cut


def _list_blocks(blocks: NDArray[np.int64], keys: NDArray[np.uint64]) -> list[NDArray[np.intp]]:
    """Return the indices of each block, the largest first, at random where they are as large."""
    order = np.lexsort((keys, blocks))
    starts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    members = np.split(order, starts[1:])
    return sorted(members, key=lambda block: (-len(block), int(keys[block[0]])))


def _spread(
    need: NDArray[np.int64], available: NDArray[np.int64], num_splits: int
) -> NDArray[np.int64]:
    """Make what bins still need (num_bins, num_classes) sum to the images there are.

    Where blocks overfilled a bin, others go short: that of unused images first, then the
    one that needs most.
    """
    table = np.maximum(need, 0)
    for column in np.flatnonzero(table.sum(axis=0) != available):
        surplus = int(table[:, column].sum() - available[column])
        while surplus > 0:
            unused = table[num_splits:, column]
            row = num_splits if unused.any() else int(np.argmax(table[:, column]))
            rest = np.delete(table[:num_splits, column], row) if row < num_splits else [0]
            # Down to the next largest at most, so that no bin bears all of it.
            step = min(surplus, max(1, int(table[row, column] - max(rest, default=0))))
            step = min(step, int(table[row, column]))
            table[row, column] -= step
            surplus -= step
    return table


def _bring_every_class(
    bins: list[list[NDArray[np.intp]]],
    labels: NDArray[np.int32],
    num_splits: int,
    num_classes: int,
) -> bool:
    """Move the smallest blocks until every split has every class; changes `bins`.

    Returns whether that succeeded: where blocks have several classes, moving one at a time may
    lead nowhere though there is a way.
    """
    counts = np.array(
        [
            np.bincount(labels[np.concatenate(part)], minlength=num_classes)
            if part
            else np.zeros(num_classes, np.int64)
            for part in bins
        ]
    )
    for row, column in np.argwhere(counts[:num_splits] == 0):
        if counts[row, column]:
            continue  # A block that was moved for another class brought it.
        best: tuple[int, int, int] | None = None
        for giver, part in enumerate(bins):
            if giver == row or not counts[giver, column]:
                continue
            for place, block in enumerate(part):
                if not np.any(labels[block] == column):
                    continue
                taken = np.bincount(labels[block], minlength=num_classes)
                empties = np.any((taken > 0) & (counts[giver] == taken))
                if giver < num_splits and empties:
                    continue
                if best is None or len(block) < best[0]:
                    best = (len(block), giver, place)
        if best is None:
            return False
        _, giver, place = best
        block = bins[giver].pop(place)
        bins[row].append(block)
        moved = np.bincount(labels[block], minlength=num_classes)
        counts[giver] -= moved
        counts[row] += moved
    return True


def _bring_every_class_exactly(
    bins: list[list[NDArray[np.intp]]],
    labels: NDArray[np.int32],
    num_splits: int,
    class_names: Sequence[str],
) -> list[list[NDArray[np.intp]]]:
    """Find the way to bring every class into every split that moves the fewest images.

    An integer programme: whether a block lies in a bin, one bin for each block, and at least one
    block of each class in each split.

    Raises
    ------
    DataError
        If there is none.
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array, kron

    num_bins = len(bins)
    members = [block for part in bins for block in part]
    home = np.repeat(np.arange(num_bins), [len(part) for part in bins])
    sizes = np.array([len(block) for block in members])
    blocks = np.repeat(np.arange(len(members)), sizes)
    has_class = csr_array(
        (np.ones(sizes.sum()), (labels[np.concatenate(members)], blocks)),
        (len(class_names), len(members)),
    )
    has_class.data[:] = 1  # Entries of several images were summed up.
    in_one_bin = kron(np.ones((1, num_bins)), csr_array(np.eye(len(members))))
    in_each_split = kron(np.eye(num_splits, num_bins), has_class)
    moves = np.where(home == np.arange(num_bins)[:, None], 0, sizes)
    found = milp(
        moves.reshape(-1),
        integrality=np.ones(moves.size),
        bounds=(0, 1),
        constraints=[LinearConstraint(in_one_bin, 1, 1), LinearConstraint(in_each_split, lb=1)],
        # Steps, not seconds: the same cut on every machine.
        options={"node_limit": 100_000},
    )
    if found.x is None:
        raise DataError(
            f"there is no way to cut the images so that each of {num_splits} parts has one of "
            "every class: those that must stay together (by group, and identical ones) join too "
            "many classes; add images, or leave a class out"
        )
    chosen = found.x.reshape(moves.shape).argmax(axis=0)
    return [
        [members[place] for place in np.flatnonzero(chosen == number)] for number in range(num_bins)
    ]


def find_shortages(
    labels: NDArray[np.int32],
    blocks: NDArray[np.int64] | None,
    splits: Sequence[str],
    class_names: Sequence[str],
) -> list[str]:
    """Name the classes that cannot be in each of several splits, and say why.

    Parameters
    ----------
    labels, blocks
        (num,); images of the same block stay together, none do where there are no blocks.
    splits
        The names of what is to be cut.
    class_names
        Of all classes.

    Returns
    -------
    A line for each class, nothing where all have enough.
    """
    needed = f"each of the {len(splits)} splits ({', '.join(splits)}) needs at least one of every"
    counts = np.bincount(labels, minlength=len(class_names))
    independent = count_independent(labels, blocks, len(class_names))
    shortages = []
    for name, count, apart in zip(class_names, counts, independent, strict=True):
        if count < len(splits):
            what = f"{count} image{'s' if count != 1 else ''}"
        elif apart < len(splits):
            what = (
                f"{count} images, of which {apart} {'are' if apart != 1 else 'is'} independent of "
                "the others (identical images, and those of one group, stay together)"
            )
        else:
            continue
        shortages.append(
            f"class '{name}' has {what}, and {needed} class; add images of it, or leave the class "
            "out"
        )
    return shortages


def count_independent(
    labels: NDArray[np.int32], blocks: NDArray[np.int64] | None, num_classes: int
) -> NDArray[np.int64]:
    """Count the images of each class (num_classes,), those that stay together as one."""
    if blocks is not None:
        labels = np.unique(np.stack([labels, blocks]), axis=1)[0]
    return np.bincount(labels, minlength=num_classes)


def round_table(shares: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
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


def place_every_class(table: NDArray[np.int64], num_splits: int) -> None:
    """Return each class an image in each split, keeping all sums; changes `table`.

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
