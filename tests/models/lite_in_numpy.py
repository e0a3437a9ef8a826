"""EfficientNet-Lite in NumPy, written from its published description, to compare the Keras one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[Any]]
Maps = NDArray[np.float64]

HALVING = (1, 3, 5, 11)
"""Blocks of Lite0 that halve the image's sides."""


def compute_features(weights: Weights, images: NDArray[Any]) -> Maps:
    """Return vectors of 1280 numbers for images of 0-255, shape (num, height, width, 3).

    Weights are those of the file of PyTorch: (channels out, channels in, height, width).
    """
    x = (np.asarray(images, np.float64) - 127) / 128
    x = relu6(normalise(weights, "_bn0", convolve(x, weights["_conv_stem.weight"], 2)))
    for number in itertools.count():
        name = f"_blocks.{number}."
        if f"{name}_project_conv.weight" not in weights:
            break
        before = x
        if f"{name}_expand_conv.weight" in weights:
            x = convolve(x, weights[f"{name}_expand_conv.weight"], 1)
            x = relu6(normalise(weights, f"{name}_bn0", x))
        x = convolve(x, weights[f"{name}_depthwise_conv.weight"], 2 if number in HALVING else 1)
        x = relu6(normalise(weights, f"{name}_bn1", x))
        x = normalise(weights, f"{name}_bn2", convolve(x, weights[f"{name}_project_conv.weight"]))
        x = x + before if x.shape == before.shape else x
    x = relu6(normalise(weights, "_bn1", convolve(x, weights["_conv_head.weight"])))
    return np.asarray(x.mean(axis=(1, 2)))


def convolve(x: Maps, kernel: NDArray[Any], stride: int = 1) -> Maps:
    """Convolve as TensorFlow does with padding 'same'; a kernel of one channel in, by channel."""
    side = kernel.shape[2]
    pads = []
    for length in x.shape[1:3]:
        total = max((-(-length // stride) - 1) * stride + side - length, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    windows = sliding_window_view(padded, (side, side), (1, 2))[:, ::stride, ::stride]
    by_channel = kernel.shape[1] == 1
    how = "nhwcij,cij->nhwc" if by_channel else "nhwcij,ocij->nhwo"
    kernel = np.asarray(kernel, np.float64)
    return np.asarray(
        np.einsum(how, windows, kernel[:, 0] if by_channel else kernel, optimize=True)
    )


def normalise(weights: Weights, name: str, x: Maps) -> Maps:
    """Apply batch normalisation with the statistics that it was trained with."""
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scaled = (x - mean) / np.sqrt(variance.astype(np.float64) + 1e-3)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def relu6(x: Maps) -> Maps:
    """Cut off below 0 and above 6."""
    return np.clip(x, 0, 6)
