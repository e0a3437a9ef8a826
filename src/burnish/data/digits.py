"""Source `digits`: the 1,797 scanned digits that come with scikit-learn, 8x8 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    # Here, as scikit-learn takes long to import.
    from sklearn.datasets import load_digits as read_digits

    digits = read_digits()
    images = np.rint(digits.images * (255 / _LARGEST_VALUE)).astype(np.uint8)
    names = ImageNames(NumberedNames("digits", len(images)))
    train = Split(images[..., np.newaxis], digits.target.astype(np.int32), names=names)
    class_names = tuple(str(name) for name in digits.target_names)
    return LabelledImages(
        "digits", train, None, class_names, InputSpec(8, 8, "grey", recipe="digit")
    )
