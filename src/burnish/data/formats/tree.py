"""A folder of images and all below it, walked once: what `layout` and `masks` look at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from burnish.data.problems import Problem
from burnish.image_files import walk_folders


@dataclass(eq=False)
class Folder:
    """A folder, with what lies in it and below.

    Attributes
    ----------
    path
        Relative to the folder that was given, whose own is empty.
    images, others
        Names of the files right in it that are called as images are, and that are not.
    folders
        Those right in it, sorted by name.
    problems, suspicious
        Links that are not followed, and what is no file, each with its reason.
    status
        Of each file right in it.
    outputs
        Folders right in it that burnish has written; they are left out.
    """

    path: str
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    folders: list[Folder] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    suspicious: list[str] = field(default_factory=list)
    status: dict[str, os.stat_result] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder; of the one that was given, empty."""
        return self.path.rpartition("/")[2]

    @cached_property
    def num_images(self) -> int:
        """Images in it and below."""
        return len(self.images) + sum(folder.num_images for folder in self.folders)

    @property
    def full(self) -> list[Folder]:
        """Folders right in it that hold images, there or below."""
        return [folder for folder in self.folders if folder.num_images]

    def join(self, name: str) -> str:
        """Return the path of what is called so in it."""
        return f"{self.path}/{name}" if self.path else name

    def walk(self) -> Iterator[Folder]:
        """Return the folder itself and all below it, in order."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def leaves(self) -> list[Folder]:
        """Return the folders, this one or below, that hold images themselves."""
        return [folder for folder in self.walk() if folder.images]

    @property
    def has_outputs_alone(self) -> bool:
        """Whether nothing lies in it, or below, but what burnish has written."""
        if self.images or self.others or self.problems or self.suspicious:
            return False
        return bool(self.outputs or self.folders) and all(
            folder.has_outputs_alone for folder in self.folders
        )

    def output_paths(self) -> list[str]:
        """Return the paths of all folders in it and below that burnish has written."""
        return [folder.join(name) for folder in self.walk() for name in folder.outputs]

    def image_paths(self) -> list[str]:
        """Return the paths of all images in it and below."""
        return [folder.join(name) for folder in self.walk() for name in folder.images]


def walk_tree(root: Path) -> Folder:
    """Walk a folder and all below it.

    Raises
    ------
    DataError
        If a folder cannot be read, or there are too many.
    """
    found: dict[str, Folder] = {}
    for path, contents in walk_folders(root):
        folder = found.setdefault(path, Folder(path))
        folder.images, folder.others = contents.images, contents.others
        folder.status, folder.outputs = contents.status, contents.outputs
        folder.problems = [Problem(folder.join(n), why) for n, why in contents.refused.items()]
        folder.suspicious = [f"{folder.join(n)}: is no regular file" for n in contents.odd]
        folder.folders = [Folder(folder.join(name)) for name in contents.folders]
        found |= {inner.path: inner for inner in folder.folders}
    return found[""]


def prune(folder: Folder, left_out: Set[str]) -> Folder:
    """Return a tree without some images, and without the folders that held nothing else.

    Folders of burnish's own outputs alone go too.
    """
    folders = []
    for inner in folder.folders:
        if inner.has_outputs_alone:
            continue
        pruned = prune(inner, left_out)
        if pruned.num_images or not inner.num_images:
            folders.append(pruned)
    return Folder(
        folder.path,
        tuple(name for name in folder.images if folder.join(name) not in left_out),
        folder.others,
        folders,
        folder.problems,
        folder.suspicious,
        folder.status,
        folder.outputs,
    )
