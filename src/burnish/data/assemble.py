"""Decoded images in an order by content, duplicates settled, in the splits they came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from burnish.data.cache.entries import (
    StoredImages,
)
from burnish.data.dataset import IdenticalImages, LabelledImages
from burnish.data.duplicates import (
    Duplicates,
    join_blocks,
    list_sets,
    number_contents,
    order_canonically,
    refuse_straddling,
    settle_duplicates,
)
from burnish.data.facts import DataFacts
from burnish.data.formats import Listing
from burnish.data.formats.listing import SPLIT_NAMES, list_some
from burnish.data.names import ImageNames, PackedNames
from burnish.data.problems import (
    Problem,
    count_kinds,
    pick_examples,
)
from burnish.data.ranges import (
    name_clipped,
    name_mixed,
)
from burnish.data.shortcuts import look_for_shortcuts
from burnish.data.split import Split
from burnish.errors import DataError

IMBALANCE = 10.0
"""The largest class over the smallest, in images, beyond which a warning is given."""


@dataclass(frozen=True, eq=False)
class _Arranged:
    """The usable images in their order, and what becomes of each.

    Attributes
    ----------
    order
        Rows of the stored pixels, (num,).
    labels, splits, groups, contents
        Of each image in that order; equal contents are identical images.
    names
        What each is called.
    duplicates
        Which are kept, and what was found out about identical ones.
    places
        Of each split: where in the order its images are.
    """

    order: NDArray[np.intp]
    labels: NDArray[np.int32]
    splits: NDArray[np.str_] | None
    groups: list[str] | None
    contents: NDArray[np.int64]
    names: ImageNames
    duplicates: Duplicates
    places: Mapping[str, NDArray[np.intp]]

    @property
    def given(self) -> tuple[str, ...]:
        """The splits that the data came with."""
        return tuple(n for n in SPLIT_NAMES if self.splits is not None and len(self.places[n]))

    def take(self, pixels: NDArray[np.uint8], places: NDArray[np.intp]) -> Split | None:
        """Make a split of some places of the order, if there are any."""
        if len(places) == 0:
            return None
        rows = self.order[places]
        return Split(pixels, self.labels[places], rows.astype(np.int64), self.names.take(places))


def assemble(listing: Listing, stored: StoredImages, skipped: Sequence[Problem]) -> LabelledImages:
    """Put decoded images in order, and settle what is identical.

    Raises
    ------
    DataError
        If a class has no training image left, or a group straddles given splits.
    """
    arranged = _arrange(listing, stored)
    _refuse_empty_class(listing, arranged)
    train, contents, groups = arranged.places["train"], arranged.contents, arranged.groups
    blocks = join_blocks(
        number_contents(stored.decoded.digests[arranged.order[train]]),
        None if groups is None else [groups[i] for i in train.tolist()],
    )
    facts = _gather_facts(listing, stored, arranged, skipped, blocks)
    splits = {n: arranged.take(stored.pixels, arranged.places[n]) for n in SPLIT_NAMES}
    assert splits["train"] is not None
    members = list_sets(contents)
    identical = arranged.take(stored.pixels, members)
    return LabelledImages(
        listing.name,
        splits["train"],
        splits["test"],
        listing.class_names,
        stored.spec,
        splits["val"],
        blocks,
        facts,
        None
        if identical is None
        else IdenticalImages(
            identical,
            np.unique(contents[members], return_inverse=True)[1].astype(np.int64),
            None if arranged.splits is None else arranged.splits[members],
            arranged.duplicates.is_kept[members],
        ),
    )


def _arrange(listing: Listing, stored: StoredImages) -> _Arranged:
    """Put usable images in order, and say which split each belongs to, if any."""
    good = np.flatnonzero(stored.decoded.is_good)
    order = good[order_canonically(listing.labels[good], stored.decoded.digests[good])]
    labels = listing.labels[order]
    splits = None if listing.splits is None else listing.splits[order]
    groups = None if listing.groups is None else [listing.groups[i] for i in order.tolist()]
    contents = number_contents(stored.decoded.digests[order])
    names = ImageNames(PackedNames(listing.names), order)
    duplicates = settle_duplicates(contents, labels, splits, names, listing.class_names)
    places = {
        name: np.flatnonzero(duplicates.is_kept & (np.True_ if splits is None else splits == name))
        for name in SPLIT_NAMES
    }
    if splits is None:
        places |= {"val": places["val"][:0], "test": places["test"][:0]}
    elif groups is not None:
        kept = np.flatnonzero(duplicates.is_kept)
        refuse_straddling(listing.name, [groups[i] for i in kept.tolist()], splits[kept])
    return _Arranged(order, labels, splits, groups, contents, names, duplicates, places)


def _refuse_empty_class(listing: Listing, arranged: _Arranged) -> None:
    """Refuse data with a class that has no image to train on."""
    labels, places = arranged.labels, arranged.places
    counts = np.bincount(labels[places["train"]], minlength=len(listing.class_names))
    if not counts.all():
        empty = [
            listing.class_names[i] + _tell_splits(i, labels, places)
            for i in np.flatnonzero(counts == 0).tolist()
        ]
        raise DataError(
            f"{listing.name}: there is no usable image to train on of the class "
            f"{list_some(empty, separator=', ')}; add some, or remove the class"
        )


def _gather_facts(
    listing: Listing,
    stored: StoredImages,
    arranged: _Arranged,
    skipped: Sequence[Problem],
    blocks: NDArray[np.int64] | None,
) -> DataFacts:
    """Say what was found out about the data on the way, and what should be looked into."""
    duplicates, places = arranged.duplicates, arranged.places
    shortcuts, hints = look_for_shortcuts(
        stored.decoded, stored.contents.modified, arranged.order[places["train"]], listing, blocks
    )
    facts = DataFacts(
        format=listing.format,
        num_images=int(duplicates.is_kept.sum()),
        num_skipped=len(skipped),
        skipped=tuple(str(problem) for problem in pick_examples(skipped)),
        num_duplicates=duplicates.num,
        num_dropped=int((~duplicates.is_kept).sum()),
        num_conflicts=duplicates.num_conflicts,
        conflicts=duplicates.conflicts,
        given_splits=arranged.given,
        notes=(*listing.notes, *stored.notes, *hints),
        chosen=listing.chosen,
        shortcuts=tuple(shortcuts),
    )
    by_split = {name: arranged.labels[places[name]] for name in ("train", *arranged.given[1:])}
    return replace(
        facts,
        warnings=(
            *_warn(listing, facts, skipped),
            *name_mixed(listing.names, stored.decoded),
            *name_clipped(listing.names, stored.decoded, stored.spec.range),
            *warn_of_classes(listing.class_names, by_split),
            *shortcuts,
        ),
    )


def warn_of_classes(
    class_names: Sequence[str], labels: Mapping[str, NDArray[np.int32]]
) -> list[str]:
    """Warn of classes of very unequal size, and of those that a given split has not.

    Parameters
    ----------
    class_names
        Label `i` means ``class_names[i]``.
    labels
        Of ``train``, and of the splits that the data came with.
    """
    warnings = []
    counts = np.bincount(labels["train"], minlength=len(class_names))
    if counts.max() > IMBALANCE * counts.min():
        most, least = int(counts.argmax()), int(counts.argmin())
        warnings.append(
            f"classes are of very unequal size: '{class_names[most]}' has {counts[most]:,} images, "
            f"'{class_names[least]}' {counts[least]:,}; weigh them alike with "
            'class_weight = "balanced"'
        )
    for name, present in labels.items():
        absent = np.setdiff1d(np.arange(len(counts)), present)
        if len(absent):
            missing = [f"'{class_names[i]}'" for i in absent]
            warnings.append(f"the {name} split has no images of {list_some(missing, 5, ', ')}")
    return warnings


def _warn(listing: Listing, facts: DataFacts, skipped: Sequence[Problem]) -> list[str]:
    """Say what a person should look into, but for classes."""
    warnings = []
    if facts.num_skipped:
        warnings.append(
            f"images or files that cannot be used and were skipped: {facts.num_skipped:,} "
            f"({count_kinds(skipped)})"
        )
    if facts.num_conflicts:
        warnings.append(
            f"sets of identical images with more than one label: {facts.num_conflicts:,}, as "
            + list_some(facts.conflicts, 3)
        )
    if facts.num_dropped:
        warnings.append(
            "images of train or val that are in a later split too, and were taken out: "
            f"{facts.num_dropped:,}"
        )
    if listing.suspicious:
        warnings.append(f"what was not read: {list_some(listing.suspicious, 3)}")
    return warnings


def _tell_splits(
    label: int, labels: NDArray[np.int32], places: Mapping[str, NDArray[np.intp]]
) -> str:
    """Say in which other splits a class has images: its folder may be called otherwise there."""
    nums = {name: int(np.sum(labels[places[name]] == label)) for name in ("val", "test")}
    shown = [f"{num} in {name}" for name, num in nums.items() if num]
    return f" ({' and '.join(shown)})" if shown else ""
