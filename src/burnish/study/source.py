"""The images that a study's ``[data]`` table asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from burnish.data import LabelledImages, load_source
from burnish.data.load import load_images
from burnish.data.progress import show_decoding
from burnish.errors import DataNotFoundError
from burnish.study.data_paths import find_data
from burnish.study.schema import DataSection


def load_data(
    section: DataSection,
    data_dir: Path | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Load a registered source, or the user's own images.

    Parameters
    ----------
    section
        Names the source or the path, and how it is read.
    data_dir
        Folder with one folder per source.
    on_progress
        Called with images decoded and images in all; by default they are shown on stderr.

    Raises
    ------
    DataNotFoundError
        If it is not there.
    DataError
        If it cannot be used.
    """
    if section.source is not None:
        return load_source(section.source, data_dir)
    path = find_data(section.path or "")
    if on_progress is not None:
        return load_images(path, on_progress=on_progress, **section.reading())
    with show_decoding() as shown:
        return load_images(path, on_progress=shown, **section.reading())


@contextmanager
def absence_explained(section: DataSection) -> Iterator[None]:
    """Say how to name another place where one's own images are not there.

    Raises
    ------
    DataNotFoundError
        As it was raised, with the remedy.
    """
    try:
        yield
    except DataNotFoundError as error:
        if section.path is None:
            raise
        raise DataNotFoundError(
            f"{error}. Where the images have moved, change 'path' in the study file, or add "
            "--set data.path=/their/place"
        ) from error
