"""What ``POST /predict`` answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.bundle.model import Model
from burnish.errors import ImageError
from burnish.image import NO_INK, decode
from burnish.serve.limits import Limits, RefusalError

FORMATS = ("PNG", "JPEG")
"""What is decoded, by Pillow's names."""


@dataclass(frozen=True)
class Wishes:
    """What a client asks for: the ``top`` most probable classes, and the picture ``seen``."""

    top: int
    seen: bool


def read_wishes(query: Mapping[str, str], num_classes: int) -> Wishes:
    """Read the query of ``POST /predict``.

    Raises
    ------
    RefusalError
        400 if ``top`` or ``seen`` is not a number within its limits.
    """
    top = query.get("top", str(num_classes))
    # ASCII digits only: int() also takes "1_0", " 1 " and the digits of other scripts.
    if not (top.isascii() and top.isdigit() and len(top) < 9 and int(top) >= 1):
        raise RefusalError(400, f"top={top!r}; expected a whole number of classes, 1 or more")
    seen = query.get("seen", "0")
    if seen not in ("0", "1"):
        raise RefusalError(400, f"seen={seen!r}; expected 0 or 1")
    return Wishes(min(int(top), num_classes), seen == "1")


def prepare_image(model: Model, content: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Bring an image file to what the network takes: uint8 (height, width, channels).

    Raises
    ------
    RefusalError
        400 if the image cannot be decoded or prepared.
    """
    try:
        image = decode(content, max_pixels=limits.pixels, formats=FORMATS)
    except ImageError as error:
        raise RefusalError(400, f"the image {error}") from error
    try:
        return model.prepare(image)
    except ImageError as error:
        raise RefusalError(400, str(error)) from error


def describe_prediction(
    model: Model, image: NDArray[np.uint8], probabilities: NDArray[np.float32], wishes: Wishes
) -> dict[str, Any]:
    """Lay out what the model says of a prepared image.

    Returns
    -------
    ``model``, ``label``, ``probability``, ``classes`` (the most probable first, each with
    ``label`` and ``probability``), and on request ``seen``: the model's input as a PNG. Where
    there is nothing to classify, label and probability are ``None``, there are no classes, and
    there is a ``reason``.
    """
    if model.find_blank(image[np.newaxis])[0]:
        nothing: dict[str, Any] = {
            "model": model.name,
            "label": None,
            "probability": None,
            "classes": [],
        }
        return {**nothing, "reason": NO_INK, **_describe_seen(image, wishes)}
    order = np.argsort(-probabilities, kind="stable")[: wishes.top].tolist()
    values = probabilities.tolist()
    names = model.class_names
    return {
        "model": model.name,
        "label": names[order[0]],
        "probability": values[order[0]],
        "classes": [{"label": names[index], "probability": values[index]} for index in order],
        **_describe_seen(image, wishes),
    }


def _describe_seen(image: NDArray[np.uint8], wishes: Wishes) -> dict[str, Any]:
    if not wishes.seen:
        return {}
    height, width, _ = image.shape
    return {"seen": {"height": height, "width": width, "png": _write_png(image)}}


def _write_png(array: NDArray[np.uint8]) -> str:
    """A prepared image as a ``data:`` address."""
    stream = io.BytesIO()
    pixels = array[:, :, 0] if array.shape[2] == 1 else array
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
