"""What an export format is: a plug point. It writes a finished model in another form.

Importing the formats loads neither Keras nor a runtime: each does when it writes or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from burnish.data import Split
from burnish.errors import ExportError

BATCH = 200
"""Images predicted at once; the last batch of a split has fewer, which tries dynamic sizes."""

BATCH_PIXELS = 500 * 28 * 28
"""Most pixels of images predicted at once, so that memory does not grow with their size."""

Images: TypeAlias = NDArray[np.uint8]
Probabilities: TypeAlias = NDArray[np.float32]


def _add_nothing(path: Path, class_names: Sequence[str]) -> None:
    """Leave a format as it is that has no place for names; they stand beside it."""


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """What every format says of itself.

    Attributes
    ----------
    name
        As the command line has it.
    ending
        What is written is by default called after the study, with this ending: ``.onnx``.
    is_folder
        Whether a folder is written; a file must have the ending, for its runtime to know it.
    packages
        That it needs to be installed; a certificate names their versions.
    """

    name: str
    ending: str
    is_folder: bool = False
    packages: tuple[str, ...] = ()

    def versions(self) -> dict[str, str]:
        """Return the versions of what writes it and of what runs it."""
        return {package: version(package) for package in self.packages}

    def refuse_missing(self) -> None:
        """Refuse to go on without what the format needs.

        Raises
        ------
        ExportError
            If a package is not installed.
        """
        try:
            self.versions()
        except PackageNotFoundError as error:
            raise ExportError(
                f"the format {self.name} needs {error.name}: pip install {error.name}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class NetworkFormat(ExportFormat):
    """A format of the network alone.

    Attributes
    ----------
    write
        Takes the saved Keras model's file, the model, and what to write.
    predict
        Takes what was written and a split, and gives probabilities (num_images, num_classes) by
        the format's own runtime: by them the export is certified. ``None`` where nothing runs
        it; such an export needs no images, and says that it is not certified.
    quantize
        Writes it in int8: takes the model, what to write, and images to calibrate with.
    add_class_names
        Puts the names of the classes, in the order of the probabilities, into what was written.
    """

    write: Callable[[Path, Any, Path], None]
    predict: Callable[[Path, Split], Probabilities] | None
    quantize: Callable[[Any, Path, Images], None] | None = None
    add_class_names: Callable[[Path, Sequence[str]], None] = _add_nothing


@dataclass(frozen=True, kw_only=True)
class BundleFormat(ExportFormat):
    """A format of the bundle as a whole, whose contract has the hash of each file.

    Attributes
    ----------
    write
        Takes the bundle's folder, and what to write, whole or not at all.
    """

    write: Callable[[Path, Path], None]


def split_into_batches(split: Split) -> Iterator[NDArray[np.float32]]:
    """Return the images of a split as a network takes them, some at a time."""
    height, width, _ = split.image_shape
    size = max(1, min(BATCH, BATCH_PIXELS // (height * width)))
    for first in range(0, len(split), size):
        yield split.read(slice(first, first + size)).astype(np.float32)


def write_labels(class_names: Sequence[str]) -> str:
    """Return the names of classes as a file of labels: one a line, in the order of the outputs."""
    return "".join(f"{name}\n" for name in class_names)
