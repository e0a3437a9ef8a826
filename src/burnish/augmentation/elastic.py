"""Operation ``elastic``: images are warped smoothly, as writing and tissue differ.

Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks applied to
visual document analysis", section 2. Their field is noise smoothed by a Gaussian; here it is a
cubic B-spline through few random control points, which is as smooth and has few numbers to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Drawn, ImageShape, Operation
from burnish.space import Float, Params, SearchSpace

CONTROL_POINTS = 6
"""Along each side, one of them beyond each border: three pieces of a spline."""


def _draw(
    generator: np.random.Generator, params: Params, num_images: int, image_shape: ImageShape
) -> Drawn:
    """Draw where each control point takes its pixels from, in pixels: all down, then right."""
    most = float(params["elastic_range"])
    drawn: Drawn = generator.uniform(-most, most, (num_images, 2, CONTROL_POINTS**2))
    drawn *= np.array(image_shape[:2])[:, None]
    return drawn.reshape(num_images, -1)


def _weigh_points(size: int) -> NDArray[np.float32]:
    """Return the weight of each control point at each pixel, shape (size, CONTROL_POINTS).

    The uniform cubic B-spline; weights of a pixel sum to 1.
    """
    places = np.linspace(0, CONTROL_POINTS - 3, size)
    distance = np.abs(places[:, None] - np.arange(-1, CONTROL_POINTS - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _apply(images: Any, drawn: Any, params: Params) -> Any:
    import tensorflow as tf

    height, width, channels = images.shape[1:]
    points = tf.reshape(drawn, (-1, 2, CONTROL_POINTS, CONTROL_POINTS))
    # Two small products of matrices give the fields of all images.
    moved = tf.einsum("yp,bcpq,xq->bcyx", _weigh_points(height), points, _weigh_points(width))
    down = tf.range(height, dtype=tf.float32)[:, None] + moved[:, 0]
    right = tf.range(width, dtype=tf.float32) + moved[:, 1]
    top, left = tf.floor(down), tf.floor(right)
    pixels = tf.reshape(images, (-1, height * width, channels))
    result = tf.zeros_like(images)
    for row, part_down in ((top, 1 - (down - top)), (top + 1, down - top)):
        for column, part_right in ((left, 1 - (right - left)), (left + 1, right - left)):
            # From outside an image comes 0, as in all that moves it.
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = tf.where(inside, part_down * part_right, 0.0)
            place = tf.cast(row * width + column, tf.int32)
            place = tf.reshape(tf.where(inside, place, 0), (-1, height * width))
            taken = tf.reshape(tf.gather(pixels, place, batch_dims=1), tf.shape(images))
            result += weight[..., None] * taken
    return result


ELASTIC = Operation(
    name="elastic",
    # How far a control point moves at most, as a share of height and width.
    defaults={"elastic_range": 0.0},
    limits=SearchSpace({"elastic_range": Float(0.0, 0.2)}),
    num_drawn=2 * CONTROL_POINTS**2,
    draw=_draw,
    apply=_apply,
)
