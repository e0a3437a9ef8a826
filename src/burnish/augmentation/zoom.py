"""Operation ``zoom``: larger or smaller by a factor, both sides alike."""

from __future__ import annotations

import numpy as np

from burnish.augmentation.operation import Drawn, ImageShape, Operation, draw_symmetric
from burnish.augmentation.pose import Pose
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw factors from 1 - zoom_range to 1 + zoom_range."""
    return 1 + draw_symmetric(generator, float(params["zoom_range"]), num_images)[:, None]


def _place(pose: Pose, drawn: Drawn) -> None:
    pose.linear = pose.linear / drawn[:, :, None]


ZOOM = Operation(
    name="zoom",
    defaults={"zoom_range": 0.0},
    limits=SearchSpace({"zoom_range": Float(0.0, 0.9)}),
    num_drawn=1,
    draw=_draw,
    place=_place,
    draws_when_off=True,
    is_always_named=True,
)
