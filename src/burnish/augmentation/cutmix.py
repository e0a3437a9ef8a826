"""Operation ``cutmix``: a rectangle of each image shows another image of its batch.

Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with localizable
features". The larger share is the image's own; which of two images that is, is chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.augmentation.boxes import NUM_EDGES, draw_boxes, mark_boxes
from burnish.augmentation.mixup import draw_own_shares
from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.space import Float, Params, SearchSpace


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    shares = draw_own_shares(generator, float(params["cutmix_alpha"]), num_images)
    return draw_boxes(generator, np.sqrt(1 - shares), image_shape)


def _mix(images: Any, partners: Any, drawn: Any, params: Params) -> tuple[Any, Any]:
    height, width = images.shape[1:3]
    area = (drawn[:, 1] - drawn[:, 0]) * (drawn[:, 3] - drawn[:, 2])
    mask = mark_boxes(drawn, height, width)
    return images * (1 - mask) + partners * mask, 1 - area / (height * width)


CUTMIX = Operation(
    name="cutmix",
    # Of the distribution Beta(alpha, alpha) of shares; 1: each as likely as another.
    defaults={"cutmix_alpha": 0.0},
    limits=SearchSpace({"cutmix_alpha": Float(0.0, 10.0)}),
    num_drawn=NUM_EDGES,
    draw=_draw,
    mix=_mix,
)
