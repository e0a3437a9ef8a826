"""From what a table writes to the file that it means, never outside of a folder.

A path that leads to a file as it stands is taken as it stands. Otherwise back-slashes count as
slashes, forms of Unicode and the case of a suffix do not count, and a suffix may be missing;
absolute paths may lie within the folder. Each of these only where one file is meant.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.data.formats.listing import list_some
from burnish.errors import DataError
from burnish.image_files import IMAGE_SUFFIXES, is_ignored, is_within

NUM_SAMPLED = 200
"""Paths of a table that are looked for near by."""

MAX_FOLDERS = 200
"""Folders in which they are looked for."""

BACK_SLASHES = "with back-slashes"
ABSOLUTE = "absolute, within the folder"
UNICODE = "in another form of Unicode"
SUFFIX_CASE = "with a suffix in another case"
NO_SUFFIX = "without a suffix"


@dataclass(frozen=True)
class Located:
    """What a path of a table leads to.

    Attributes
    ----------
    path
        Relative to the root; of a file that is not there, as the table has it. None where it
        may not be read.
    real_path, status
        Of the file, links resolved; the status is None where it is not there.
    how
        In what the path is another than the table's.
    kind, detail
        What is wrong, where it may not be read.
    """

    path: str | None
    real_path: str = ""
    status: os.stat_result | None = None
    how: tuple[str, ...] = ()
    kind: str = ""
    detail: str = ""


class Locator:
    """Finds files of a root, in one or several of its folders.

    Parameters
    ----------
    root
        Folder that the paths found are relative to.
    bases
        Folders within it that the table's paths count from, relative to it; nothing outside of
        them is found.
    tops
        Where not empty: the folders of the root that may be entered from it.
    own
        The folder that paths count from which would enter none of them.
    """

    def __init__(
        self, root: Path, bases: Sequence[str] = ("",), tops: Sequence[str] = (), own: str = ""
    ) -> None:
        self.root = root
        self.bases = tuple(bases)
        self._tops = frozenset(map(_normalize, tops))
        self._own = own
        self._real_bases = {base: os.path.realpath(root / base) for base in (*bases, own)}
        self._real_folders: dict[str, str] = {}
        self._names: dict[str, _Names] = {}

    def find(self, written: str) -> Located:
        """Return what a path of the table leads to."""
        bases = [base for base in self.bases if base or self._may_enter(written)]
        found = [self._find_below(base, written) for base in bases or [self._own]]
        there = [one for one in found if one.status is not None or one.path is None]
        if len(there) < 2:
            return there[0] if there else found[0]
        refused = [one for one in there if one.path is None]
        if refused:
            return refused[0]
        return _ambiguous([one.path or "" for one in there])

    def _may_enter(self, written: str) -> bool:
        if not self._tops:
            return True
        parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
        return len(parts) > 1 and _normalize(parts[0]) in self._tops

    def _find_below(self, base: str, written: str) -> Located:
        real_base = self._real_bases[base]
        how: tuple[str, ...] = ()
        path = written
        if os.path.isabs(path) or _is_of_windows(path):  # noqa: PTH117
            folder, name = os.path.split(path)
            real_path = os.path.join(self._resolve(folder), name)  # noqa: PTH118
            if _is_of_windows(path) or not is_within(real_path, real_base):
                return _leaves(self.root / base)
            path, how = os.path.relpath(real_path, real_base), (ABSOLUTE,)
        exact = self._look_at(base, path, how)
        if exact.status is not None or exact.path is None:
            return exact
        if "\\" in path:
            slashed = path.replace("\\", "/")
            turned = self._look_at(base, slashed, (*how, BACK_SLASHES))
            if turned.status is not None or turned.path is None:
                return turned
            path, how = slashed, (*how, BACK_SLASHES)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            return exact
        return self._search(base, parts, how) or exact

    def _look_at(self, base: str, path: str, how: tuple[str, ...]) -> Located:
        """Look at one path, as it stands."""
        folder, name = os.path.split(path)
        real_base = self._real_bases[base]
        # What the path writes, relative to the base, and what that is once links are followed.
        real_folder = self._resolve(os.path.join(real_base, folder))  # noqa: PTH118
        real_path = os.path.join(real_folder, name)  # noqa: PTH118
        status: os.stat_result | None
        try:
            status = os.lstat(real_path)
            if stat.S_ISLNK(status.st_mode) or name in ("", ".", ".."):
                real_path = os.path.realpath(real_path)
                status = os.stat(real_path)  # noqa: PTH116
        except (OSError, ValueError):
            status = None
        if not is_within(real_path, real_base):
            return _leaves(self.root / base)
        return Located(f"{base}/{path}" if base else path, real_path, status, how)

    def _search(self, base: str, parts: Sequence[str], how: tuple[str, ...]) -> Located | None:
        """Look for a file whose path is written in another way; None if there is none."""
        folder = self._real_bases[base]
        taken: list[str] = []
        for place, part in enumerate(parts):
            names = self._list(folder)
            is_last = place == len(parts) - 1
            found, differs = names.find(part, is_file=is_last)
            if len(found) > 1:
                return _ambiguous(["/".join([*taken, name]) for name in found])
            if not found:
                return None
            taken.append(found[0])
            how = (*how, *(word for word in differs if word not in how))
            folder = self._resolve(os.path.join(folder, found[0]))  # noqa: PTH118
        return self._look_at(base, "/".join(taken), how)

    def _resolve(self, folder: str) -> str:
        if folder not in self._real_folders:
            try:
                self._real_folders[folder] = os.path.realpath(folder)
            except (OSError, ValueError):
                self._real_folders[folder] = folder
        return self._real_folders[folder]

    def _list(self, folder: str) -> _Names:
        if folder not in self._names:
            bases = self._real_bases.values()
            inside = any(is_within(folder, base) for base in bases)
            self._names[folder] = _Names(_list_folder(folder) if inside else [])
        return self._names[folder]


class _Names:
    """The names in a folder, to be found in other spellings."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._by_form: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            self._by_form.setdefault(_normalize(name), []).append(name)
            stem, suffix = os.path.splitext(name)  # noqa: PTH122
            if suffix.casefold() in IMAGE_SUFFIXES:
                self._by_stem.setdefault(_normalize(stem), []).append(name)

    def find(self, name: str, *, is_file: bool) -> tuple[list[str], tuple[str, ...]]:
        """Return the names that may be meant, and in what they differ."""
        if name in self._names:
            return [name], ()
        if found := self._by_form.get(_normalize(name)):
            return found, (UNICODE,)
        if not is_file:
            return [], ()
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        if suffix.casefold() in IMAGE_SUFFIXES:
            alike = self._by_stem.get(_normalize(stem), [])
            found = [n for n in alike if n.casefold().endswith(suffix.casefold())]
            return found, (SUFFIX_CASE,)
        return self._by_stem.get(_normalize(name), []), (NO_SUFFIX,)


@dataclass(frozen=True)
class ImagePlace:
    """Where the images of a table lie.

    Attributes
    ----------
    root, bases, tops, own
        As `Locator` takes them.
    is_near
        Whether they were looked for, since no path leads to a file in the table's folder.
    """

    root: Path
    bases: tuple[str, ...] = ("",)
    is_near: bool = False
    tops: tuple[str, ...] = ()
    own: str = ""

    def locator(self) -> Locator:
        """Return what finds files there."""
        return Locator(self.root, self.bases, self.tops, self.own)

    def folders(self) -> tuple[str, ...]:
        """Return the folders that hold the images, relative to the root."""
        return (*self.tops, *(base for base in self.bases if base or not self.tops))


def find_images_near(table: Path, paths: Sequence[str]) -> ImagePlace:
    """Tell where a table's images lie: in its folder, in folders there, or beside it.

    Other folders are only looked into where no path leads to a file, the nearer ones first, and
    never where a path is absolute or has ``..`` in it: such a table is not followed outside.

    Raises
    ------
    DataError
        If the same paths lead to files in several of them.
    """
    folder = table.parent
    step = max(1, len(paths) // NUM_SAMPLED)
    sample = list(dict.fromkeys(paths[::step]))[:NUM_SAMPLED]
    if not sample or not all(map(_is_plain, paths)) or _find_those(Locator(folder), sample):
        return ImagePlace(folder)
    # Of what lies in the folder above itself nothing is taken, only from folders in it.
    deep = [path for path in sample if "/" in path.replace("\\", "/")]
    parent = folder.resolve().parent
    beside = [] if parent == parent.parent else _list_folders(parent, "")
    for root, bases in ((folder, _list_deep(folder)), (parent, ["", *beside])):
        there = {
            base: _find_those(Locator(root, (base,)), sample if base else deep) for base in bases
        }
        there = {base: found for base, found in there.items() if found}
        _refuse_several(table, root, there)
        if 2 * sum(map(len, there.values())) >= len(sample):
            tops = {path.split("/")[0] for path in _name_those(root, there.get("", set()))}
            own = folder.resolve().name if root == parent else ""
            return ImagePlace(root, tuple(there), True, tuple(sorted(tops)), own)
    return ImagePlace(folder)


def _name_those(root: Path, paths: set[str]) -> list[str]:
    """Return files as they are called, without ``./`` and back-slashes."""
    locator = Locator(root)
    found = (locator.find(path).path for path in paths)
    return [os.path.normpath(path) for path in found if path is not None]


def _is_plain(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return parts[0] != "" and ".." not in parts and not _is_of_windows(path)


def _refuse_several(table: Path, root: Path, there: dict[str, set[str]]) -> None:
    seen: dict[str, str] = {}
    for base, found in there.items():
        for path in sorted(found):
            if path in seen:
                names = [str(root / name) for name in (seen[path], base)]
                raise DataError(
                    f"{table}: its images may lie in {' or in '.join(names)}: '{path}' is a file "
                    f"in both. Say which: --image-root {names[0]} (image_root in [data])"
                )
            seen[path] = base


def _find_those(locator: Locator, paths: Sequence[str]) -> set[str]:
    found = ((path, locator.find(path)) for path in paths)
    return {
        path for path, one in found if one.status is not None and stat.S_ISREG(one.status.st_mode)
    }


def _list_deep(folder: Path) -> list[str]:
    """Name the folders in a folder, and those in them."""
    first = _list_folders(folder, "")
    inner = [name for base in first for name in _list_folders(folder, base)]
    return [*first, *inner][:MAX_FOLDERS]


def _list_folders(root: Path, base: str) -> list[str]:
    try:
        with os.scandir(root / base) as entries:
            names = [
                entry.name
                for entry in entries
                if not is_ignored(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [f"{base}/{name}" if base else name for name in sorted(names)][:MAX_FOLDERS]


def _list_folder(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not is_ignored(name))  # noqa: PTH208
    except (OSError, ValueError):
        return []


def _normalize(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _is_of_windows(path: str) -> bool:
    """Whether a path begins with a drive or a server's name, and this is no such system."""
    return os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", path) is not None


def _leaves(folder: Path) -> Located:
    return Located(None, kind=f"leaves the folder {folder}; paths are relative to it")


def _ambiguous(paths: Sequence[str]) -> Located:
    listed = list_some(sorted(paths), 3, " or ")
    return Located(None, kind="could be more than one file", detail=f": {listed}")
