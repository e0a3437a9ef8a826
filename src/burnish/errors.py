"""The exceptions that burnish raises on purpose.

    BurnishError
    ├── StudyError            a study file or a --set value cannot be used
    ├── DataError             a data set cannot be used
    │   ├── DataNotFoundError   ... because it is not there
    │   └── ImageError          an image file cannot be used
    ├── RunFolderError        a run folder cannot be read or written
    │   ├── RunBusyError        ... because another process is running in it
    │   └── DamageError         ... because a file in it is not what was written
    ├── TrainingError         a fit could not be finished
    ├── ClusterError          a Ray cluster cannot be reached or used, or is gone
    ├── BundleError           a finished model cannot be loaded or used
    │   └── ExportError         ... or not be written in another format
    ├── ArchiveError          a zip file is none, damaged, or not to be unpacked
    ├── ServeError            the server cannot be started
    ├── PluginError           an installed plug-in cannot be loaded
    └── SetupError            what burnish runs on is too old, or not set up

Each message says what was given, what was expected and what to do. The command
line prints it and exits with code 2; anything else is a bug and keeps its
traceback.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


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


class DamageError(RunFolderError):
    """A file of a run folder is not what was written: damaged, cut off, edited, or older."""


class TrainingError(BurnishError):
    """A fit could not be finished, for example because its loss is not finite."""


class ClusterError(BurnishError):
    """A Ray cluster cannot be reached or used, or is gone."""


class BundleError(BurnishError):
    """A finished model cannot be loaded or used."""


class ExportError(BundleError):
    """A model cannot be written in another format, or would not be the same in it."""


class ArchiveError(BurnishError):
    """A zip file is none, is damaged, or holds what is not to be unpacked."""


class ServeError(BurnishError):
    """The server cannot be started: its address cannot be listened on."""


class PluginError(BurnishError):
    """A plug-in that is installed cannot be loaded."""


class SetupError(BurnishError):
    """What burnish runs on is too old to be used safely, or lacks a setting that it needs."""


def show_plainly(text: str) -> str:
    r"""Show what a terminal would obey or could not print: control characters, lone surrogates.

    Names of files and classes may come from anybody. Line ends stay.

    >>> print(show_plainly("cat" + chr(27) + "[2Jx"))
    cat\x1b[2Jx
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def show_name(name: str) -> str:
    r"""Show a name in one line: as :func:`show_plainly` does, a line end too.

    >>> print(show_name("cat" + chr(10) + chr(0x202E) + "gnp.exe"))
    cat\n\u202egnp.exe
    """
    return show_plainly(name).replace("\n", "\\n")


def shorten(text: str, most: int = 200) -> str:
    """Cut what was given to what a message can show of it.

    >>> shorten("abcdefgh", most=6)
    'abc...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def name_what_exists(what: str, given: str, existing: Iterable[str]) -> str:
    """Say that a name is unknown, which one was probably meant, and which exist.

    >>> name_what_exists("model", "cmn", ["fnn", "cnn"])
    "unknown model 'cmn'; did you mean 'cnn'? There are: cnn, fnn"
    """
    names = sorted(existing)
    given = shorten(given, 80)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"unknown {what} '{given}'{hint} There are: {', '.join(names)}"


def describe_exception(error: BaseException) -> str:
    """Say in one line what was raised, and where, unless burnish raised it on purpose.

    The place is where to look in a plug-in; what burnish says itself needs none.
    """
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, BurnishError) or not frames:
        return said
    last = frames[-1]
    return f"{said} ({Path(last.filename).name}, line {last.lineno}, in {last.name})"
