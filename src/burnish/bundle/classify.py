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
from burnish.image_files import IMAGE_SUFFIXES, walk_folders


@dataclass(frozen=True)
class Answer:
    """What a model says of one file: the most probable classes first, or what is wrong.

    An image in which there is nothing to classify has no classes and a ``reason``.
    """

    path: Path
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class FoundImages:
    """The image files that were named, or lie in folders that were.

    Attributes
    ----------
    paths
        To be read, in order.
    refused
        What lies in a folder as an image would and is not read, with the reason: links.
    unread
        Other files, which are not called as images are.
    """

    paths: list[Path]
    refused: list[Answer]
    unread: list[Path]


def find_images(paths: Sequence[Path]) -> FoundImages:
    """Find the named files, and for a folder the images in it and below, sorted by name.

    A folder's images are those that training would read from it.

    Raises
    ------
    DataNotFoundError
        If a folder has no image.
    DataError
        If a folder cannot be read.
    """
    found = FoundImages([], [], [])
    for path in paths:
        if not path.is_dir():
            found.paths.append(path)  # Whether it can be read is found out when it is.
            continue
        inside: list[Path] = []
        refused: list[Answer] = []
        for folder, contents in walk_folders(path):
            inner = path / folder
            inside += [inner / name for name in contents.images]
            refused += [
                Answer(inner / name, error=f"{inner / name} {why}")
                for name, why in contents.refused.items()
            ]
            found.unread.extend(inner / name for name in (*contents.others, *contents.odd))
        if not inside and not refused:
            raise DataNotFoundError(
                f"{path} holds no image: expected files that end in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        found.paths.extend(sorted(inside))
        found.refused.extend(sorted(refused, key=lambda answer: answer.path))
    return found


def classify_files(
    model: Model,
    paths: Sequence[Path],
    *,
    top_k: int = 1,
    batch_size: int = 64,
    max_pixels: int | None = None,
) -> Iterator[Answer]:
    """Predict image files, ``batch_size`` at a time; see `Model.predict` for ``max_pixels``.

    Yields
    ------
    One answer a path, in their order, with the ``top_k`` most probable classes.
    """
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        prepared = [_prepare(model, path, max_pixels) for path in batch]
        good = [image for image in prepared if not isinstance(image, str)]
        rows = iter(_classify(model, np.stack(good), top_k) if good else ())
        for path, image in zip(batch, prepared, strict=True):
            if isinstance(image, str):
                yield Answer(path, error=image)
            else:
                classes = next(rows)
                yield Answer(path, classes, reason=None if classes else NO_INK)


def _prepare(model: Model, path: Path, max_pixels: int | None) -> NDArray[np.uint8] | str:
    try:
        return model.prepare(path, max_pixels)
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
