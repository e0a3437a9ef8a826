"""The manifest of a folder: ``files.json``, the hash of every file in it.

A stage's is written when all else of it stands, and its ``result.json`` after it: so a
finished stage has one, and whatever of it is damaged, cut off or gone is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from burnish.errors import DamageError, RunFolderError
from burnish.files import hash_file, read_json, read_sealed, write_json

FILE = "files.json"

PICTURES = "pictures.json"
"""The manifest of what the report draws beside a stage's numbers, after the stage has ended."""

DRAWN = {PICTURES, "curve.png", "curve.svg"}
"""What can be drawn again, and is, with every report."""

_FLEETING = {"begun.json", "checkpoint.npz", "result.json", FILE} | DRAWN
"""Files of a stage that are removed when it ends, or have a digest of their own and come last."""


@dataclass(frozen=True)
class Flaw:
    """One file that is not as it was written.

    ``damaged``: it is not what was written; ``missing``: it is gone; ``unreadable``: it may
    not be read, or the disk fails; ``unknown``: burnish wrote no such file. ``detail`` says
    it in words.
    """

    path: Path
    problem: Literal["damaged", "missing", "unreadable", "unknown"]
    detail: str


def write_manifest(folder: Path, **facts: Any) -> None:
    """Write the manifest of all files that stand in a folder, and facts that belong to them."""
    paths = [p for p in walk(folder) if not (p.parent == folder and p.name in _FLEETING)]
    write_json(folder / FILE, {**facts, "files": _hash_files(folder, paths)})


def write_pictures_manifest(folder: Path) -> None:
    """Write the manifest of what the report has drawn in a stage's folder."""
    paths = [folder / name for name in sorted(DRAWN - {PICTURES}) if (folder / name).exists()]
    write_json(folder / PICTURES, {"files": _hash_files(folder, paths)})


def _hash_files(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def walk(folder: Path) -> Iterator[Path]:
    """Return all files below a folder in order, but not what an interrupted write has left."""
    for path in sorted(folder.rglob("*")):
        if not path.name.startswith(".") and not path.is_dir():
            yield path


def check_folder(folder: Path, *, finished: bool) -> list[Flaw]:
    """Read every file of a stage's folder, and give those that are not what was written.

    Parameters
    ----------
    folder
        The folder of a stage, or another that has a manifest.
    finished
        Whether there must be a manifest, with all that stands there in it. Of what has not
        ended, files without a digest are not judged: they are written again.
    """
    found: dict[Path, Flaw] = {}
    known: set[Path] = set()
    for path in walk(folder):
        if path.suffix != ".json":
            continue
        known.add(path)
        try:
            content = read_json(path)
        except RunFolderError as error:
            found[path] = judge(path, error)
            continue
        # Manifests, and the rounds of trials, name files beside them.
        for name, expected in content.get("files", {}).items():
            file = path.parent / name
            known.add(file)
            finding = check_file(file, expected)
            if finding is not None:
                found.setdefault(file, finding)
    if finished and not (folder / FILE).exists():
        detail = f"{folder / FILE} is missing: an older burnish ran the stage, or it was removed"
        found[folder / FILE] = Flaw(folder / FILE, "missing", detail)
    for path in walk(folder):
        if path in known:
            continue
        try:
            _read_unlisted(path)
        except RunFolderError as error:
            found[path] = judge(path, error)
            continue
        if finished and folder / FILE not in found and path.name not in _FLEETING:
            found[path] = Flaw(path, "unknown", f"{path} is none of the files that were written")
    return [found[path] for path in sorted(found)]


def check_file(path: Path, expected: str) -> Flaw | None:
    """Compare a file with its hash."""
    try:
        good = hash_file(path) == expected
    except FileNotFoundError:
        return Flaw(path, "missing", f"{path} is missing")
    except OSError as error:
        return Flaw(path, "unreadable", f"{path} cannot be read: {error.strerror or error}")
    if good:
        return None
    return Flaw(path, "damaged", f"{path} is damaged, or was edited: its hash is another")


def judge(path: Path, error: RunFolderError) -> Flaw:
    """Say of a file that was not read whether it is damaged, or could not be read at all."""
    damaged = isinstance(error, DamageError)
    return Flaw(path, "damaged" if damaged else "unreadable", str(error))


def _read_unlisted(path: Path) -> None:
    """Read a file that stands in no manifest yet, if it has a digest of its own."""
    from burnish.runfolder.predictions import FILE as PREDICTIONS
    from burnish.runfolder.predictions import read_predictions

    if path.suffix == ".npz":
        read_sealed(path)
    elif path.name == PREDICTIONS:
        read_predictions(path)
