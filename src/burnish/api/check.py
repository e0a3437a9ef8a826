"""``burnish.check``: what is to be said of images before anybody trains on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Unpack

from burnish.api.reading import ReadingKeywords, list_given
from burnish.api.shown import Check
from burnish.api.telling import Teller


def check(
    path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    **reading: Unpack[ReadingKeywords],
) -> Check:
    """Look through images before you train: counts, duplicates, unreadable files, shortcuts.

    Parameters
    ----------
    path
        A folder of labelled images, or a file that lists or holds them.
    out
        Draw a contact sheet per class into this folder.
    reading
        How images are read; see `run`.

    Returns
    -------
    Check
        A dict, which shows itself as ``burnish check`` prints it. Its ``problems`` are empty where
        nothing is wrong; ``classes`` has the name and counts of each; ``warnings`` should be looked
        into.

    Raises
    ------
    BurnishError
        If an option cannot be used. What is wrong with the images is in ``problems``.
    """
    from burnish.data.check import check_data
    from burnish.data.progress import show_decoding

    options: dict[str, Any] = list_given(reading)
    options.pop("on_bad_image", None)
    sheets = None if out is None else Path(out)
    with show_decoding() as on_progress:
        return Check(check_data(Path(path), out=sheets, on_progress=on_progress, **options))


def check_before_run(path: Path, reading: ReadingKeywords, teller: Teller) -> None:
    """Say what is wrong with images that a study takes; what it refuses, it says by itself."""
    if teller.is_quiet:
        return
    found = check(path, **reading)
    if not found["is_refused"] or reading.get("on_bad_image") == "skip":
        teller.show_check(found)
