"""The smallest studies that there are, and small sets of images, for tests of the Python layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_digits

TINY: dict[str, Any] = {
    "study": {"name": "tiny", "seed": 1},
    "data": {"source": "digits", "split": {"train": 400, "val": 200, "test": 200}},
    "training": {"max_epochs": 4, "batch_size": 32},
    "stage": [
        {
            "name": "search",
            "kind": "tune",
            "model": "fnn",
            "sampler": "grid",
            "schedule": {"name": "full", "max_epochs": 1},
            "params": {"hidden_layer_size": 32},
            "space": {"learning_rate": [0.003, 0.01]},
        },
        {"name": "final", "kind": "final"},
    ],
}
"""A search of two trials, and the test."""

TINIER: dict[str, Any] = {
    **TINY,
    "stage": [
        {
            "name": "fnn",
            "kind": "train",
            "model": "fnn",
            "params": {"hidden_layer_size": 32, "learning_rate": 0.01},
        },
        {"name": "final", "kind": "final"},
    ],
}
"""One fit, which starts no processes."""


def write_digits(folder: Path, num: int = 120, num_classes: int = 2) -> Path:
    """Write a folder of scanned digits, a folder for each class."""
    digits = load_digits(n_class=num_classes)
    for number in range(num):
        path = folder / f"d{digits.target[number]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype("uint8")).save(path)
    return folder
