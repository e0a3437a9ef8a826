"""Operation ``color``: brightness, contrast, saturation and hue, as one linear map of colours.

Each of them maps the colours of an image linearly, but for the mean that contrast is about. So
all together are one 3 by 3 matrix and an offset for each image, drawn outside the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Drawn, ImageShape, Operation, draw_symmetric
from burnish.backend import keras
from burnish.space import Float, Params, SearchSpace

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""From red, green and blue to luminance and the plane of colours (NTSC 1953, YIQ)."""

_LUMINANCE = _TO_YIQ[0]


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw matrices, then what is added, then the share of the mean luminance added."""
    brightness, contrast, saturation, hue = (
        draw_symmetric(generator, float(params[f"{name}_range"]), num_images)
        for name in ("color_brightness", "contrast", "saturation", "hue")
    )
    is_grey = generator.random(num_images) < float(params["grey_rate"])
    colors = _turn_colors(np.where(is_grey, 0.0, 1 + saturation), 2 * np.pi * hue)
    matrices = (1 + contrast)[:, None, None] * colors
    return np.column_stack([matrices.reshape(-1, 9), 255 * brightness, -contrast])


def _turn_colors(saturation: NDArray[np.float64], angle: NDArray[np.float64]) -> Any:
    """Return matrices that scale and turn the plane of colours, shape (num_images, 3, 3).

    Luminance and grey stay as they are: the rows of each sum to 1.
    """
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    back = np.round(np.linalg.inv(_TO_YIQ), 12)
    # Without colour, all three are the luminance. Written out, as sums of three outer products:
    # a product of matrices may add in another order on another processor.
    grey = np.outer(np.ones(3), _LUMINANCE)
    same = np.outer(back[:, 1], _TO_YIQ[1]) + np.outer(back[:, 2], _TO_YIQ[2])
    turned = np.outer(back[:, 2], _TO_YIQ[1]) - np.outer(back[:, 1], _TO_YIQ[2])
    return grey + cos[:, None, None] * same + sin[:, None, None] * turned


def _apply(images: Any, drawn: Any, params: Params) -> Any:
    ops = keras.ops
    means = ops.mean(images, axis=(1, 2))
    if images.shape[-1] == 3:
        # One product of matrices for each image takes half the time of sums over channels.
        columns = ops.transpose(ops.reshape(drawn[:, :9], (-1, 3, 3)), (0, 2, 1))
        pixels = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
        changed = ops.reshape(ops.matmul(pixels, columns), ops.shape(images))
        luminance = ops.matmul(means, ops.convert_to_tensor(_LUMINANCE[:, None], "float32"))
    else:
        # Rows sum to the contrast.
        changed = images * ops.reshape(ops.sum(drawn[:, :3], axis=1), (-1, 1, 1, 1))
        luminance = ops.mean(means, axis=1, keepdims=True)
    added = drawn[:, 9:10] + drawn[:, 10:11] * luminance
    return ops.clip(changed + added[:, None, None, :], 0.0, 255.0)


COLOR = Operation(
    name="color",
    # Brightness: what is added at most, as a share of white. Contrast, saturation: by how much
    # their factors differ from 1. Hue: the largest turn, as a fraction of a full one. grey_rate:
    # the share of images that lose their colour. The last three do nothing to grey images.
    defaults={
        "color_brightness_range": 0.0,
        "contrast_range": 0.0,
        "saturation_range": 0.0,
        "hue_range": 0.0,
        "grey_rate": 0.0,
    },
    limits=SearchSpace(
        {
            "color_brightness_range": Float(0.0, 1.0),
            "contrast_range": Float(0.0, 1.0),
            "saturation_range": Float(0.0, 1.0),
            "hue_range": Float(0.0, 0.5),
            "grey_rate": Float(0.0, 1.0),
        }
    ),
    num_drawn=11,
    draw=_draw,
    apply=_apply,
)
