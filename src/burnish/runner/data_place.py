"""Where a run's images are, and whether a run folder is of other images than a study asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.image_files import walk_folders
from burnish.runfolder.store import RunFolder
from burnish.study.data_paths import describe_way, find_data
from burnish.study.schema import DataSection


def describe_place(section: DataSection, run: RunFolder) -> dict[str, str]:
    """Return the paths for the provenance, so that a run is recognized if its project moves.

    Returns
    -------
    ``path`` and ``image_root`` of the user's images, and the relative path to each from the run
    folder (see :func:`burnish.study.data_paths.describe_way`); nothing for a registered source.
    """
    given = {"path": section.path, "image_root": section.image_root}
    return {
        name: value
        for key, path in given.items()
        if path is not None
        for name, value in describe_way(find_data(path, key), run.path, key).items()
    }


def refuse_image_folder(run: RunFolder, section: DataSection) -> None:
    """Refuse a run in the folder of the study's images, or in a subfolder that holds images.

    The run's files would lie among the images, and burnish does not read its own files as images.

    Raises
    ------
    RunFolderError
        If the run folder is such a folder; names it, and says what to do.
    """
    if section.path is None or (run.path / "provenance.json").exists():
        return
    folder, data = run.path.resolve(), find_data(section.path).resolve()
    if folder == data or (
        folder.is_relative_to(data)
        and folder.is_dir()
        and any(contents.images for _, contents in walk_folders(folder))
    ):
        raise RunFolderError(
            f"{run.path} holds the study's images, and a run needs a folder of its own: choose "
            f"another with --out, such as {Path('runs') / 'first'}"
        )


def refuse_other_data(
    run: RunFolder, section: DataSection, take_fingerprint: Callable[[], str]
) -> None:
    """Refuse a run folder with other images than the study's: its model would be replaced.

    The images count as the same if their source or path is the same, absolute or relative to the
    run folder, whatever has changed in them. They also count as the same if their content is.

    Parameters
    ----------
    run
        A run folder, perhaps of an earlier run.
    section
        The study's table ``[data]``.
    take_fingerprint
        Returns the fingerprint of the study's images; called only if their path differs.

    Raises
    ------
    RunFolderError
        If the images differ; names both, and says what to do.
    """
    try:
        before = tomllib.loads(run.read_study())["data"]
        recorded = read_json(run.path / "provenance.json")["data"]
        fingerprint = recorded["fingerprint"]
    except (RunFolderError, ValueError, KeyError):
        return  # Nothing has begun here, or what is damaged is found and named later.
    if _is_same_place(before, recorded, section, run) or take_fingerprint() == fingerprint:
        return
    raise RunFolderError(
        f"{run.path} holds a run on other images ({_show(before)}) than this study's "
        f"({section.source or section.path}), and its model would be replaced: choose another "
        "folder with --out, or give the study a name of its own"
    )


def _is_same_place(
    before: Mapping[str, Any], recorded: Mapping[str, Any], section: DataSection, run: RunFolder
) -> bool:
    if section.path is None:
        return bool(before.get("source") == section.source)
    if before.get("path") is None:
        return False
    if find_data(str(before["path"])).resolve() == find_data(section.path).resolve():
        return True
    here = describe_place(section, run).get("path_from_run")
    return here is not None and here == recorded.get("path_from_run")


def _show(data: Mapping[str, Any]) -> str:
    return str(data.get("source") or data.get("path"))
