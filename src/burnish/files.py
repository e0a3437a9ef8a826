"""Writing files whole or not at all, each with a digest by which damage is found.

They are there after a power cut too.

    name.json     its last entry is ``digest``: SHA-256 of all bytes, with an empty digest
    sealed files  their last line is ``# sha256 of all above: ...``: a comment to whoever reads
                  TOML, and behind the end of an archive (``.npz``) where nobody looks

So every flipped bit and every cut is found when a file is read, whether it hits a figure
or a space.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from burnish.errors import DamageError, RunFolderError, SetupError, show_plainly

DIGEST = "digest"
"""Entry of a JSON file that holds the digest of the others."""

_SEAL = re.compile(rb"# sha256 of all above: ([0-9a-f]{64})\n\Z")

_MEND = (
    "Nothing recorded is lost; free the disk or fix the permission, "
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
    """Return the temporary name of a file that others write; it is then flushed and renamed.

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
    """Return the system's error behind one of a library, or of its clean-up."""
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
    """Move a folder to an unused path; after a power cut it is at one of the two paths at least."""
    make_folder(target.parent)
    source.replace(target)
    sync_folder(target.parent)
    sync_folder(source.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to write, at any depth.

    What belongs to another process that still runs is left alone.
    """
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            found = _TEMPORARY.fullmatch(name)
            if found is None or _runs_elsewhere(int(found[1])):
                continue
            path = Path(parent) / name
            if name in folders:
                folders.remove(name)
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def _runs_elsewhere(pid: int) -> bool:
    """Whether another process of this number is known to run on this machine."""
    return pid != os.getpid() and os.name != "nt" and may_run(pid)


def may_run(pid: int) -> bool:
    """Whether a process of this number runs on this machine; on Windows it may always."""
    if os.name == "nt":  # There, asking would end it.
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # It is there, and somebody else's.
        return True
    return True


def explain_refusal(error: OSError, folder: Path | None = None) -> str | None:
    """Say what a disk refused, and the remedy; ``None`` where it is another kind of error.

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
    """Write a JSON object with its digest, whole or not at all. NaN and infinities are refused."""
    write_whole(path, seal_json(content))


def seal_json(content: Mapping[str, Any]) -> bytes:
    """Return the text of a JSON object, its digest the last entry."""
    entries = {name: value for name, value in content.items() if name != DIGEST}
    text = json.dumps({**entries, DIGEST: ""}, indent=2, ensure_ascii=False, allow_nan=False)
    # A file name that is not text has lone surrogates; JSON has an escape for them.
    unsealed = text.encode(errors="backslashreplace")
    digest = hashlib.sha256(unsealed).hexdigest().encode()
    return unsealed[: -len(_JSON_END)] + digest + _JSON_END + b"\n"


_JSON_END = b'"\n}'


def show_json(content: Any) -> str:
    """Lay out JSON for standard output: readable, with what a terminal would obey escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    if show_plainly(text) == text:
        return text
    # Only within strings are there any; JSON's own escapes are those of ASCII.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that burnish wrote; its digest is checked, and not given.

    Raises
    ------
    DamageError
        If the file is not what was written: not a JSON object, or one that does not
        match its digest, or that has none.
    RunFolderError
        If the file is missing or unreadable.
    """
    try:
        given = path.read_bytes()
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} is missing: is {path.parent} a run folder?") from error
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        content = json.loads(given.decode())
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamageError(f"{path} holds a {type(content).__name__}, not a JSON object")
    if DIGEST not in content:
        raise DamageError(
            f"{path} has no digest: an older burnish wrote it, or it is damaged. "
            "'burnish run' does again what cannot be relied on"
        )
    end = len(_JSON_END) + 1
    head, digest = given[: -64 - end], given[-64 - end : -end]
    found = hashlib.sha256(head + _JSON_END).hexdigest().encode()
    if digest != found or given[-end:] != _JSON_END + b"\n":
        raise _damaged(path)
    del content[DIGEST]
    return content


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file with a last line that holds the digest of all above, whole or not at all."""
    digest = hashlib.sha256(content).hexdigest()
    write_whole(path, content + f"# sha256 of all above: {digest}\n".encode())


def read_sealed(path: Path) -> bytes:
    """Read what :func:`write_sealed` wrote; its last line is checked, and not given.

    Raises
    ------
    DamageError
        If the content does not match its digest, or there is none.
    RunFolderError
        If the file is missing or unreadable.
    """
    try:
        given = path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}") from error
    content = strip_seal(given)
    if content == given:
        raise DamageError(
            f"{path} has no digest in its last line: an older burnish wrote it, or it is "
            "damaged or was edited"
        )
    if hashlib.sha256(content).hexdigest().encode() != given[-65:-1]:
        raise _damaged(path)
    return content


def strip_seal(given: bytes) -> bytes:
    """Leave out the last line that holds a digest, if there is one."""
    found = _SEAL.search(given[-100:])
    return given[: -len(found[0])] if found else given


def _damaged(path: Path) -> DamageError:
    return DamageError(
        f"{path} is damaged, or was edited: it does not match its digest. "
        "'burnish verify' lists all that is damaged, 'burnish run' does it again"
    )


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def hash_code(names: tuple[str, ...]) -> str:
    """SHA-256 of source code of burnish, in hexadecimal.

    Parameters
    ----------
    names
        Paths of modules, and of packages with all that is in them, below the package.
    """
    digest = hashlib.sha256()

    def add(entry: Traversable, name: str) -> None:
        if entry.is_dir():
            for child in sorted(entry.iterdir(), key=lambda c: c.name):
                add(child, f"{name}/{child.name}")
        elif name.endswith(".py"):
            digest.update(name.encode() + b"\0" + entry.read_bytes() + b"\0")

    for name in names:
        add(resources.files("burnish") / name, name)
    return digest.hexdigest()


def find_cache_folder() -> Path:
    """Return where burnish keeps what can be had again, by the custom of the operating system.

    Raises
    ------
    SetupError
        If the user has no home folder and no variable names another.
    """
    import platformdirs

    try:
        return platformdirs.user_cache_path("burnish", appauthor=False)
    except RuntimeError as error:
        variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
        raise SetupError(
            "there is no folder for burnish's cache, where decoded images and downloads are kept: "
            f"this user has no home folder. Set {variable} to the absolute path of a folder that "
            "can be written"
        ) from error
