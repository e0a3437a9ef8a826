"""A NumPy pair: images and labels that are in memory already.

listing = list_arrays(images, labels, class_names=("cat", "dog"))
raw = load_listing(listing)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.classes import number_classes
from burnish.data.formats.listing import (
    ArrayImages,
    Listing,
    Stamped,
    list_some,
    sort_naturally,
    split_of,
)
from burnish.data.formats.options import ClassCase
from burnish.errors import DataError

_CHANNELS = (1, 2, 3, 4)


def list_arrays(
    images: NDArray[Any],
    labels: NDArray[Any] | Sequence[Any],
    class_names: Sequence[str] | None = None,
    *,
    splits: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    name: str = "arrays",
    class_case: ClassCase = "auto",
) -> Listing:
    """Make a listing of arrays.

    Parameters
    ----------
    images
        (num, height, width) or (num, height, width, channels) with 1 to 4 channels (grey,
        grey and alpha, RGB, RGBA): bytes, truth values, integers or floats. Integers from 0 to
        255 are bytes, unless they are uint16; what others mean says the range of the data set.
    labels
        (num,) integers from 0, or names.
    class_names
        What each integer means; by default the integer itself.
    splits
        ``train``, ``val`` or ``test`` of each image.
    groups
        What must not straddle splits, of each image.
    name
        Of the data set, for people.
    class_case
        See `burnish.data.formats.classes`.

    Raises
    ------
    DataError
        If a shape or a dtype is another, or the counts differ.
    """
    block = check_images(name, "images", images)
    digest = hashlib.sha256(f"{block.dtype}{block.shape}".encode())
    for first in range(0, len(block), 1024):
        digest.update(np.ascontiguousarray(block[first : first + 1024]).data)
    return list_blocks(
        "arrays",
        name,
        {"images": block},
        [_to_array(name, labels)],
        class_names,
        digest.hexdigest(),
        splits=splits,
        groups=None if groups is None else [str(group) for group in groups],
        class_case=class_case,
    )


def _to_array(where: str, labels: NDArray[Any] | Sequence[Any]) -> NDArray[Any]:
    try:
        return np.asarray(labels)
    except ValueError as error:
        raise DataError(
            f"{where}: labels are lists of different lengths; expected one label for each image"
        ) from error


def list_blocks(
    format_name: str,
    name: str,
    blocks: dict[str, NDArray[Any]],
    labels: Sequence[NDArray[Any]],
    class_names: Sequence[str] | None,
    stamp: Stamped | str,
    *,
    splits: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    suspicious: tuple[str, ...] = (),
    class_case: ClassCase = "auto",
) -> Listing:
    """Make a listing of checked arrays of images, by the name of each, and their labels.

    Raises
    ------
    DataError
        If labels are no classes, or there are more or fewer than images.
    """
    blocks = _bring_to_bytes(blocks)
    words: list[str] = []
    for (block_name, block), numbers in zip(blocks.items(), labels, strict=True):
        names = _name_labels(name, block_name, numbers, class_names)
        if len(names) != len(block):
            raise DataError(
                f"{name}: {block_name} has {len(block)} images and {len(names)} labels; expected "
                "as many of one as of the other"
            )
        words += names
    unused = sorted(set(class_names or ()) - set(words))
    classes = number_classes(name, words, class_case)
    for what, values in (("splits", splits), ("groups", groups)):
        if values is not None and len(values) != len(words):
            raise DataError(
                f"{name}: has {len(words)} images and {len(values)} {what}; expected one for each"
            )
    return Listing(
        format_name,
        name,
        classes.names,
        classes.labels,
        [f"{key}[{i}]" for key, block in blocks.items() for i in range(len(block))],
        ArrayImages(tuple(blocks.values())),
        stamp,
        splits=None if splits is None else _check_splits(name, splits),
        groups=None if groups is None else tuple(groups),
        suspicious=(
            *suspicious,
            *(f"class '{name}' is named, but has no image" for name in sort_naturally(unused)),
        ),
        notes=classes.notes,
    )


def check_images(where: str, name: str, images: object) -> NDArray[Any]:
    """Return images of numbers, in a shape that is read; mapped files stay mapped.

    Raises
    ------
    DataError
        Says what was found, what is expected, and how to bring it there.
    """
    expected = "expected (num, height, width) or (num, height, width, 1 to 4 channels)"
    if not isinstance(images, np.ndarray):
        raise DataError(f"{where}: {name} is a {type(images).__name__}; expected a NumPy array")
    if images.ndim not in (3, 4) or images.size == 0:
        remedy = ""
        if images.ndim == 2 and images.size:
            remedy = "; reshape it to (num, height, width)"
        raise DataError(f"{where}: {name} has shape {images.shape}; {expected}{remedy}")
    if images.ndim == 4 and images.shape[3] not in _CHANNELS:
        first = images.shape[1] in _CHANNELS
        remedy = "; bring channels to the end with .transpose(0, 2, 3, 1)" if first else ""
        raise DataError(f"{where}: {name} has shape {images.shape}; {expected}{remedy}")
    if images.dtype.kind in "biuf" and images.dtype.itemsize <= 8:
        return images
    raise DataError(
        f"{where}: {name} has dtype {images.dtype}; expected integers or real numbers, such as "
        "uint8, uint16 or float32"
    )


def _bring_to_bytes(blocks: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Make bytes of integers that were bytes once: where all lie between 0 and 255.

    Of uint16 they are not: an image of 16 bits may be dark.
    """
    if any(block.dtype.kind == "f" or block.dtype.itemsize == 2 for block in blocks.values()):
        return blocks
    others = {
        name: block
        for name, block in blocks.items()
        if block.dtype.kind in "iu" and block.dtype != np.uint8
    }
    if any(block.min() < 0 or block.max() > 255 for block in others.values()):
        return blocks
    return blocks | {name: block.astype(np.uint8) for name, block in others.items()}


def _name_labels(
    where: str, block_name: str, labels: NDArray[Any], class_names: Sequence[str] | None
) -> list[str]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        remedy = (
            "; of one column per class make it with .argmax(axis=1)" if labels.ndim == 2 else ""
        )
        raise DataError(
            f"{where}: labels of {block_name} have shape {labels.shape}; expected (num,){remedy}"
        )
    if labels.dtype.kind in "US" and class_names is None:
        return _read_names(where, block_name, labels)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{where}: labels of {block_name} have dtype {labels.dtype}; expected integers from 0"
            + (", or names" if class_names is None else ", which class_names explains")
        )
    limit = np.iinfo(np.int64).max if class_names is None else len(class_names)
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if len(wrong):
        named = [f"label {labels[i]} of {block_name}[{i}]" for i in wrong[:5]]
        raise DataError(
            f"{where}: {list_some(named, 5)}; expected "
            + ("0 or more" if class_names is None else f"0 to {limit - 1}, as classes are named")
            + (f" ({len(wrong):,} such labels)" if len(wrong) > 1 else "")
        )
    if class_names is None:
        return [str(number) for number in labels.tolist()]
    return [class_names[number] for number in labels.tolist()]


def _read_names(where: str, block_name: str, labels: NDArray[Any]) -> list[str]:
    if labels.dtype.kind == "U":
        return [str(name) for name in labels]
    try:
        return [bytes(name).decode() for name in labels]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: labels of {block_name} have dtype {labels.dtype} and are not UTF-8 "
            f"({error.reason}); save them as text, of dtype str"
        ) from error


def _check_splits(where: str, splits: Sequence[str]) -> NDArray[np.str_]:
    meant = {word: split_of(word) for word in set(splits)}
    wrong = sorted(word for word, split in meant.items() if split is None)
    if wrong:
        raise DataError(
            f"{where}: unknown splits {list_some([repr(word) for word in wrong])}; expected train, "
            "val or test"
        )
    return np.array([meant[word] for word in splits], dtype=np.str_)
