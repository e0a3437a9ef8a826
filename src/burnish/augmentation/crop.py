"""Operation ``crop``: a part of the image, anywhere in it, brought to the image's size."""

from __future__ import annotations

import numpy as np

from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.augmentation.pose import Pose
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw the side as a share of the image's, from 1 - crop_range to 1, and where it lies."""
    side = 1 - generator.uniform(0, float(params["crop_range"]), num_images)
    return np.column_stack([side, generator.uniform(-0.5, 0.5, (num_images, 2))])


def _place(pose: Pose, drawn: Drawn) -> None:
    side, right, down = drawn.T
    pose.linear = pose.linear * side[:, None, None]
    # The middles of the outermost pixels are the ends: half a pixel beyond, there is fill.
    pose.right -= right * (1 - side) / side * (pose.width - 1)
    pose.down -= down * (1 - side) / side * (pose.height - 1)


CROP = Operation(
    name="crop",
    defaults={"crop_range": 0.0},
    limits=SearchSpace({"crop_range": Float(0.0, 0.9)}),
    num_drawn=3,
    draw=_draw,
    place=_place,
    is_always_named=True,
)
