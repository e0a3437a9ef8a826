"""Operation ``mixup``: each image is blended with another one of its batch.

Zhang et al. 2018, "mixup: beyond empirical risk minimization". The larger share is the image's
own; which of two images that is, is chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.backend import keras
from burnish.space import Float, Params, SearchSpace


def draw_own_shares(
    generator: np.random.Generator, alpha: float, num_images: int
) -> NDArray[np.float64]:
    """Draw how much of each image stays, from 0.5 to 1, of the distribution Beta(alpha, alpha)."""
    shares = generator.beta(alpha, alpha, num_images)
    return np.maximum(shares, 1 - shares)


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    return draw_own_shares(generator, float(params["mixup_alpha"]), num_images)[:, None]


def _mix(images: Any, partners: Any, drawn: Any, params: Params) -> tuple[Any, Any]:
    share = keras.ops.reshape(drawn, (-1, 1, 1, 1))
    return partners + share * (images - partners), drawn[:, 0]


MIXUP = Operation(
    name="mixup",
    # Of the distribution Beta(alpha, alpha) of shares; small: most images stay nearly as they are.
    defaults={"mixup_alpha": 0.0},
    limits=SearchSpace({"mixup_alpha": Float(0.0, 10.0)}),
    num_drawn=1,
    draw=_draw,
    mix=_mix,
)
