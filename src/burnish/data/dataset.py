"""What a source gives, and what stages see: labelled images, in splits that were cut once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from burnish.data.facts import DataFacts
from burnish.data.split import PIECE, Split, check_array, write_shape
from burnish.errors import DataError
from burnish.image import InputSpec

# Goes into every fingerprint; raise it when what is hashed, or how, changes.
_FINGERPRINT_FORMAT = "burnish data 1"


# Stands for what the images' shape says; no model takes images of no pixels.
_BY_SHAPE = InputSpec(0, 0, "grey")


_NO_FACTS = DataFacts()


@dataclass(frozen=True, eq=False)
class IdenticalImages:
    """Images whose pixels are those of another: which, and in which sets.

    Parameters
    ----------
    images : Split
        The images (num,), set after set.
    sets : int64 array (num,)
        Number of the set that each belongs to, from 0.
    splits : text array (num,) or None
        The split that the data came with for each; None where the data brought none.
    is_kept : bool array (num,)
        Whether a study uses the image; others were taken out, as a later split has them too.

    """

    images: Split
    sets: NDArray[np.int64]
    splits: NDArray[np.str_] | None
    is_kept: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """What a source gives: images in which nothing has been held back yet.

    Parameters
    ----------
    source : str
        The source's registered name.
    train : Split
        The images to cut.
    test : Split or None
        The source's own test split, where it has one.
    class_names : tuple of str
        One per class; label `i` means ``class_names[i]``.
    input : InputSpec
        How an image of another size or colour is brought to these; by default padded.
    val : Split or None
        The source's own validation split, where it has one.
    blocks : int64 array (num_train,) or None
        Images of `train` with the same number must stay in the same split.
    facts : DataFacts
        What was found out about the data on the way.
    identical : IdenticalImages or None
        The images whose pixels another image has too, where the source looked for them.

    Raises
    ------
    DataError
        If there are fewer than two classes, names that repeat, labels out of range,
        or images of another shape than the training images.

    """

    source: str
    train: Split
    test: Split | None
    class_names: tuple[str, ...]
    input: InputSpec = _BY_SHAPE
    val: Split | None = None
    blocks: NDArray[np.int64] | None = None
    facts: DataFacts = _NO_FACTS
    identical: IdenticalImages | None = None

    def __post_init__(self) -> None:
        splits = {"train": self.train} | self.given
        _check_classes(self.source, self.class_names, splits)
        _check_blocks(self.blocks, len(self.train))
        object.__setattr__(self, "input", _check_input(self.input, self.train))

    @property
    def given(self) -> dict[str, Split]:
        """The splits beside `train` that the source brings, by name."""
        splits = {"val": self.val, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}


@dataclass(frozen=True, eq=False)
class Dataset:
    """What the stages of a study see: train and val, never test.

    Parameters
    ----------
    source : str
        The source's registered name.
    train, val : Split
    class_names : tuple of str
        Label `i` means ``class_names[i]``.
    fingerprint : str
        SHA-256 (hex) of all pixels, labels and class names and of how they were split,
        the sealed test split included.
    input : InputSpec
        How an image of another size or colour is brought to these; by default padded.
    blocks : int64 array (num_train,) or None
        Images of `train` with the same number must stay in the same fold.
    facts : DataFacts
        What was found out about the data on the way.
    views : int
        Rows of `train` for each training image, one after another: more than 1 only where
        they are what a network made of views of it (`burnish.features`).
    frozen : str
        Identity of the part of a network that made the rows; empty for images.

    Raises
    ------
    DataError
        As for `LabelledImages`.

    """

    source: str
    train: Split
    val: Split
    class_names: tuple[str, ...]
    fingerprint: str
    input: InputSpec = _BY_SHAPE
    blocks: NDArray[np.int64] | None = None
    facts: DataFacts = _NO_FACTS
    views: int = 1
    frozen: str = ""

    def __post_init__(self) -> None:
        _check_classes(self.source, self.class_names, {"train": self.train, "val": self.val})
        _check_blocks(self.blocks, self.num_train)
        if not self.frozen:
            object.__setattr__(self, "input", _check_input(self.input, self.train))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_train(self) -> int:
        """Number of training images, whatever their views."""
        return len(self.train) // self.views

    @property
    def train_labels(self) -> NDArray[np.int32]:
        """Class of each training image (num_train,), whatever its views."""
        return self.train.labels[:: self.views]

    def take_views(self, images: NDArray[np.integer]) -> Split:
        """Pick training images, by their numbers from 0, with all of their views."""
        rows = np.asarray(images)[:, None] * self.views + np.arange(self.views)
        return self.train.take(rows.ravel())


class SealedTest:
    """The test split, which no stage before the final one may look into.

    Only `burnish.evaluation` may call `open`: it writes each reading into the run's
    ledger. A sealed test cannot be pickled or copied, so that no worker process, which
    fits and selects, ever holds one.
    """

    __slots__ = ("_split",)

    def __init__(self, split: Split) -> None:
        self._split = split

    @property
    def num_images(self) -> int:
        """Number of images, which may be known before the seal is broken."""
        return len(self._split)

    def open(self) -> Split:
        """Return the test split. Only `burnish.evaluation` may call this."""
        return self._split

    def __repr__(self) -> str:
        return f"SealedTest(num_images={self.num_images})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a SealedTest cannot be pickled or copied: the test split stays in the process "
            "that prepared it; send the Dataset instead"
        )


def take_fingerprint(
    class_names: tuple[str, ...], splits: dict[str, Split], spec: InputSpec
) -> str:
    """Hash the content and the splits, a piece at a time."""
    head = {
        "format": _FINGERPRINT_FORMAT,
        "class_names": class_names,
        "image_shape": next(iter(splits.values())).image_shape,
        "image_dtype": "uint8",
        "label_dtype": "<i4",
        "num_images": {name: len(split) for name, split in splits.items()},
    } | ({} if spec.range is None else {"range": spec.range})
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode("ascii"))
    for split in splits.values():
        for first in range(0, len(split), PIECE):
            piece = slice(first, first + PIECE)
            pixels = split.stored[piece] if split.rows is None else split.read(piece)
            digest.update(pixels.reshape(-1).data)
        digest.update(split.labels.astype("<i4", copy=False).data)
    return digest.hexdigest()


def _check_input(given: InputSpec, train: Split) -> InputSpec:
    """Return the input's specification, by default what the shape of the images says."""
    height, width, channels = train.image_shape
    if given == _BY_SHAPE:
        # Of other numbers of channels there are no image files, but there may be arrays.
        return InputSpec(height, width, "rgb" if channels == 3 else "grey")
    if given.shape != train.image_shape:
        raise DataError(
            f"images are {write_shape(train.image_shape)}, but their input is "
            f"{write_shape(given.shape)}; give both the same shape"
        )
    return given


def _check_blocks(blocks: NDArray[np.int64] | None, num_train: int) -> None:
    if blocks is not None:
        check_array("blocks", blocks, np.int64, ("num",))
        if len(blocks) != num_train:
            raise DataError(f"got {num_train} training images and {len(blocks)} blocks")


def _check_classes(source: str, class_names: tuple[str, ...], splits: dict[str, Split]) -> None:
    if len(class_names) < 2:
        raise DataError(
            f"source '{source}' has {len(class_names)} classes ({', '.join(class_names)}); "
            "a classifier needs at least two"
        )
    for class_name in class_names:
        if class_names.count(class_name) > 1:
            raise DataError(f"source '{source}' has two classes '{class_name}'; rename one")
    shapes = {name: split.image_shape for name, split in splits.items()}
    if len(set(shapes.values())) > 1:
        written = ", ".join(f"{name} {write_shape(shape)}" for name, shape in shapes.items())
        raise DataError(
            f"source '{source}' has images of different shapes: {written} (height x width x "
            "channels); bring them to one shape"
        )
    for name, split in splits.items():
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(class_names):
            raise DataError(
                f"source '{source}': labels of {name} go from {low} to {high}; expected 0 to "
                f"{len(class_names) - 1}, for {len(class_names)} classes"
            )
