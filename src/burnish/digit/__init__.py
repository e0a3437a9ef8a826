"""Bringing the picture of a digit to what MNIST's look like.

A photograph of pen on paper, a drawing, a scan: the ink is found, light or dark, cropped,
scaled and centred as the training images were. NumPy and Pillow only.
"""

from burnish.digit.alpha import flatten_drawing
from burnish.digit.recipe import centre_digit

__all__ = ["centre_digit", "flatten_drawing"]
