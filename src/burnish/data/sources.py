"""The sources that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from burnish.data.dataset import LabelledImages
from burnish.errors import BurnishError, DataError, describe_exception
from burnish.registry import Registry


@dataclass(frozen=True)
class Source:
    """Labelled images that are known by a name: a plug point.

    Attributes
    ----------
    name
        For ``source = "..."`` in a study file; the `LabelledImages` bear it too.
    load
        Takes the folder with the user's data, or ``None``, and gives the images.
    """

    name: str
    load: Callable[[Path | None], LabelledImages]


# The modules are imported when first used: a study needs one of them.
def _load_digits(data_dir: Path | None) -> LabelledImages:
    from burnish.data.digits import load_digits

    return load_digits(data_dir)


def _load_mnist(data_dir: Path | None) -> LabelledImages:
    from burnish.data.mnist import load_mnist

    return load_mnist(data_dir)


SOURCES: Registry[Source] = Registry(
    "source", DataError, (Source("digits", _load_digits), Source("mnist", _load_mnist))
)


def load_source(name: str, data_dir: Path | None) -> LabelledImages:
    """Load a source by name.

    Parameters
    ----------
    name
        One of `SOURCES`.
    data_dir
        Where the user keeps data sets, each in a folder of its own name.

    Raises
    ------
    DataNotFoundError
        If its files are neither on this machine nor to be downloaded.
    DataError
        If there is no such source, or its files cannot be used.
    """
    source = SOURCES.find(name)
    try:
        return source.load(data_dir)
    except BurnishError:
        raise
    except Exception as error:  # Whatever a source from outside dies of.
        raise DataError(f"the source '{name}' failed: {describe_exception(error)}") from error
