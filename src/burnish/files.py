"""Writing files whole or not at all, so that they are there after a power cut too."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError

_MEND = (
    "Nothing recorded is lost; free the disk or mend the permission, "
    "then give the same command again."
)

_REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Error numbers by which a disk, and no mistake in the code, refuses."""

_TEMPORARY = re.compile(r"\..*\.(\d+)\.(tmp|export)(\.\w+)?")
"""Names of what is not whole yet: .NAME.PID.tmp, and folders .NAME.PID.export."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    The content goes to a temporary name, is flushed to disk and renamed.

    Raises
    ------
    RunFolderError
        If the file cannot be written; what stood there before still does.
    """
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def written_whole(path: Path, suffix: str = "") -> Iterator[Path]:
    """Give the temporary name of a file that others write; it is then flushed and renamed.

    Parameters
    ----------
    path
        The file; its folder is made where it is missing.
    suffix
        What the temporary name must end with, for writers that go by it.

    Raises
    ------
    RunFolderError
        If the file cannot be written; what stood there before still does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")
    try:
        make_folder(path.parent)
        yield temporary
        flush_all(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        # The clean-up may fail as the write did (a file where a folder is needed).
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        refusal = _find_refusal(error)
        if refusal is None:
            raise
        reason = refusal.strerror or refusal
        raise RunFolderError(f"cannot write {path}: {reason}. {_MEND}") from error


def _find_refusal(error: BaseException) -> OSError | None:
    """Give the system's error behind one of a library, or of its clean-up."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    return found if isinstance(error, Exception) else None


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, with those above it, and flush their entries to disk.

    A folder whose entry was not flushed is lost in a power cut with all that was in it.
    """
    missing = []
    while not folder.is_dir() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)


def move_folder(source: Path, target: Path) -> None:
    """Move a folder to a place that is free; after a power cut it is at one of the two at least."""
    make_folder(target.parent)
    source.replace(target)
    sync_folder(target.parent)
    sync_folder(source.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to write, at any depth.

    What belongs to another process that still runs is left alone.
    """
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            found = _TEMPORARY.fullmatch(name)
            if found is None or _runs_elsewhere(int(found[1])):
                continue
            path = Path(place) / name
            if name in folders:
                folders.remove(name)
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def _runs_elsewhere(pid: int) -> bool:
    """Whether another process of this number runs on this machine."""
    if pid == os.getpid() or os.name == "nt":  # There, os.kill would end it.
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def explain_refusal(error: OSError, folder: Path | None = None) -> str | None:
    """Say what a disk refused, and the mend; ``None`` where it is another kind of error.

    For what others than :func:`write_whole` write, read or remove.

    Parameters
    ----------
    error
        What was raised.
    folder
        Where it happened, if the error itself does not say.
    """
    if error.errno not in _REFUSALS:
        return None
    where = error.filename if error.filename is not None else folder
    return f"{error.strerror or error}{f': {where}' if where is not None else ''}. {_MEND}"


def flush_all(path: Path) -> None:
    """Flush to disk what others wrote: a file, or a folder with all that is below it."""
    if not path.is_dir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    for below in path.iterdir():
        flush_all(below)
    sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, that is renames within it, to disk."""
    if os.name == "nt":  # Windows has no way to flush a folder, and needs none.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all. NaN and infinities are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that burnish wrote.

    Raises
    ------
    RunFolderError
        If the file is missing, unreadable or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} is missing: is {path.parent} a run folder?") from error
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds a {type(content).__name__}, not a JSON object")
    return content


def find_cache_folder() -> Path:
    """Say where burnish keeps what can be had again, by the custom of the operating system."""
    if sys.platform == "win32":
        given, default = os.environ.get("LOCALAPPDATA", ""), "AppData/Local"
    else:
        given, default = os.environ.get("XDG_CACHE_HOME", ""), ".cache"
    # The XDG specification has relative paths ignored.
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / default
    return base / "burnish"
