"""Cross-validation: the train split cut into stratified folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from burnish.data.dataset import Dataset
from burnish.data.stratify import count_independent, cut_in_blocks, draw_keys, round_table
from burnish.errors import DataError

# Keeps the folds apart from every other random choice that starts at the same seed.
_FOLD_STREAM = 0xF01D5


def refuse_many_folds(dataset: Dataset, num_folds: int, where: str = "") -> None:
    """Refuse folds of which some would lack a class.

    Raises
    ------
    DataError
        Names the class that has fewer training images than there are folds, or says that
        images which stay together leave no way.
    """
    what = "training images"
    if dataset.blocks is not None:
        what = "training images that are independent of one another"
    counts = count_independent(dataset.train_labels, dataset.blocks, dataset.num_classes)
    if counts.min() < num_folds:
        name = dataset.class_names[int(counts.argmin())]
        raise DataError(
            f"{where}class '{name}' has {counts.min()} {what}, too few for {num_folds} "
            f"folds; set folds = {counts.min()} or fewer, or add images"
        )
    if dataset.blocks is not None:
        try:
            _cut_in_blocks(dataset, dataset.blocks, num_folds, seed=0)
        except DataError as error:
            raise DataError(f"{where}{num_folds} folds: {error}") from error


def allows_folds(dataset: Dataset, num_folds: int) -> bool:
    """Whether the train split can be cut into so many folds."""
    try:
        refuse_many_folds(dataset, num_folds)
    except DataError:
        return False
    return True


def take_fold(dataset: Dataset, num_folds: int, index: int, seed: int) -> Dataset:
    """Return one fold: its own share of the train split to validate on, the rest to train on.

    Images that belong together (`Dataset.blocks`) are in the same fold.

    The validation split takes no part, so that it can judge what the folds chose.

    Parameters
    ----------
    dataset
        Train and validation splits.
    num_folds, index
        How many folds, and which, from 0.
    seed
        Of the stratified shuffle; the same for all folds of a stage.

    Raises
    ------
    DataError
        If a class has fewer images than there are folds.
    """
    refuse_many_folds(dataset, num_folds)
    if dataset.blocks is None:
        train, held_out = _cut_singly(dataset, num_folds, index, seed)
        blocks = None
    else:
        cut = _cut_in_blocks(dataset, dataset.blocks, num_folds, seed)
        others = np.concatenate([part for place, part in enumerate(cut) if place != index])
        train, held_out = others[np.argsort(_draw_keys(dataset, seed)[others])], cut[index]
        blocks = dataset.blocks[train]
    return replace(
        dataset,
        train=dataset.take_views(train),
        # Of an image that judges there is one view: the image as it is.
        val=dataset.train.take(np.asarray(held_out) * dataset.views),
        blocks=blocks,
        fingerprint=f"{dataset.fingerprint}/fold-{index + 1}-of-{num_folds}-{seed}",
    )


def _cut_singly(
    dataset: Dataset, num_folds: int, index: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    placeholder = np.zeros(dataset.num_train)
    train, held_out = list(folds.split(placeholder, dataset.train_labels))[index]
    return train, held_out


def _cut_in_blocks(
    dataset: Dataset, blocks: NDArray[np.int64], num_folds: int, seed: int
) -> list[NDArray[np.intp]]:
    labels = dataset.train_labels
    sizes = len(labels) // num_folds + (np.arange(num_folds) < len(labels) % num_folds)
    shares = np.outer(sizes, np.bincount(labels, minlength=dataset.num_classes))
    # The last row is that of images not used: none.
    table = np.pad(round_table(shares, len(labels)), ((0, 1), (0, 0)))
    keys = _draw_keys(dataset, seed)
    return cut_in_blocks(labels, blocks, table, keys, num_folds, dataset.class_names)


def _draw_keys(dataset: Dataset, seed: int) -> NDArray[np.uint64]:
    return draw_keys(dataset.num_train, (seed, _FOLD_STREAM))
