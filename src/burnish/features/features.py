"""From a data set of images to what a frozen part of a network makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from burnish.data import Dataset
from burnish.data.cache.features import shrink_features
from burnish.data.cache.upkeep import find_limit
from burnish.features.feature_set import FeatureSet
from burnish.features.network import FrozenNetwork
from burnish.features.room import refuse_beyond_limit
from burnish.features.store import FeatureFile, writing_to
from burnish.features.views import Views
from burnish.files import make_folder

IMAGES_AT_ONCE = 16
"""Views that are computed at a time: what they become on the way stays in the processor's cache."""


def compute_features(
    wanted: FeatureSet, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Dataset:
    """Return a data set of what a frozen part makes of images, computed unless it is there.

    Parameters
    ----------
    wanted
        Of which images, and of which part.
    on_progress
        Told how many views are there, and how many there will be.

    Returns
    -------
    A data set of the same classes, labels and splits. Its rows are float16, of each training image
    ``wanted.views`` of them, of each validation image one; they lie in a file that is mapped into
    memory.

    Raises
    ------
    DataError
        If the cache cannot be written, or may not be as large.
    """
    from filelock import FileLock

    folder = wanted.path.parent
    known = wanted.find()
    if known is None:
        with writing_to(folder):
            make_folder(folder)
            lock = FileLock(folder / f"{wanted.key}.lock")
            lock.acquire()
        try:
            # Whoever waited for the lock finds it there.
            if wanted.find() is None:
                _compute(wanted, on_progress)
        finally:
            lock.release()
        known = wanted.find()
        assert known is not None
    return known


def _compute(wanted: FeatureSet, on_progress: Callable[[int, int], None]) -> None:
    """Compute and keep what is missing."""
    path = wanted.path
    limit = find_limit(path.parent)
    refuse_beyond_limit([wanted], limit)
    shrink_features(path.parent, limit, keep=path, num_bytes=wanted.num_bytes)
    network = FrozenNetwork(wanted.part, path.parent)
    file = FeatureFile(path, (wanted.num_rows, *wanted.row_shape))
    file.write(make_rows(wanted, network), IMAGES_AT_ONCE, on_progress)


def make_rows(
    wanted: FeatureSet, network: FrozenNetwork
) -> Callable[[int, int], NDArray[np.float32]]:
    """Return what computes rows, from a first to a last, without that."""
    dataset = wanted.dataset
    train = Views(wanted.augmentation, wanted.views, dataset.train)
    val = Views(wanted.augmentation, 1, dataset.val)

    def compute(first: int, last: int) -> NDArray[np.float32]:
        pieces = []
        if first < len(train):
            pieces.append(train.read(first, min(last, len(train))))
        if last > len(train):
            pieces.append(val.read(max(0, first - len(train)), last - len(train)))
        return network.run(np.concatenate(pieces))

    return compute
