"""Which folders are splits and which are classes: how a tree of images is read.

    photos/cat/1.jpg                   a folder per class
    photos/train/cat/1.jpg             ... in a folder per split
    photos/cat/train/1.jpg             ... or the other way round
    photos/photos/cat/1.jpg            a folder or more too deep
    photos/cat/part-7/1.jpg            folders within a class: the top one labels
    photos/latin/alpha/1.png           two levels of labels: the deepest is the class

What can be read in two ways is read in the likelier, with a note that says how to have the
other (``labels = "top"`` or ``"deepest"``); what cannot be told is an error with a remedy.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from burnish.data.formats.listing import SPLIT_NAMES, list_some, split_of
from burnish.data.formats.options import LabelsChoice
from burnish.data.formats.tree import Folder
from burnish.data.problems import Problem
from burnish.errors import DataError

# What stands beside the split's own word in a folder's name.
_FILLING = "set|seg|images?|imgs?|data|dataset|split|photos?|pictures?|cropped|parts?"
# Names of folders that part the images of a class, and say nothing of what they show.
_PIECE = re.compile(
    f"{_FILLING}|batch|session|subset|group|folder|dir|chunk|fold|patient|subject|case|series|"
    "slide|video|clip|seq|sequence|frames?|scene|camera|cam|day|date|run|trial|site|orig|"
    "originals?|raw|crops?|jpe?g|png|bmp|tiff?|new|old|misc"
)
_MIN_IMAGES = len(SPLIT_NAMES)
"""Images that a class needs at least: one for each split."""


@dataclass(frozen=True)
class Part:
    """Images of one class in one split; the split is empty where the data have none.

    With `is_deep`, those below the folder belong to it too.
    """

    folder: Folder
    label: str
    split: str
    is_deep: bool

    @property
    def folders(self) -> list[Folder]:
        """The folders whose images these are."""
        return list(self.folder.walk()) if self.is_deep else [self.folder]


@dataclass
class Layout:
    """How a tree of images is read.

    Attributes
    ----------
    parts
        The images that have a label.
    unlabelled
        Folders above the classes: images right in them have none.
    problems, notes
        See :class:`burnish.data.formats.listing.Listing`.
    """

    parts: list[Part] = field(default_factory=list)
    unlabelled: list[Folder] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_layout(where: str, name: str, root: Folder, labels: LabelsChoice | None) -> Layout:
    """Tell splits and classes of a tree.

    Parameters
    ----------
    where
        The folder, as it was given, for messages.
    name
        Its name, for messages.
    root
        The tree below it.
    labels
        Which folders are the classes; by default the likelier.

    Raises
    ------
    DataError
        If that cannot be told; the message names what is likely meant.
    """
    layout = Layout(unlabelled=[root])
    level = root
    while (splits := _find_splits(where, name, level, labels, layout)) is None:
        only = _only_way_down(level)
        if only is None:
            break
        level = only
        layout.unlabelled.append(level)
    if level is not root:
        layout.notes.append(
            f"the {'classes' if splits is None else 'splits'} are the folders of {level.path}, "
            "the only one with images"
        )
    levels = [("", level)] if splits is None else _go_down_together(splits, layout)
    _label(where, levels, labels, layout)
    return layout


def split_of_folder(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for what people call the folders of splits, else None.

    >>> [split_of_folder(name) for name in ("seg_train", "Test Set", "validation", "train station")]
    ['train', 'test', 'val', None]
    """
    words = [w for w in _words_of(name) if len(w) > 1 and not re.fullmatch(_FILLING, w)]
    if len(words) != 1:
        return None
    (word,) = words
    for filling in ("set", "data", "images"):  # trainset, testdata
        shortened = word.removesuffix(filling)
        if shortened != word and split_of(shortened) is not None:
            word = shortened
    return split_of(word)


def _words_of(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())


def _is_piece(name: str) -> bool:
    """Whether a folder is called as parts of a class are: part-7, Imgs, 2021-03-04."""
    return all(len(word) == 1 or _PIECE.fullmatch(word) for word in _words_of(name))


def _find_splits(
    where: str, name: str, level: Folder, labels: LabelsChoice | None, layout: Layout
) -> list[tuple[str, Folder]] | None:
    """Return each split's folder; None where the folders are no splits."""
    full = level.full
    meant = [(split, folder) for folder in full if (split := split_of_folder(folder.name))]
    if not any(split == "train" for split, _ in meant):
        return None
    others = [folder for folder in full if split_of_folder(folder.name) is None]
    given = [(split, folder) for split, folder in meant if folder.full]
    if not any(split == "train" for split, _ in given):
        # Images directly in 'train' and 'test': classes that are called so, if others are too.
        if not others:
            names = ", ".join(folder.path for _, folder in meant)
            raise DataError(
                f"{where}: has the folders {names}, but no folder per class in each; expected "
                f"{name}/{meant[0][1].path}/<class>/<image>"
            )
        return None
    if others and {split for split, _ in meant} == {"train"}:
        if labels is not None:
            return None
        raise DataError(
            f"{where}: has {meant[0][1].path} with folders in it beside {_name(others)}. If it is "
            f"the train split, move the others away, or give the path of {meant[0][1].path} alone; "
            'if it is a class like them, say labels = "top" (--labels top)'
        )
    for split in SPLIT_NAMES:
        alike = [folder.path for given_split, folder in given if given_split == split]
        if len(alike) > 1:
            raise DataError(
                f"{where}: the folders {' and '.join(alike)} both mean the {split} split; make "
                "them one"
            )
    bare = [folder for _, folder in meant if not folder.full]
    for folders, why in (
        (others, f"stands beside the folders of splits ({_name([f for _, f in given])})"),
        (bare, "has images without a label, no folder per class"),
    ):
        layout.notes += [
            f"{folder.path}: left out ({folder.num_images:,} images), since it {why}"
            for folder in folders
        ]
    return given


def _name(folders: list[Folder]) -> str:
    return list_some([folder.path for folder in folders], 5, ", ")


def _only_way_down(level: Folder) -> Folder | None:
    """Return the one folder with images, if what it holds are folders with images too."""
    full = level.full
    if len(full) != 1 or level.images or full[0].images:
        return None
    return full[0]


def _go_down_together(splits: list[tuple[str, Folder]], layout: Layout) -> list[tuple[str, Folder]]:
    """Go into folders that each split has one of alone, as in seg_train/seg_train/<class>."""
    while True:
        layout.unlabelled += [folder for _, folder in splits]
        inner = [(split, _only_way_down(folder)) for split, folder in splits]
        deeper = [(split, folder) for split, folder in inner if folder is not None]
        if len(deeper) < len(splits):
            return splits
        # One class in every split, with folders in it, is no classifier's data.
        splits = deeper
        layout.notes.append(f"the classes are the folders of {_name([f for _, f in splits])}")


def _label(
    where: str, levels: list[tuple[str, Folder]], labels: LabelsChoice | None, layout: Layout
) -> None:
    """Return every image below some levels its class."""
    tops = [(split, level, top) for split, level in levels for top in level.folders]
    layout.problems += [
        Problem(top.path, "is a class without images", _tell_what_else(top))
        for _, _, top in tops
        if not top.num_images
    ]
    tops = [entry for entry in tops if entry[2].num_images]
    nested = [top for _, _, top in tops if top.full]
    if nested and len(levels) == 1 and _are_split_within([top for _, _, top in tops]):
        for _, _, top in tops:
            layout.unlabelled.append(top)
            layout.parts += [
                Part(inner, top.name, str(split_of_folder(inner.name)), True) for inner in top.full
            ]
        layout.notes.append(
            f"the folders within a class are its splits, such as {tops[0][2].full[0].path}"
        )
        return
    chosen = labels or _guess_labels(where, tops)
    if chosen == "top" or not nested:
        layout.parts += [Part(top, top.name, split, True) for split, _, top in tops]
    else:
        for split, level, top in tops:
            start = len(level.join(""))
            layout.parts += [Part(leaf, leaf.path[start:], split, False) for leaf in top.leaves()]
            # What lies in folders without images of their own is looked at all the same.
            layout.unlabelled += [folder for folder in top.walk() if not folder.images]
    if nested:
        layout.notes.append(_tell(chosen, labels, tops, nested))


def _tell_what_else(top: Folder) -> str:
    """Say which files a class has that are not called as images are, and what becomes of them."""
    others = [name for folder in top.walk() for name in folder.others]
    suffixes = {os.path.splitext(name)[1].casefold() for name in others}  # noqa: PTH122
    if not others:
        return ""
    shown = list_some(sorted(suffix or "no suffix" for suffix in suffixes), 5, ", ")
    return (
        f", only with files of other names ({shown}); save them as PNG, or all arrays as one .npz"
    )


def _tell(
    chosen: LabelsChoice,
    labels: LabelsChoice | None,
    tops: list[tuple[str, Folder, Folder]],
    nested: list[Folder],
) -> str:
    """Say which folders were taken for classes, and how to have the others."""
    example = nested[0].full[0].leaves()[0].path
    top_names = {top.name for _, _, top in tops}
    deepest = {leaf.path[len(level.join("")) :] for _, level, top in tops for leaf in top.leaves()}
    if chosen == "top":
        said = f"images in folders within a class, such as {example}, belong to the top one"
        other: LabelsChoice = "deepest"
        num, what = len(deepest), "folders that hold images themselves"
    else:
        said = f"the deepest folders are the classes, such as {example}"
        other, num, what = "top", len(top_names), "top folders"
    if labels is not None or len(deepest) == len(top_names):
        return said
    return f'{said}; labels = "{other}" (--labels {other}) takes the {num:,} {what} as classes'


def _are_split_within(tops: list[Folder]) -> bool:
    """Whether what every class holds are folders of splits."""
    for top in tops:
        splits = [split_of_folder(inner.name) for inner in top.full]
        if top.images or None in splits or "train" not in splits or len(set(splits)) < len(splits):
            return False
    return any(len(top.full) > 1 for top in tops)


def _guess_labels(where: str, tops: list[tuple[str, Folder, Folder]]) -> LabelsChoice:
    """Guess which folders are the classes, where there are folders within folders.

    Raises
    ------
    DataError
        If neither is likely.
    """
    folders = [top for _, _, top in tops]
    if any(top.images for top in folders):
        return "top"
    inner = [folder.name for top in folders for folder in top.full]
    if all(len(top.full) == 1 for top in folders) or all(map(_is_piece, inner)):
        return "top"
    repeated = all(count > 1 for count in Counter(inner).values())
    if repeated and all(_is_piece(top.name) and _words_of(top.name) for top in folders):
        shown = list_some(sorted(set(inner)), 3, ", ")
        raise DataError(
            f"{where}: {_name(folders)} hold the same folders each ({shown}), as parts of one data "
            "set do; move what is in them together, so that there is one folder per class, or say "
            'which are the classes: labels = "top" or "deepest" (--labels)'
        )
    counts: Counter[str] = Counter()
    for _, level, top in tops:
        for leaf in top.leaves():
            counts[leaf.path[len(level.join("")) :]] += len(leaf.images)
    # Where most have too few to be cut into splits, they say who or when, and not what.
    enough = sum(count >= _MIN_IMAGES for count in counts.values())
    return "deepest" if 2 * enough >= len(counts) else "top"
