"""What a fit on frozen features asks for: which file of the cache, of what size, there or not."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from burnish.augmentation import OPERATIONS, Augmentation
from burnish.data import Dataset, Split
from burnish.data.cache.features import FOLDER
from burnish.features.network import describe_runtime
from burnish.features.store import map_features
from burnish.files import find_cache_folder, hash_code
from burnish.models.family import FrozenPart, ImageShape

_CODE = ("augmentation", "features", "models")
"""What the content of a file passes through: whoever changes it would get the old code's."""

_IMITATED = 16
"""Rows of an imitation that differ."""


@dataclass(frozen=True)
class FeatureSet:
    """What a frozen part makes of a data set, in one file of the cache, there or not.

    Attributes
    ----------
    dataset
        The images, not yet cut into folds.
    part
        What is applied to them.
    augmentation
        By which views differ.
    """

    dataset: Dataset
    part: FrozenPart
    augmentation: Augmentation

    @property
    def views(self) -> int:
        """Rows for each training image."""
        return self.part.views if self.augmentation.is_active else 1

    @property
    def num_train_rows(self) -> int:
        """Rows of training images."""
        return len(self.dataset.train) * self.views

    @property
    def num_rows(self) -> int:
        """Rows of all images."""
        return self.num_train_rows + len(self.dataset.val)

    @cached_property
    def key(self) -> str:
        """Names the file by all that its content depends on."""
        said: list[Any] = [hash_code(_CODE), describe_runtime(), self.dataset.fingerprint]
        said += [self.part.identity, self.views]
        if self.views > 1:
            params = self.augmentation.params
            on = [operation for operation in OPERATIONS if operation.is_on(params)]
            said += [
                self.augmentation.active_params(),
                [OPERATIONS.origin(operation.name) for operation in on],
            ]
        return hashlib.sha256(repr(said).encode()).hexdigest()[:32]

    @property
    def path(self) -> Path:
        """The file's place in the user's cache."""
        return find_cache_folder() / FOLDER / f"{self.key}.npy"

    @cached_property
    def row_shape(self) -> ImageShape:
        """Height, width and channels of a row; of a vector (1, 1, length)."""
        shape = self.part.find_shape() if self.part.find_shape else self.part.build().output_shape
        height, width, channels = (1, 1, *shape[1:])[-3:]
        assert height is not None
        assert width is not None
        assert channels is not None
        return height, width, channels

    @property
    def num_bytes(self) -> int:
        """Bytes of the file's rows, in float16."""
        return self.num_rows * math.prod(self.row_shape) * np.dtype(np.float16).itemsize

    def find(self) -> Dataset | None:
        """Return the data set of its rows; ``None`` where the file is not there, or damaged."""
        known = map_features(self.path, self.num_rows)
        if known is None:
            return None
        labels, val = np.repeat(self.dataset.train.labels, self.views), self.dataset.val
        return self._with_splits(
            Split(known[: self.num_train_rows], labels),
            Split(known[self.num_train_rows :], val.labels, names=val.names),
        )

    def imitate(self) -> Dataset:
        """Return a data set like its own whose rows mean nothing: to measure what a fit costs.

        They are a few random ones, again and again, so that they take no memory.
        """
        generator = np.random.default_rng(0)
        stored = generator.random((_IMITATED, *self.row_shape), np.float32).astype(np.float16)
        rows = np.arange(self.num_rows, dtype=np.int64) % _IMITATED
        labels, val = np.repeat(self.dataset.train.labels, self.views), self.dataset.val
        return self._with_splits(
            Split(stored, labels, rows[: self.num_train_rows]),
            Split(stored, val.labels, rows[self.num_train_rows :], val.names),
        )

    def _with_splits(self, train: Split, val: Split) -> Dataset:
        return replace(
            self.dataset,
            train=train,
            val=val,
            fingerprint=self.key,
            views=self.views,
            frozen=self.part.identity,
        )
