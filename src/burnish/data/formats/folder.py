"""Format `folder`: a folder per class.

    root/cat/1.png                     root/train/cat/1.png
    root/dog/2.jpg              or     root/test/dog/2.jpg

Hidden files are ignored. The second layout is taken where all folders at the top are
called as splits are (train, val, test and the like), train is among them, and what they
hold are folders.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from burnish.data.formats.classes import number_classes
from burnish.data.formats.listing import (
    FileImages,
    Listing,
    Stamp,
    is_ignored,
    is_image_name,
    is_within,
    list_some,
    split_of,
)
from burnish.data.formats.options import ClassCase, ListingOptions
from burnish.data.problems import Problem
from burnish.errors import DataError, DataNotFoundError


def detect_folder(path: Path) -> bool:
    """Any folder may be one of images."""
    return path.is_dir()


def read_folder(path: Path, options: ListingOptions) -> Listing:
    """List the images of a folder.

    Raises
    ------
    DataError
        If it is no folder, cannot be read, or holds no folders with images.
    """
    options.refuse_but("folder", "class_case")
    if not path.is_dir():
        raise DataNotFoundError(f"{path}: there is no such folder")
    scan = _Scan(path)
    folders, files = scan.enter("")
    parts = _find_splits(scan, folders)
    if parts is None:
        _refuse_loose(path, folders, files)
        scan.report_unlabelled(files)
        for folder in folders:
            scan.add_class(folder, folder, "")
    else:
        scan.report_unlabelled(files)
        for folder, (split, class_folders, loose) in parts.items():
            scan.report_unlabelled(loose, folder)
            for class_folder in class_folders:
                scan.add_class(f"{folder}/{class_folder}", class_folder, split)
    return scan.finish(options.class_case)


def _refuse_loose(path: Path, folders: list[str], files: list[str]) -> None:
    """Say what is expected where there is nothing that could be a class."""
    if folders:
        return
    if any(is_image_name(name) for name in files):
        raise DataError(
            f"{path}: has images, but no folder per class; expected {path.name}/<class>/<image>, "
            "or give the path of a CSV file with the columns path and label"
        )
    tables = [name for name in files if name.endswith(".csv")]
    if tables:
        raise DataError(f"{path}: has no folders; is {path / tables[0]} meant?")
    raise DataError(
        f"{path}: "
        + ("is empty" if not files else f"has no images, only {list_some(files, 5)}")
        + f"; expected {path.name}/<class>/<image>"
    )


def _find_splits(
    scan: _Scan, folders: list[str]
) -> dict[str, tuple[str, list[str], list[str]]] | None:
    """Give split, class folders and loose files of each split's folder, or None."""
    splits = {folder: split_of(folder) for folder in folders}
    if "train" not in splits.values():
        return None
    given = [split for split in splits.values() if split is not None]
    inside = {folder: scan.enter(folder) for folder in folders if splits[folder]}
    if any(not class_folders for class_folders, _ in inside.values()):
        # Images directly in 'train' and 'test': classes that are called so, if others are too.
        if len(given) == len(folders):
            raise DataError(
                f"{scan.root}: has the folders {', '.join(folders)}, but no folder per class in "
                f"each; expected {scan.root.name}/{folders[0]}/<class>/<image>"
            )
        return None
    if len(given) < len(folders):
        others = [folder for folder, split in splits.items() if split is None]
        raise DataError(
            f"{scan.root}: has the folder {others[0]} beside those of splits "
            f"({', '.join(f for f in folders if splits[f])}); expected either splits or classes, "
            "so move it away"
        )
    for split in set(given):
        alike = [folder for folder in folders if splits[folder] == split]
        if len(alike) > 1:
            raise DataError(
                f"{scan.root}: the folders {' and '.join(alike)} both mean the {split} split; "
                "make them one"
            )
    return {folder: (str(splits[folder]), *inside[folder]) for folder in folders}


class _Scan:
    """Walks the folders, and notes what it finds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._stamp = Stamp(root)
        self._paths: list[str] = []
        self._classes: list[str] = []
        self._splits: list[str] = []
        self._problems: list[Problem] = []
        self._suspicious: list[str] = []

    def enter(self, folder: str) -> tuple[list[str], list[str]]:
        """Give names of folders and of files in a folder, sorted; note links that lead out."""
        folders, files = [], []
        for entry in self._list(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if is_ignored(entry.name) or (entry.is_symlink() and not self._is_safe(path)):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                self._stamp.add(path, entry.stat())
                files.append(entry.name)
            else:
                self._suspicious.append(f"{path}: is no regular file")
        return folders, files

    def add_class(self, folder: str, name: str, split: str) -> None:
        """Take the images of one class's folder."""
        folders, files = self.enter(folder)
        # The message of one deeper folder says enough, however many images are in it.
        self._problems += [
            Problem(
                f"{folder}/{inner}",
                "is a folder within a class",
                f"; expected images directly in {folder}",
            )
            for inner in folders
        ]
        images = [f"{folder}/{file}" for file in files if is_image_name(file)]
        if not images and not folders:
            self._problems.append(Problem(folder, "is a class without images"))
        self._note_unknown(folder, files)
        self._paths += images
        self._classes += [name] * len(images)
        self._splits += [split] * len(images)

    def report_unlabelled(self, files: list[str], folder: str = "") -> None:
        """Note images that lie beside the folders of classes, and other files."""
        prefix = f"{folder}/" if folder else ""
        self._problems += [
            Problem(
                f"{prefix}{file}",
                "is an image without a label, beside the classes' folders",
                is_cause=False,
            )
            for file in files
            if is_image_name(file)
        ]
        self._note_unknown(folder, files)

    def finish(self, class_case: ClassCase) -> Listing:
        """Give what was found."""
        classes = number_classes(str(self.root), self._classes, class_case)
        return Listing(
            "folder",
            self.root.resolve().name,
            classes.names,
            classes.labels,
            self._paths,
            FileImages(self.root, tuple(self._paths)),
            self._stamp.finish(),
            splits=np.array(self._splits) if any(self._splits) else None,
            # A folder may have been entered twice.
            problems=tuple(dict.fromkeys(self._problems)),
            suspicious=tuple(dict.fromkeys(self._suspicious)),
            notes=classes.notes,
        )

    def _list(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"{self.root / folder}: cannot be read ({error.strerror or error})"
            ) from error

    def _is_safe(self, path: str) -> bool:
        target = os.path.realpath(self.root / path)
        if not is_within(target, self._real_root):
            self._problems.append(Problem(path, f"is a link that leaves {self.root}"))
        elif not os.path.exists(target):  # noqa: PTH110
            self._problems.append(Problem(path, "is a link to a file that is not there"))
        elif os.path.isdir(target):  # noqa: PTH112
            self._problems.append(
                Problem(path, "is a link to another folder; its images would be twice")
            )
        else:
            return True
        return False

    def _note_unknown(self, folder: str, files: list[str]) -> None:
        prefix = f"{folder}/" if folder else ""
        self._suspicious += [
            f"{prefix}{file}: is not called as an image is"
            for file in files
            if not is_image_name(file)
        ]
