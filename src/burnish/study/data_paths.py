"""Paths in a study file: what they count from, and which can be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.errors import StudyError
from burnish.study.moved import find_moved
from burnish.study.text import show_value


def is_utf8(text: str) -> bool:
    """Whether text can be written; what stands on a command line may be other bytes."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def anchor_path(content: dict[str, Any], folder: Path) -> bool:
    """Make relative paths of the data absolute, in place, and bring those that moved up to date.

    Returns whether there was anything to do.
    """
    data = content.get("data")
    if not isinstance(data, dict):
        return False
    before = dict(data)
    for key in ("path", "image_root"):
        path = data.get(key)
        if isinstance(path, str):
            whole = find_data(path, key)
            if whole.is_absolute():
                found = find_moved(whole, folder, key)
                data[key] = path if found == whole else str(found)
                continue
            anchored = (folder / path).absolute()
            if not is_utf8(str(anchored)):  # Perhaps only a folder that is left again: odd/../a.
                anchored = anchored.resolve()
            refuse_unwritable_path(anchored)
            data[key] = str(anchored)
    return data != before


def refuse_unwritable_path(path: Path) -> None:
    """Refuse a path of images that no study file could name.

    Raises
    ------
    StudyError
        If it is not text in UTF-8.
    """
    if not is_utf8(str(path)):
        raise StudyError(
            f"{path}: the path of the images is not text in UTF-8, as a study file and what a run "
            "records are; rename what is not, or make a link to it of another name (ln -s) and "
            "give that"
        )


def find_data(path: str, key: str = "path") -> Path:
    """Return the path of a study's images; ``~`` is somebody's home folder.

    Parameters
    ----------
    path
        As the study has it.
    key
        Of the table ``[data]``, for messages.

    Raises
    ------
    StudyError
        If nobody is called so, or no path has such a name.
    """
    if "\0" in path:
        raise StudyError(f"[data]: {key} = {show_value(repr(path))}: no path has a zero byte in it")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StudyError(
            f"[data]: {key} = {show_value(repr(path))}: there is no such home folder; write "
            "./~name for a folder that is called so"
        ) from error
