"""How the user's own images are read: keywords of `run`, `plan`, `check` and `Study.of_images`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

ClassCase = Literal["auto", "join", "keep"]
LabelsChoice = Literal["top", "deepest"]
MasksChoice = Literal["leave-out", "keep"]
OnBadImage = Literal["fail", "skip"]


class ReadingKeywords(TypedDict, total=False):
    """How images are read; the keys of a study's table ``[data]``, with the same meanings.

    Attributes
    ----------
    format
        ``folder``, ``csv``, ``npz``, ``idx`` or ``parquet``; by default detected.
    group
        Column whose values must not straddle splits (a writer, a patient).
    image_column, label_column
        Columns of a table, where their names do not show it.
    image_root
        Folder that a table's paths start from.
    class_case
        Whether class names that differ only in case are one class.
    labels
        Which level of nested folders names the classes.
    masks
        What becomes of mask images beside their images.
    range
        Values that stand for black and white in images of more than 8 bits, or ``auto``.
    max_pixels
        Larger images are refused.
    on_bad_image
        ``fail`` names all images that cannot be used, ``skip`` goes on without them.
    """

    format: str | None
    group: str | None
    image_column: str | None
    label_column: str | None
    image_root: str | os.PathLike[str] | None
    class_case: ClassCase
    labels: LabelsChoice | None
    masks: MasksChoice | None
    range: Literal["auto"] | Sequence[float]
    max_pixels: int | None
    on_bad_image: OnBadImage


_DEFAULTS: dict[str, Any] = {"class_case": "auto", "range": "auto", "on_bad_image": "fail"}


def list_given(reading: ReadingKeywords) -> dict[str, Any]:
    """Return what was said of the reading of images, without defaults.

    Raises
    ------
    TypeError
        If there is no such keyword.
    """
    unknown = set(reading) - set(ReadingKeywords.__annotations__)
    if unknown:
        known = ", ".join(ReadingKeywords.__annotations__)
        raise TypeError(f"unknown keyword '{min(unknown)}'; of images there are: {known}")
    given: Mapping[str, Any] = reading
    found = {
        key: value
        for key, value in given.items()
        if value is not None and value != _DEFAULTS.get(key)
    }
    if "image_root" in found:
        found["image_root"] = Path(found["image_root"])
    return found
