"""Tags of TIFF files by their numbers, and some of their values (TIFF 6.0 and its supplements)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Tag(IntEnum):
    """What is said of an image."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS = 278
    STRIP_COUNTS = 279
    MAX_VALUE = 281
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    EXTRA = 338
    SAMPLE_FORMAT = 339


# Of PHOTOMETRIC.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
# Of COMPRESSION: none, and those that may code differences between neighbours.
RAW = 1
PREDICTED = frozenset((5, 8, 32946, 34925, 50000))
# Of EXTRA: alpha, of colours that are multiplied by it or not.
ASSOCIATED, UNASSOCIATED = 1, 2


def as_tuple(value: Any) -> tuple[int, ...]:
    """Return the numbers of a tag, which may be one."""
    return tuple(int(v) for v in value) if isinstance(value, tuple | list) else (int(value),)
