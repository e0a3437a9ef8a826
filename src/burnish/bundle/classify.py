"""Image files through a finished model, in batches; what cannot be used is named, not fatal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.bundle.model import Model
from burnish.errors import DataNotFoundError, ImageError
from burnish.image import NO_INK

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""What counts as an image in a folder; a file that is named itself may be called anything."""


@dataclass(frozen=True)
class Answer:
    """What a model says of one file: the most probable classes first, or what is wrong.

    An image in which there is nothing to classify has no classes and a ``reason``.
    """

    path: Path
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    reason: str | None = None


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Give the named files, and for a folder the images in it and below, sorted by name.

    Raises
    ------
    DataNotFoundError
        If a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)  # Whether it can be read is found out when it is.
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
        if not inside:
            raise DataNotFoundError(
                f"{path} holds no image: expected files that end in {', '.join(sorted(SUFFIXES))}"
            )
        found += inside
    return found


def classify_files(
    model: Model, paths: Sequence[Path], *, top_k: int = 1, batch_size: int = 64
) -> Iterator[Answer]:
    """Predict image files, ``batch_size`` at a time.

    Yields
    ------
    One answer a path, in their order, with the ``top_k`` most probable classes.
    """
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        prepared = [_prepare(model, path) for path in batch]
        good = [image for image in prepared if not isinstance(image, str)]
        rows = iter(_classify(model, np.stack(good), top_k) if good else ())
        for path, image in zip(batch, prepared, strict=True):
            if isinstance(image, str):
                yield Answer(path, error=image)
            else:
                classes = next(rows)
                yield Answer(path, classes, reason=None if classes else NO_INK)


def _prepare(model: Model, path: Path) -> NDArray[np.uint8] | str:
    try:
        return model.prepare(path)
    except ImageError as error:
        return str(error)


def _classify(
    model: Model, images: NDArray[np.uint8], top_k: int
) -> Iterator[tuple[tuple[str, float], ...]]:
    """Yield the most probable classes of each image; none of one without ink."""
    blank = model.find_blank(images)
    for is_blank, probabilities in zip(blank, model.predict_arrays(images), strict=True):
        yield () if is_blank else _pick(model, probabilities, top_k)


def _pick(
    model: Model, probabilities: NDArray[np.float32], top_k: int
) -> tuple[tuple[str, float], ...]:
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple((model.class_names[index], float(probabilities[index])) for index in best)
