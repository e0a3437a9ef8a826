"""What was found in a run's data, as the page shows it near its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import show_name
from burnish.report.views.gallery import embed_image
from burnish.runfolder.identical_images import read_identical_images
from burnish.runfolder.store import RunFolder

_SHOWN_AT_ONCE = 6
"""Entries of a list that stand on the page; the others are folded away."""


@dataclass(frozen=True)
class FoldedList:
    """A list of which the page shows the first entries, and folds the rest away.

    Attributes
    ----------
    first, rest
        Entries that are shown at once, and those that are not.
    num_more
        How many there are beyond all that are listed.
    """

    first: Sequence[str]
    rest: Sequence[str]
    num_more: int = 0


@dataclass(frozen=True)
class NamedList:
    """A list with a sentence before it."""

    said: str
    entries: FoldedList


@dataclass(frozen=True)
class MemberView:
    """One of several identical images."""

    name: str
    label: str
    note: str


@dataclass(frozen=True)
class IdenticalView:
    """Identical images: what they look like, which they are, and whether their labels differ."""

    picture: str
    is_small: bool
    labels_differ: bool
    images: Sequence[MemberView]
    num_more: int


@dataclass(frozen=True)
class DataView:
    """What was found in the data.

    Attributes
    ----------
    warnings
        What a person should look into.
    notes
        What was chosen, and what of interest was done.
    lists
        What was left out, and sets of labels that differ, by name.
    num_sets, num_identical
        Sets of identical images, and the images in them.
    identical
        The first sets; empty for a run that kept none.
    """

    warnings: FoldedList
    notes: FoldedList
    lists: Sequence[NamedList]
    num_sets: int
    num_identical: int
    identical: Sequence[IdenticalView]


def view_data(run: RunFolder, facts: Mapping[str, Any]) -> DataView | None:
    """Collect what the page shows of the data; ``None`` where nothing was found.

    Parameters
    ----------
    run
        The run folder.
    facts
        As `burnish.data.facts.DataFacts` describes them. Names in them may come from anybody.

    Raises
    ------
    RunFolderError
        If the record of identical images is damaged.
    """
    identical, num_sets, num_identical = _view_identical(run)
    warnings = _show(facts.get("warnings"))
    notes = [*_count(facts), *_show(facts.get("notes"))]
    lists = []
    if facts.get("num_skipped"):
        lists.append(
            NamedList(
                f"Left out, as they could not be used: {facts['num_skipped']:,}",
                _fold(_show(facts["skipped"]), int(facts["num_skipped"])),
            )
        )
    # Where the sets themselves are shown, these stand among them.
    if facts.get("num_conflicts") and not identical:
        lists.append(
            NamedList(
                f"Identical images with more than one label: {facts['num_conflicts']:,}",
                _fold(_show(facts["conflicts"]), int(facts["num_conflicts"])),
            )
        )
    if not (warnings or notes or lists or identical):
        return None
    return DataView(_fold(warnings), _fold(notes), lists, num_sets, num_identical, identical)


def _count(facts: Mapping[str, Any]) -> list[str]:
    said = []
    if facts.get("num_duplicates"):
        dropped = facts.get("num_dropped")
        said.append(
            f"Images with the pixels of an image before them: {facts['num_duplicates']:,}. They "
            "are in one split together"
            + (f"; {dropped:,} were taken out of train or val." if dropped else ".")
        )
    if facts.get("given_splits"):
        said.append(f"Splits that the data came with: {', '.join(facts['given_splits'])}.")
    return said


def _view_identical(run: RunFolder) -> tuple[list[IdenticalView], int, int]:
    found = read_identical_images(run)
    if found is None:
        return [], 0, 0
    views = [
        IdenticalView(
            picture=embed_image(one.picture),
            is_small=max(one.picture.shape[:2]) <= 64,
            labels_differ=one.labels_differ,
            images=[_view_member(image) for image in one.images],
            num_more=one.num_images - len(one.images),
        )
        for one in found.sets
    ]
    return views, found.num_sets, found.num_images


def _view_member(image: Mapping[str, Any]) -> MemberView:
    notes = [image["split"]] if image["split"] else []
    notes += [] if image["used"] else ["taken out"]
    return MemberView(show_name(image["file"]), image["label"], ", ".join(notes))


def _show(entries: Sequence[str] | None) -> list[str]:
    return [show_name(entry) for entry in entries or ()]


def _fold(entries: Sequence[str], num: int = 0) -> FoldedList:
    first, rest = entries[:_SHOWN_AT_ONCE], entries[_SHOWN_AT_ONCE:]
    if len(rest) == 1:  # The line that says so would take its place.
        first, rest = entries, ()
    return FoldedList(first, rest, max(num - len(entries), 0))
