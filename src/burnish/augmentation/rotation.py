"""Operation ``rotation``: a turn either way around the middle."""

from __future__ import annotations

import numpy as np

from burnish.augmentation.operation import Drawn, ImageShape, Operation, draw_symmetric
from burnish.augmentation.pose import Pose
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw angles in radians."""
    turns = draw_symmetric(generator, float(params["rotation_range"]), num_images)
    return (2 * np.pi * turns)[:, None]


def _place(pose: Pose, drawn: Drawn) -> None:
    cos, sin = np.cos(drawn[:, 0]), np.sin(drawn[:, 0])
    pose.transform(np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1))


ROTATION = Operation(
    name="rotation",
    # The largest turn, as a fraction of a full one: 0.05 is 18 degrees.
    defaults={"rotation_range": 0.0},
    limits=SearchSpace({"rotation_range": Float(0.0, 0.5)}),
    num_drawn=1,
    draw=_draw,
    place=_place,
    draws_when_off=True,
    is_always_named=True,
)
