"""Fixed views of training images: the image itself, then augmented ones, the same to every fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.augmentation.operation import Turn
from burnish.data import Split

_STREAM = 0x71E35
"""Keeps what is drawn for views apart from all that is drawn elsewhere."""


class Views:
    """So many views of each image of a split.

    Parameters
    ----------
    augmentation
        What changes an image from its second view on.
    num_views
        How many; the first is the image as it is.
    split
        The images.
    """

    def __init__(self, augmentation: Augmentation, num_views: int, split: Split) -> None:
        self._augmentation = augmentation
        self._split = split
        self.num_views = num_views
        # For all images at once: what is drawn for one does not depend on how they are divided.
        self._drawn = [
            augmentation.draw(
                np.random.default_rng((_STREAM, view)),
                len(split),
                split.image_shape,
                Turn(np.arange(len(split), dtype=np.int32), epoch=view, seed=_STREAM),
            )
            for view in range(1, num_views)
        ]

    def __len__(self) -> int:
        return len(self._split) * self.num_views

    def read(self, first: int, last: int) -> NDArray[np.float32]:
        """Return views by their numbers: all of one image, then all of the next.

        Parameters
        ----------
        first, last
            Which, without the last.

        Returns
        -------
        Pixel values 0-255, shape (last - first, height, width, channels).
        """
        numbers = np.arange(first, last)
        images, views = numbers // self.num_views, numbers % self.num_views
        pixels: NDArray[np.float32] = self._split.read(images).astype(np.float32)
        changed = np.flatnonzero(views)
        if len(changed):
            drawn = np.stack([self._drawn[views[i] - 1][images[i]] for i in changed])
            pixels[changed] = np.asarray(self._augmentation.apply(pixels[changed], drawn))
        return pixels
