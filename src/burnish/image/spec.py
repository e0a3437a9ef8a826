"""What a model takes: the size and colour of its images, and how others are brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from burnish.image.wide import Range

Color: TypeAlias = Literal["grey", "rgb"]
Resize: TypeAlias = Literal["pad", "stretch"]
Recipe: TypeAlias = Literal["plain", "digit"]


@dataclass(frozen=True)
class InputSpec:
    """What a model takes: the size and colour of its images, and how others are brought to it.

    Attributes
    ----------
    height, width
        In pixels.
    color
        ``grey`` (one channel) or ``rgb`` (three).
    resize
        ``pad`` keeps the aspect and fills up with black, ``stretch`` does not.
    recipe
        ``plain``, or ``digit``: light ink on black, cropped, scaled and centred by mass
        as MNIST's digits were (see :func:`burnish.digit.centre_digit`).
    range
        Which values of images of more than 8 bits are black and white; ``None`` where the
        data set had none (see :func:`burnish.image.wide.narrow`).
    """

    height: int
    width: int
    color: Color
    resize: Resize = "pad"
    recipe: Recipe = "plain"
    range: Range | None = None

    @property
    def num_channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.color == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.num_channels
