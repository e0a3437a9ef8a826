"""What is known of images once they were decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

OnDecoded: TypeAlias = Callable[[int, int], None]
"""Called with the images done so far, and how many there are."""

BY_IMAGE = (
    "heights",
    "widths",
    "modes",
    "digests",
    "levels",
    "have_more_pages",
    "traces",
)
"""Arrays of `Decoded` that have a row for each image."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What is known of each image once it was decoded.

    Attributes
    ----------
    heights, widths
        int32 (num,), of the file, before scaling; 0 for bad images.
    modes
        Pillow's mode of each file (num,), empty for bad images.
    digests
        uint8 (num, 32), SHA-256 of the pixels as they lie in the file of pixels; of images of
        more than 8 bits, of their own values.
    levels
        float64 (num, 5), what `burnish.image.wide.measure` says of images of more than 8 bits; NaN
        for others.
    have_more_pages
        bool (num,), files with further pages, which are not read.
    traces
        float64 (num, 4), what each gives away: `burnish.data.traces.TRACES`; 0 for bad images.
    bad
        Number of each image that cannot be used, and why.
    colored
        Numbers of images that were seen to have colour; of many, some. They are looked for only
        where it was asked.
    """

    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    modes: NDArray[np.str_]
    digests: NDArray[np.uint8]
    levels: NDArray[np.float64]
    have_more_pages: NDArray[np.bool_]
    traces: NDArray[np.float64]
    bad: Mapping[int, str]
    colored: NDArray[np.int64]

    @property
    def has_color(self) -> bool:
        """Whether one of them has colour; looked for only where it was asked."""
        return len(self.colored) > 0

    @property
    def is_wide(self) -> NDArray[np.bool_]:
        """Which images have more than 8 bits, (num,)."""
        return ~np.isnan(self.levels[:, 0])

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """Which images can be used, (num,)."""
        good = np.ones(len(self.heights), dtype=np.bool_)
        good[list(self.bad)] = False
        return good
