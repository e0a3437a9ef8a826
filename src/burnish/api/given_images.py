"""Images that a Python program holds, and a data set of them on disk, where a study can read it."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from burnish.api.reading import ReadingKeywords
from burnish.errors import DataNotFoundError
from burnish.files import make_folder

_EXPECTED = (
    "expected an array (num_images, height, width) or (num_images, height, width, channels), a "
    "list of paths, Pillow images or arrays, or a DataFrame with one column of paths"
)


@dataclass(frozen=True)
class WrittenImages:
    """A data set on disk.

    Attributes
    ----------
    path
        Of the file that lists or holds the images.
    reading
        How it is read.
    """

    path: Path
    reading: ReadingKeywords


def take_images(X: Any) -> Any:  # noqa: N803
    """Return images as an array of images, or as a list of paths, Pillow images or arrays.

    Parameters
    ----------
    X
        Images in any form that `ImageClassifier` takes but for rows of pixels.

    Raises
    ------
    ValueError
        If these are no images.
    """
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        if X.shape[1] != 1:
            names = ", ".join(map(str, X.columns))
            raise ValueError(
                f"a DataFrame with the columns {names}; expected one column of paths: X[['path']]"
            )
        X = X.to_numpy()  # noqa: N806
    elif hasattr(X, "to_numpy"):
        X = X.to_numpy()  # noqa: N806
    if isinstance(X, np.ndarray):
        return _take_array(X)
    if isinstance(X, str | bytes | os.PathLike) or not hasattr(X, "__len__"):
        raise ValueError(f"got {type(X).__name__}; {_EXPECTED}")
    images = list(X)
    if images and all(not isinstance(image, str | os.PathLike | Image.Image) for image in images):
        shapes = {np.shape(image) for image in images}
        if len(shapes) == 1:
            return _take_array(np.asarray(images))
        return [np.asarray(image) for image in images]
    return images


def _take_array(array: NDArray[Any]) -> Any:
    if array.dtype.kind in "OUT" and array.ndim in (1, 2):
        if array.ndim == 2 and array.shape[1] != 1:
            raise ValueError(f"got an array of {array.dtype} of shape {array.shape}; {_EXPECTED}")
        return array.ravel().tolist()
    if array.ndim not in (3, 4):
        hint = "; of rows of pixels say image_shape=(height, width)" if array.ndim == 2 else ""
        raise ValueError(f"got an array of shape {array.shape}{hint}; {_EXPECTED}")
    if array.dtype.kind not in "buif":
        raise ValueError(f"got an array of {array.dtype}: pixels are real numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("got pixels that are NaN or infinity (inf); every pixel needs a value")
    return array


def shape_rows(rows: NDArray[Any], image_shape: Sequence[int]) -> NDArray[Any]:
    """Return rows of pixels (num_images, num_pixels) as images.

    Raises
    ------
    ValueError
        If a row has another number of pixels.
    """
    try:
        return rows.reshape(len(rows), *image_shape)
    except ValueError as error:
        raise ValueError(
            f"got rows of {rows.shape[1]} pixels, which are no images of "
            f"image_shape={tuple(image_shape)}"
        ) from error


def name_classes(classes: NDArray[Any]) -> list[str]:
    """Return a name for each class: the class as text, or its number where that is no good name.

    >>> name_classes(np.array(["cat", "dog"])), name_classes(np.array(["a ", "a"]))
    (['cat', 'dog'], ['0', '1'])
    """
    names = [str(label) for label in classes.tolist()]
    tidy = [unicodedata.normalize("NFC", name).strip() for name in names]
    is_good = tidy == names and all(0 < len(name) <= 100 for name in names)
    return names if is_good and len(set(names)) == len(names) else list(map(str, range(len(names))))


def write_images(images: Any, labels: Sequence[str], folder: Path) -> WrittenImages:
    """Write images and their labels into a folder, as a data set that `burnish.run` takes.

    Parameters
    ----------
    images
        As `take_images` returns them.
    labels
        Name of each image's class.
    folder
        Of files that are written over.

    Raises
    ------
    DataNotFoundError
        If a path leads to no file.
    """
    make_folder(folder)
    if isinstance(images, np.ndarray):
        path = folder / "images.npz"
        np.savez(path, x=images, y=np.array(labels))
        return WrittenImages(path, {"format": "npz", "class_case": "keep"})
    paths = [
        _find_file(image)
        if isinstance(image, str | os.PathLike)
        else _write_picture(image, folder / "pictures" / f"{number}.png")
        for number, image in enumerate(images)
    ]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    table = folder / "images.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label"))
        for path, label in zip(paths, labels, strict=True):
            writer.writerow((path.relative_to(root).as_posix(), label))
    # Beside these there may be others, as those that a cross-validation holds out.
    reading: ReadingKeywords = {"image_root": root, "on_bad_image": "skip"}
    return WrittenImages(table, {"format": "csv", "class_case": "keep", **reading})


def _find_file(image: str | os.PathLike[str]) -> Path:
    path = Path(image).absolute()
    if not path.is_file():
        raise DataNotFoundError(f"{image}: there is no such file")
    return path


def _write_picture(image: Any, path: Path) -> Path:
    make_folder(path.parent)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.squeeze(image))
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        picture = picture.convert("RGB")
    picture.save(path)
    return path
