"""What a fit draws at random: from its seed and the epoch alone, so that it can go on anywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.augmentation.operation import Turn
from burnish.data import Dataset
from burnish.training.request import FitRequest

# Names of a fit's independent random streams.
_WEIGHTS, _ORDER, _AUGMENTATION, _VIEWS, _DROPOUT = range(5)


def derive_weights_seed(seed: int) -> int:
    """An independent 32-bit seed for the initial weights of a fit."""
    return int(np.random.SeedSequence((seed, _WEIGHTS)).generate_state(1)[0])


def derive_dropout_seed(seed: int) -> int:
    """An independent 32-bit seed for the dropout of a fit in NumPy."""
    return int(np.random.SeedSequence((seed, _DROPOUT)).generate_state(1)[0])


class EpochDraws:
    """The order of the images in each epoch of a fit, and what happens to them."""

    def __init__(self, request: FitRequest, dataset: Dataset, augmentation: Augmentation) -> None:
        batch_size = request.settings.batch_size
        self._seed = request.seed
        self._augmentation = augmentation
        self._num_images = dataset.num_train
        self._views = dataset.views
        self._image_shape = dataset.image_shape
        self._shape = (math.ceil(self._num_images / batch_size), batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that take every image at least once."""
        return self._shape[0]

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Rows of the train split in each step of an epoch, shape (steps_per_epoch, batch_size).

        Every image once, of its views one at random.

        The last batch is filled up with the first images of the same permutation:
        a batch of a few images would make noise, and of one no batch statistics.
        """
        generator = np.random.default_rng((self._seed, _ORDER, epoch))
        order = generator.permutation(self._num_images).astype(np.int32)
        if self._views > 1:
            chooser = np.random.default_rng((self._seed, _VIEWS, epoch))
            order = order * self._views + chooser.integers(0, self._views, len(order), np.int32)
        return np.resize(order, self._shape)

    def transforms(self, epoch: int) -> NDArray[np.float32] | None:
        """What happens to the same images, shape (steps_per_epoch, batch_size, width)."""
        if not self._augmentation.is_active:
            return None
        generator = np.random.default_rng((self._seed, _AUGMENTATION, epoch))
        turn = Turn(self.order(epoch).ravel(), epoch, self._seed)
        drawn = self._augmentation.draw(generator, len(turn.rows), self._image_shape, turn)
        return drawn.reshape(*self._shape, self._augmentation.width)
