"""Operation ``flip``: half of the images are mirrored left to right."""

from __future__ import annotations

import numpy as np

from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.augmentation.pose import Pose
from burnish.space import Choice, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    return generator.random(num_images)[:, None]


def _place(pose: Pose, drawn: Drawn) -> None:
    pose.is_mirrored = pose.is_mirrored ^ (drawn[:, 0] < 0.5)


FLIP = Operation(
    name="flip",
    defaults={"horizontal_flip": False},
    limits=SearchSpace({"horizontal_flip": Choice((False, True))}),
    num_drawn=1,
    draw=_draw,
    place=_place,
    only_mirrors=True,
    is_always_named=True,
)
