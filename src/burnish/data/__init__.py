"""Labelled images: the sources they come from, and the splits they are cut into.

    raw = load_source("digits", data_dir=None)
    dataset, test = prepare(raw, SplitSizes(train=0.6, val=0.2, test=0.2), seed=42)

A new source is one new file and one `register_source`; its test calls
`burnish.data.conformance.check_source`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from burnish.data.dataset import Dataset, LabelledImages, SealedTest
from burnish.data.split import Split
from burnish.data.splitting import SplitSizes, prepare
from burnish.errors import BurnishError, DataError, describe_exception, name_what_exists

__all__ = [
    "Dataset",
    "LabelledImages",
    "SealedTest",
    "Source",
    "Split",
    "SplitSizes",
    "load_source",
    "prepare",
    "register_source",
    "source_names",
]

Source: TypeAlias = Callable[[Path | None], LabelledImages]
"""Takes the folder with the user's data, or None, and gives labelled images."""

_sources: dict[str, Source] = {}


def register_source(name: str, load: Source) -> None:
    """Make a source known under a name, for ``source = "..."`` in a study file.

    Parameters
    ----------
    name : str
        Not taken yet.
    load : callable
        Takes ``data_dir: Path | None`` and gives `LabelledImages`.

    Raises
    ------
    DataError
        If the name is taken.

    """
    if name in _sources:
        raise DataError(f"source '{name}' is registered already; choose another name")
    _sources[name] = load


def source_names() -> tuple[str, ...]:
    """List the names of all registered sources, sorted."""
    return tuple(sorted(_sources))


def load_source(name: str, data_dir: Path | None) -> LabelledImages:
    """Load a source by name.

    Parameters
    ----------
    name : str
        One of `source_names`.
    data_dir : Path or None
        Where the user keeps data sets, each in a folder of its own name.

    Raises
    ------
    DataNotFoundError
        If its files are neither on this machine nor to be downloaded.
    DataError
        If there is no such source, or its files cannot be used.

    """
    if name not in _sources:
        raise DataError(name_what_exists("source", name, _sources))
    try:
        return _sources[name](data_dir)
    except BurnishError:
        raise
    except Exception as error:  # Whatever a source from outside dies of.
        raise DataError(f"the source '{name}' failed: {describe_exception(error)}") from error


# The modules are imported when first used: a study needs one of them.
def _load_digits(data_dir: Path | None) -> LabelledImages:
    from burnish.data.digits import load_digits

    return load_digits(data_dir)


def _load_mnist(data_dir: Path | None) -> LabelledImages:
    from burnish.data.mnist import load_mnist

    return load_mnist(data_dir)


register_source("digits", _load_digits)
register_source("mnist", _load_mnist)
