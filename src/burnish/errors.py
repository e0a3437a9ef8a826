"""The exceptions that burnish raises on purpose.

    BurnishError
    ├── StudyError            a study file or a --set value cannot be used
    ├── DataError             a data set cannot be used
    │   ├── DataNotFoundError   ... because it is not there
    │   └── ImageError          an image file cannot be used
    ├── RunFolderError        a run folder cannot be read or written
    │   └── RunBusyError        ... because another process is running in it
    ├── TrainingError         a fit could not be finished
    ├── ClusterError          a Ray cluster cannot be reached or used, or is gone
    ├── BundleError           a finished model cannot be loaded or used
    │   └── ExportError         ... or not be written in another format
    └── ServeError            the server cannot be started

Each message says what was given, what was expected and what to do. The command
line prints it and exits with code 2; anything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BurnishError(Exception):
    """Base of every error that burnish raises on purpose."""


class StudyError(BurnishError):
    """A study file, or a value given with ``--set``, cannot be used."""


class DataError(BurnishError):
    """A data set cannot be used."""


class DataNotFoundError(DataError):
    """A data set is neither on this machine nor to be downloaded."""


class ImageError(DataError):
    """An image file cannot be read, decoded or used."""


class RunFolderError(BurnishError):
    """A run folder cannot be read or written."""


class RunBusyError(RunFolderError):
    """Another process is running in this run folder."""


class TrainingError(BurnishError):
    """A fit could not be finished, for example because its loss is not finite."""


class ClusterError(BurnishError):
    """A Ray cluster cannot be reached or used, or is gone."""


class BundleError(BurnishError):
    """A finished model cannot be loaded or used."""


class ExportError(BundleError):
    """A model cannot be written in another format, or would not be the same in it."""


class ServeError(BurnishError):
    """The server cannot be started: its address cannot be listened on."""


def name_what_exists(what: str, given: str, existing: Iterable[str]) -> str:
    """Say that a name is unknown, which one was probably meant, and which exist.

    >>> name_what_exists("model", "cmn", ["fnn", "cnn"])
    "unknown model 'cmn'; did you mean 'cnn'? There are: cnn, fnn"
    """
    names = sorted(existing)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"unknown {what} '{given}'{hint} There are: {', '.join(names)}"
