"""Averaging what a model says over small shifts of the image, as a model of its own.

The layers are stock Keras layers: what is made here is saved, exported and served as any model.
"""

from __future__ import annotations

from typing import Any

from burnish.backend import keras


def average_over_shifts(model: Any, pixels: int) -> Any:
    """Return a model that averages another one's outputs over five views of an image.

    The image itself, and the image shifted by some pixels to each of four sides; what comes in
    from outside is 0, as in augmentation. The models share their weights, and a prediction
    takes five times as long. (Averaging over translations of the image: Krizhevsky, Sutskever &
    Hinton 2012, section 4.1, who cut ten views.)

    Parameters
    ----------
    model
        Takes images of shape (batch, height, width, channels), and gives probabilities.
    pixels
        By how much; at least 1, and less than height and width.

    Raises
    ------
    ValueError
        If nothing of an image would be left.
    """
    height, width, channels = model.input_shape[1:]
    if not 1 <= pixels < min(height, width):
        raise ValueError(f"images of {height}x{width} cannot be shifted by {pixels} pixels")
    inputs = keras.Input((height, width, channels), name="image")
    padded = keras.layers.ZeroPadding2D(pixels, name="margin")(inputs)
    views = [inputs]
    for name, down, right in (("up", 2, 1), ("left", 1, 2), ("right", 1, 0), ("down", 0, 1)):
        rows, columns = ((n * pixels, (2 - n) * pixels) for n in (down, right))
        views.append(keras.layers.Cropping2D((rows, columns), name=f"shifted_{name}")(padded))
    average = keras.layers.Average(name="average")([model(view) for view in views])
    return keras.Model(inputs, average, name=f"{model.name}_averaged")
