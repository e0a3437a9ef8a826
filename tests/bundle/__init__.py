"""What the tests of finished models share: a tiny study on digits, and facts of a bundle."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.bundle import BundleFacts
from burnish.image import InputSpec

STUDY = """
[study]
name = "tiny"
[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }
[training]
batch_size = 32
max_epochs = 3
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = { batch_normalization = true, dropout_rate = 0.1, learning_rate = 0.005 }
[[stage]]
name = "final"
kind = "final"
"""


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content.pop("digest", None)
    return content


def make_facts(**changed: Any) -> BundleFacts:
    facts: dict[str, Any] = {
        "study": "shapes",
        "study_fingerprint": "b" * 64,
        "stage": "cnn-tuned",
        "family": "cnn",
        "params": {"learning_rate": 0.001},
        "spec": InputSpec(32, 24, "rgb"),
        "class_names": ("cat", 'dog: "big"', "Käfer"),
        "source": "folder",
        "data_fingerprint": "a" * 64,
        "validation": {"accuracy": 0.9, "loss": 0.3, "num_images": 50},
        "test": {
            "accuracy": 0.875,
            "loss": 0.40004,
            "num_images": 40,
            "accuracy_interval": [0.74, 0.945],
        },
        "num_parameters": 12345,
        "provenance": {
            "burnish": "0.1.0",
            "keras": "3.15.1",
            "tensorflow": "2.20.0",
            "study_seed": 42,
        },
    }
    return BundleFacts(**{**facts, **changed})


def photograph(
    digit: NDArray[np.uint8],
    random: np.random.Generator,
    *,
    thicker: int = 9,
    uneven: float = 0.0,
    quality: int = 80,
) -> bytes:
    """Draw a digit of MNIST dark on a light page of 400x300, somewhere, as JPEG.

    It is enlarged to 240x240 and its strokes made ``thicker - 1`` pixels wider (of about
    25); ``uneven`` darkens the page by that share from one corner to the other, and adds noise.
    """
    large = Image.fromarray(digit).resize((240, 240), Image.Resampling.BICUBIC)
    page = Image.new("L", (400, 300))
    corner = int(random.integers(0, 161)), int(random.integers(0, 61))
    page.paste(Image.fromarray(_widen(np.asarray(large), thicker)), corner)
    values = 255.0 - np.asarray(page)
    if uneven:
        values *= np.linspace(1, 1 - uneven / 2, 400) * np.linspace(1, 1 - uneven / 2, 300)[:, None]
        values = 0.9 * values + random.normal(0, 4, values.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _widen(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Give each pixel the largest value around it, as Pillow's slow ``MaxFilter`` does."""
    padded = np.pad(pixels, size // 2, mode="edge")
    rows = np.maximum.reduce([padded[y : y + len(pixels)] for y in range(size)])
    width = pixels.shape[1]
    widest: NDArray[np.uint8] = np.maximum.reduce([rows[:, x : x + width] for x in range(size)])
    return widest
