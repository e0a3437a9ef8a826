"""Writing files whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError, show_plainly


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    The content goes to a temporary name, is flushed to disk and renamed.

    Raises
    ------
    RunFolderError
        If the file cannot be written; what stood there before still does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        # The clean-up may fail as the write did (a file where a folder is needed).
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
        raise RunFolderError(
            f"cannot write {path}: {error.strerror or error}. "
            "Nothing recorded is lost; free the disk or mend the permission, "
            "then give the same command again."
        ) from error


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


def show_json(content: Any) -> str:
    """Lay out JSON for standard output: readable, with what a terminal would obey escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    if show_plainly(text) == text:
        return text
    # Only within strings are there any; JSON's own escapes are those of ASCII.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


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
    except RecursionError as error:
        raise RunFolderError(
            f"{path} cannot be read as JSON: it is nested too deeply; burnish wrote no such file"
        ) from error
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
