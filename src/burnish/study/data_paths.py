"""Paths of the data: in a study file, and in a run that has moved with its project.

In a study file they count from its folder. A run's ``study.toml`` has the whole path of the images,
so that a copy of it runs anywhere on this machine. Its ``provenance.json`` has the way from the run
folder as well: where a project moves as a whole, that way still leads to them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError, StudyError
from burnish.files import read_json
from burnish.study.text import quote


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
            anchored = _without_detours((folder / path).absolute())
            if not is_utf8(str(anchored)):  # Perhaps only a folder that is left again: odd/../a.
                anchored = anchored.resolve()
            refuse_unwritable_path(anchored)
            data[key] = str(anchored)
    return data != before


def _without_detours(path: Path) -> Path:
    """Return a path without ``..``, unless that leads elsewhere, as behind a link to a folder."""
    straight = Path(os.path.normpath(path))
    return straight if straight.resolve() == path.resolve() else path


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
        raise StudyError(f"[data]: {key} = {quote(repr(path))}: no path has a zero byte in it")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StudyError(
            f"[data]: {key} = {quote(repr(path))}: there is no such home folder; write "
            "./~name for a folder that is called so"
        ) from error


def describe_way(path: Path, run: Path, key: str = "path") -> dict[str, str]:
    """Return what provenance records of a path: itself, and the way from the run if there is one.

    Parameters
    ----------
    path
        Of the images.
    run
        The run folder.
    key
        Of the table ``[data]``: the path itself has this name, the way ``<key>_from_run``.
    """
    whole = path.absolute()
    found = {key: str(whole)}
    with suppress(ValueError):  # There is no way from one drive to another.
        found[f"{key}_from_run"] = os.path.relpath(whole, run.absolute())
    return found


def write_path(path: Path, study_file: Path) -> str:
    """Return a path as a study file has it: as seen from there, so that both can be moved."""
    try:
        return os.path.relpath(path.absolute(), study_file.absolute().parent)
    except ValueError:  # There is no way from one drive to another.
        return str(path.absolute())


def find_moved(path: Path, folder: Path, key: str = "path") -> Path:
    """Return where the images of a study file lie now.

    Parameters
    ----------
    path
        Whole path of the images, as the study file has it.
    folder
        The study file's. Where it is the run folder that recorded this path, the images are
        looked for where they lay as seen from there, and only then under their old path.
    key
        As for `describe_way`.
    """
    way = _read_way(folder)
    if way.get(key) != str(path) or f"{key}_from_run" not in way:
        return path
    from_run = Path(os.path.normpath(folder.absolute() / way[f"{key}_from_run"]))
    return from_run if from_run.exists() else path


def _read_way(folder: Path) -> dict[str, Any]:
    provenance = folder / "provenance.json"
    try:
        data = read_json(provenance)["data"] if provenance.exists() else {}
    except (RunFolderError, KeyError):  # Damaged, or not of a run: the path stays as it is.
        return {}
    return data if isinstance(data, dict) else {}
