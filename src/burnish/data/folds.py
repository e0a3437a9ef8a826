"""Cross-validation: the train split cut into stratified folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from burnish.data.dataset import Dataset
from burnish.errors import DataError


def refuse_many_folds(dataset: Dataset, num_folds: int, where: str = "") -> None:
    """Refuse folds of which some would lack a class.

    Raises
    ------
    DataError
        Names the class that has fewer training images than there are folds.
    """
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    if counts.min() < num_folds:
        name = dataset.class_names[int(counts.argmin())]
        raise DataError(
            f"{where}class '{name}' has {counts.min()} training images, too few for {num_folds} "
            f"folds; set folds = {counts.min()} or fewer, or add images"
        )


def take_fold(dataset: Dataset, num_folds: int, index: int, seed: int) -> Dataset:
    """Give one fold: its own share of the train split to validate on, the rest to train on.

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
    from sklearn.model_selection import StratifiedKFold

    refuse_many_folds(dataset, num_folds)
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    placeholder = np.zeros(len(dataset.train))
    train, held_out = list(folds.split(placeholder, dataset.train.labels))[index]
    return replace(
        dataset,
        train=dataset.train.take(train),
        val=dataset.train.take(held_out),
        fingerprint=f"{dataset.fingerprint}/fold-{index + 1}-of-{num_folds}-{seed}",
    )
