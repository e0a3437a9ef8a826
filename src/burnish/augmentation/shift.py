"""Operation ``shift``: to a side, up or down; pixels from outside an image are 0."""

from __future__ import annotations

import numpy as np

from burnish.augmentation.operation import Drawn, ImageShape, Operation, draw_symmetric
from burnish.augmentation.pose import Pose
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw shifts to the right and down, in pixels."""
    height, width = image_shape[:2]
    right = width * draw_symmetric(generator, float(params["width_shift_range"]), num_images)
    down = height * draw_symmetric(generator, float(params["height_shift_range"]), num_images)
    return np.stack([right, down], axis=1)


def _place(pose: Pose, drawn: Drawn) -> None:
    pose.right, pose.down = pose.right + drawn[:, 0], pose.down + drawn[:, 1]


SHIFT = Operation(
    name="shift",
    # The largest shift either way, as a fraction of width or height.
    defaults={"width_shift_range": 0.0, "height_shift_range": 0.0},
    limits=SearchSpace(
        {"width_shift_range": Float(0.0, 0.9), "height_shift_range": Float(0.0, 0.9)}
    ),
    num_drawn=2,
    draw=_draw,
    place=_place,
    draws_when_off=True,
    is_always_named=True,
)
