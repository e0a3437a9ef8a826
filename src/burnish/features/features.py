"""From a data set of images to what a frozen part of a network makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import OPERATIONS, Augmentation
from burnish.data import Dataset, Split
from burnish.data.cache.features import FOLDER, shrink_features
from burnish.data.cache.upkeep import find_limit
from burnish.features.network import FrozenNetwork, describe_runtime
from burnish.features.store import FeatureFile, map_features, writing_to
from burnish.features.views import Views
from burnish.files import find_cache_folder, hash_code, make_folder
from burnish.models.family import FrozenPart
from burnish.space import Params

_CODE = ("augmentation", "features", "models")
"""What the content of a file passes through: whoever changes it would get the old code's."""

IMAGES_AT_ONCE = 16
"""Views that are computed at a time: what they become on the way stays in the processor's cache."""


def compute_features(
    dataset: Dataset,
    part: FrozenPart,
    params: Params,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Return a data set of what a frozen part makes of images, computed unless it is there.

    Parameters
    ----------
    dataset
        The images, not yet cut into folds.
    part
        What is applied to them.
    params
        Hyperparameters of augmentation, by which views differ.
    on_progress
        Told how many views are there, and how many there will be.

    Returns
    -------
    A data set of the same classes, labels and splits. Its rows are float16, of each training image
    ``part.views`` of them, of each validation image one; they lie in a file that is mapped into
    memory.

    Raises
    ------
    DataError
        If the cache cannot be written.
    """
    from filelock import FileLock

    folder = find_cache_folder() / FOLDER
    augmentation = Augmentation(params)
    num_views = part.views if augmentation.is_active else 1
    key = _make_key(dataset, part, augmentation, num_views)
    path = folder / f"{key}.npy"
    num_train = len(dataset.train) * num_views
    num_rows = num_train + len(dataset.val)
    known = map_features(path, num_rows)
    if known is None:
        with writing_to(folder):
            make_folder(folder)
            lock = FileLock(folder / f"{key}.lock")
            lock.acquire()
        try:
            # Whoever waited for the lock finds it there.
            if map_features(path, num_rows) is None:
                _compute(path, dataset, part, augmentation, num_views, on_progress)
                shrink_features(folder, find_limit(folder), keep=path)
        finally:
            lock.release()
        known = map_features(path, num_rows)
        assert known is not None
    return replace(
        dataset,
        train=Split(known[:num_train], np.repeat(dataset.train.labels, num_views)),
        val=Split(known[num_train:], dataset.val.labels, names=dataset.val.names),
        fingerprint=key,
        views=num_views,
        frozen=part.identity,
    )


def _make_key(
    dataset: Dataset, part: FrozenPart, augmentation: Augmentation, num_views: int
) -> str:
    """Name a file by all that its content depends on."""
    said = [hash_code(_CODE), describe_runtime(), dataset.fingerprint, part.identity, num_views]
    if num_views > 1:
        on = [operation for operation in OPERATIONS if operation.is_on(augmentation.params)]
        said += [augmentation.active_params(), [OPERATIONS.origin(op.name) for op in on]]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


def _compute(
    path: Path,
    dataset: Dataset,
    part: FrozenPart,
    augmentation: Augmentation,
    num_views: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Compute and keep what is missing."""
    network = FrozenNetwork(part, path.parent)
    train = Views(augmentation, num_views, dataset.train)
    val = Views(augmentation, 1, dataset.val)
    num_rows = len(train) + len(val)

    def compute(first: int, last: int) -> NDArray[np.float32]:
        pieces = []
        if first < len(train):
            pieces.append(train.read(first, min(last, len(train))))
        if last > len(train):
            pieces.append(val.read(max(0, first - len(train)), last - len(train)))
        return network.run(np.concatenate(pieces))

    shape = compute(0, 1).shape[1:]
    file = FeatureFile(path, (num_rows, *shape))
    file.write(compute, IMAGES_AT_ONCE, on_progress)
