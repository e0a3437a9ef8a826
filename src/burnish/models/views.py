"""Averaging what a model says over small shifts of the image and its mirror image, as a model.

The layers are stock Keras layers: what is made here is saved, exported and served as any model.
"""

from __future__ import annotations

from typing import Any

from burnish.backend import keras


def average_over_views(model: Any, pixels: int, *, flip: bool = False) -> Any:
    """Return a model that averages another one's outputs over views of an image.

    The image itself, with ``pixels`` also the image shifted by so many to each of four sides
    (what comes in from outside is 0, as in augmentation), and with ``flip`` all of these of the
    mirror image as well. The models share their weights, and a prediction takes as many times as
    long as there are views: 2, 5 or 10. (Averaging over translations and mirror images:
    Krizhevsky, Sutskever & Hinton 2012, section 4.1, who cut ten views.)

    Parameters
    ----------
    model
        Takes images of shape (batch, height, width, channels), and gives probabilities.
    pixels
        By how much images are shifted, less than height and width; 0: not at all.
    flip
        Whether images are mirrored left to right, too.

    Raises
    ------
    ValueError
        If nothing of an image would be left, or there is no second view.
    """
    height, width, channels = model.input_shape[1:]
    lowest = 0 if flip else 1
    if not lowest <= pixels < min(height, width):
        raise ValueError(f"images of {height}x{width} cannot be shifted by {pixels} pixels")
    inputs = keras.Input((height, width, channels), name="image")
    views = [inputs]
    if flip:
        views.append(keras.ops.flip(inputs, axis=2))
    if pixels:
        for suffix, side in zip(("", "_mirrored"), tuple(views), strict=False):
            views += _shift(side, pixels, suffix)
    average = keras.layers.Average(name="average")([model(view) for view in views])
    return keras.Model(inputs, average, name=f"{model.name}_averaged")


def _shift(images: Any, pixels: int, suffix: str) -> list[Any]:
    """Return images shifted to each of four sides, by layers whose names end so."""
    padded = keras.layers.ZeroPadding2D(pixels, name=f"margin{suffix}")(images)
    shifted = []
    for name, down, right in (("up", 2, 1), ("left", 1, 2), ("right", 1, 0), ("down", 0, 1)):
        rows, columns = ((n * pixels, (2 - n) * pixels) for n in (down, right))
        crop = keras.layers.Cropping2D((rows, columns), name=f"shifted_{name}{suffix}")
        shifted.append(crop(padded))
    return shifted
