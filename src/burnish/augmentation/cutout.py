"""Operation ``cutout``: a square anywhere in the image becomes the image's mean colour.

DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.augmentation.boxes import NUM_EDGES, draw_boxes, mark_boxes
from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.backend import keras
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    return draw_boxes(generator, np.full(num_images, float(params["cutout_size"])), image_shape)


def _apply(images: Any, drawn: Any, params: Params) -> Any:
    mask = mark_boxes(drawn, images.shape[1], images.shape[2])
    return images * (1 - mask) + mask * keras.ops.mean(images, axis=(1, 2), keepdims=True)


CUTOUT = Operation(
    name="cutout",
    # The side of the square, as a share of the image's: 0.25 is 8 pixels of 32.
    defaults={"cutout_size": 0.0},
    limits=SearchSpace({"cutout_size": Float(0.0, 0.9)}),
    num_drawn=NUM_EDGES,
    draw=_draw,
    apply=_apply,
)
