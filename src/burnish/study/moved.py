"""Where a run's own images lie, when the run has moved with its project.

A run's ``study.toml`` has the whole path of the images, so that a copy of it runs anywhere on
this machine. Its ``provenance.json`` has the way from the run folder as well: where a project
moves as a whole, that way still leads to them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import read_json


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
