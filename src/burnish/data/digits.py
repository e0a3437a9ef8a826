"""Source `digits`: the 1,797 scanned digits that come with scikit-learn, 8x8 pixels."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data.dataset import LabelledImages
from burnish.data.names import ImageNames, NumberedNames
from burnish.data.split import Split
from burnish.image import InputSpec

_LARGEST_VALUE = 16


def load_digits(data_dir: Path | None) -> LabelledImages:
    """Return the digits, with pixels scaled from 0..16 to 0..255.

    Parameters
    ----------
    data_dir : Path or None
        Not used: the images come with scikit-learn, and no network is needed.

    Returns
    -------
    LabelledImages
        Images (1797, 8, 8, 1), called ``digits 0`` and so on; no test split of their own.

    """
    values, labels = _read()
    images = np.rint(values * (255 / _LARGEST_VALUE)).astype(np.uint8)
    names = ImageNames(NumberedNames("digits", len(images)))
    train = Split(images.reshape(-1, 8, 8, 1), labels.astype(np.int32), names=names)
    class_names = tuple(str(digit) for digit in range(10))
    return LabelledImages(
        "digits", train, None, class_names, InputSpec(8, 8, "grey", recipe="digit")
    )


def _read() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return 64 values of each image, and its digit."""
    # From its file where that lies as it always has: scikit-learn takes a second to import.
    found = find_spec("sklearn")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as table:
                rows = np.loadtxt(table, delimiter=",")
            return rows[:, :-1], rows[:, -1]
    from sklearn.datasets import load_digits as read_digits

    return read_digits(return_X_y=True)  # type: ignore[no-any-return]
