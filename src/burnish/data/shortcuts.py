"""Whether classes can be told apart without looking at what the images show.

In one public set of x-rays all images of two classes are grey PNGs of one size, and those of the
third are files of all kinds from the web: a network that is trained on it learns where an image is
from. Here a small decision tree is given such facts alone. What it says of images that it was not
fitted to (five folds) is compared for each pair of classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.data.decoded import Decoded
from burnish.data.formats import Listing
from burnish.data.traces import TRACES

OF_FILE: Mapping[str, tuple[str, ...]] = {
    "the image's size": ("height", "width", "aspect"),
    "its file's format": ("format",),
    "its colour mode": ("mode",),
    "its JPEG quality": ("quality",),
    "its number of EXIF tags": ("tags",),
}
"""What tells where an image is from, by the names of the facts."""

HINTS: Mapping[str, tuple[str, ...]] = {
    "the colour of its border": ("border",),
    "the day when its file was written": ("day",),
}
"""What may, but need not: a border can belong to what is shown, and copying sets days."""

TOLD = 0.75
"""Balanced accuracy from which two classes count as told apart; 0.5 is chance."""

RISK = 0.01
"""Chance of a false alarm in a data set, at most: of all pairs of classes together."""

LEAST_IMAGES = 10
"""Of a class, for it to be looked at."""

_MOST_CLASSES = 100
_MOST_IMAGES = 5000
_LEAST_SAMPLED = 50
_NUM_FOLDS = 5
_NUM_SHOWN = 3
# Alone it tells nearly as much as all facts together.
_ENOUGH = 0.03
_DRAWN = 0x5C07
_DAY_NS = 24 * 3600 * 10**9


@dataclass(frozen=True)
class Shortcut:
    """A class, and those that it is told apart from.

    Attributes
    ----------
    name, others
        Of classes.
    is_all
        Whether `others` are all other classes that were looked at.
    facts
        What tells: of `OF_FILE` or `HINTS`.
    accuracy
        Balanced, mean over the pairs; 0.5 is chance.
    """

    name: str
    others: tuple[str, ...]
    is_all: bool
    facts: tuple[str, ...]
    accuracy: float

    def describe(self) -> str:
        """Say it in a sentence."""
        named = [f"'{other}'" for other in self.others]
        if self.is_all and len(named) > 1:
            whom = "every other class"
        elif len(named) > _NUM_SHOWN:
            whom = f"{', '.join(named[:_NUM_SHOWN])} and {len(named) - _NUM_SHOWN:,} more"
        else:
            whom = " and ".join((", ".join(named[:-1]), named[-1])) if len(named) > 1 else named[0]
        by = " and ".join(self.facts)
        return (
            f"'{self.name}' can be told from {whom} by {by}: {self.accuracy:.0%} right without "
            "looking at what it shows"
        )


def look_for_shortcuts(
    decoded: Decoded,
    modified: NDArray[np.int64] | None,
    rows: NDArray[np.intp],
    listing: Listing,
    blocks: NDArray[np.int64] | None,
) -> tuple[list[str], list[str]]:
    """Look for shortcuts among images that are trained on.

    Parameters
    ----------
    decoded, modified, listing
        Of all images; when their files were written, in ns, is not known of arrays.
    rows
        The images to look at, (num,).
    blocks
        Of these (num,): those with the same number are not independent.

    Returns
    -------
    What to warn of, and what to hint at.
    """
    heights, widths = decoded.heights[rows], decoded.widths[rows]
    facts: dict[str, NDArray[np.float64]] = {
        "height": heights.astype(np.float64),
        "width": widths.astype(np.float64),
        "aspect": heights / widths,
        "mode": np.unique(decoded.modes[rows], return_inverse=True)[1].astype(np.float64),
    }
    facts |= {name: decoded.traces[rows, place] for place, name in enumerate(TRACES)}
    if modified is not None:
        facts["day"] = (modified[rows] // _DAY_NS).astype(np.float64)
    labels, names = listing.labels[rows], listing.class_names
    return (
        warn_of_shortcuts(find_shortcuts(facts, labels, names, OF_FILE, blocks)),
        hint_at_shortcuts(find_shortcuts(facts, labels, names, HINTS, blocks)),
    )


def find_shortcuts(
    facts: Mapping[str, NDArray[np.float64]],
    labels: NDArray[np.int32],
    class_names: Sequence[str],
    kinds: Mapping[str, tuple[str, ...]] = OF_FILE,
    blocks: NDArray[np.int64] | None = None,
) -> list[Shortcut]:
    """Find the classes that facts tell apart, those with the most others first.

    Parameters
    ----------
    facts
        By name, (num,); `burnish.data.traces.UNKNOWN` where an image has none. Others than
        those of `kinds` are not looked at.
    labels
        Of each image, (num,).
    class_names
        Label `i` means ``class_names[i]``.
    kinds
        For people, and the names of the facts that belong to it.
    blocks
        Images with the same number are not independent, (num,).

    Returns
    -------
    Each pair of classes is in one of them at most.
    """
    rows = _sample(labels, blocks)
    given = {
        kind: np.stack([facts[name][rows] for name in names if name in facts], axis=1)
        for kind, names in kinds.items()
        if any(name in facts for name in names)
    }
    # What is the same for all tells nothing.
    given = {kind: table for kind, table in given.items() if (table != table[:1]).any()}
    present, numbers = np.unique(labels[rows], return_inverse=True)
    if not given or len(present) < 2:
        return []
    together = None if blocks is None else blocks[rows]
    tables = {"": np.concatenate([*given.values()], axis=1), **(given if len(given) > 1 else {})}
    folds = _deal_folds(numbers, together)
    told = {kind: _compare(table, numbers, folds) for kind, table in tables.items()}
    is_told = (told[""] >= TOLD) & _is_sure(told[""], _count_independent(numbers, together))
    if len(given) == 1:
        told |= dict.fromkeys(given, told[""])
    return _sum_up(is_told, told, [class_names[i] for i in present.tolist()], tuple(given))


def warn_of_shortcuts(shortcuts: Sequence[Shortcut]) -> list[str]:
    """Warn of facts that tell classes apart, the strongest first."""
    said = [shortcut.describe() for shortcut in shortcuts[:_NUM_SHOWN]]
    if len(shortcuts) > _NUM_SHOWN:
        said[-1] += f" (and {len(shortcuts) - _NUM_SHOWN:,} more classes such as these)"
    return [
        f"{one}. A network may learn that instead; make the images of all classes in one way"
        for one in said
    ]


def hint_at_shortcuts(shortcuts: Sequence[Shortcut]) -> list[str]:
    """Name what may tell classes apart, and may be as it should."""
    return [
        f"{shortcut.describe()}. Look whether that belongs to the class"
        for shortcut in shortcuts[:_NUM_SHOWN]
    ]


def _sample(labels: NDArray[np.int32], blocks: NDArray[np.int64] | None) -> NDArray[np.intp]:
    """Choose images of the classes that have enough, about as many of each."""
    counts = _count_independent(labels, blocks)
    largest = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    chosen = [number for number in sorted(largest.tolist()) if counts[number] >= LEAST_IMAGES]
    most = max(_LEAST_SAMPLED, _MOST_IMAGES // max(1, len(chosen)))
    drawn = np.random.default_rng(_DRAWN).permutation(len(labels))
    picked = [drawn[labels[drawn] == number][:most] for number in chosen]
    return np.sort(np.concatenate([np.empty(0, np.intp), *picked]).astype(np.intp))


def _count_independent(
    labels: NDArray[np.integer], blocks: NDArray[np.int64] | None
) -> NDArray[np.intp]:
    """Count the images of each class; of those that stay together one counts."""
    if blocks is None:
        return np.bincount(labels)
    return np.bincount(np.unique(np.stack((labels, blocks)), axis=1)[0])


def _deal_folds(labels: NDArray[np.intp], blocks: NDArray[np.int64] | None) -> NDArray[np.intp]:
    """Deal images into folds (num,), as many of each class into each; blocks stay together.

    (That of scikit-learn looks at one block after the other, which takes many seconds.)
    """
    members = np.arange(len(labels)) if blocks is None else blocks
    _, firsts, members = np.unique(members, return_index=True, return_inverse=True)
    order = np.random.default_rng(_DRAWN).permutation(len(firsts))
    order = order[np.argsort(labels[firsts][order], kind="stable")]
    folds = np.empty(len(firsts), np.intp)
    folds[order] = np.arange(len(firsts)) % _NUM_FOLDS
    return folds[members]


def _compare(
    table: NDArray[np.float64], labels: NDArray[np.intp], folds: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Fit trees on folds, and see how well they tell each two classes apart.

    Returns
    -------
    Balanced accuracy (num_classes, num_classes) between 0 and 1, on images that a tree was not
    fitted to; 0.5 on the diagonal.
    """
    from sklearn.tree import DecisionTreeClassifier

    num_classes = int(labels.max()) + 1
    tree = DecisionTreeClassifier(
        max_leaf_nodes=max(16, 2 * num_classes),
        min_samples_leaf=max(3, len(labels) // 500),
        class_weight="balanced",
        random_state=0,
    )
    said = np.full((len(labels), num_classes), 1 / num_classes)
    for fold in range(_NUM_FOLDS):
        fitted, judged = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        tree.fit(table[fitted], labels[fitted])
        said[judged] = 0.0
        said[np.ix_(judged, tree.classes_)] = tree.predict_proba(table[judged])
    # How often an image of class a (rows) is rather a than b (columns); a tie counts half.
    wins = np.full((num_classes, num_classes), 0.5)
    for number in range(num_classes):
        mine = said[labels == number]
        own = mine[:, number : number + 1]
        wins[number] = ((own > mine) + 0.5 * (own == mine)).mean(axis=0)
    return np.asarray((wins + wins.T) / 2)


def _is_sure(told: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each two classes are told apart by more than chance could.

    By Hoeffding's inequality for a mean of so many independent images: the risk of a pair is
    `RISK` over the number of pairs.
    """
    num_pairs = max(1, len(counts) * (len(counts) - 1) // 2)
    # The variance of a mean of two means, as if of one of so many images.
    effective = 4 / (1 / counts[:, None] + 1 / counts[None, :])
    width = np.sqrt(np.log(num_pairs / RISK) / (2 * effective))
    return np.asarray(told - 0.5 > width)


def _sum_up(
    is_told: NDArray[np.bool_],
    told: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
    kinds: tuple[str, ...],
) -> list[Shortcut]:
    """Put pairs together by the class that is in most of them."""
    left = np.triu(is_told, 1)
    left |= left.T
    found = []
    while left.any():
        number = int(left.sum(axis=1).argmax())
        others = np.flatnonzero(left[number])
        accuracy = {kind: float(table[number, others].mean()) for kind, table in told.items()}
        best = max(kinds, key=lambda kind: accuracy[kind])
        if accuracy[best] >= accuracy[""] - _ENOUGH:
            facts: tuple[str, ...] = (best,)
        else:
            facts = tuple(kind for kind in kinds if accuracy[kind] >= (0.5 + TOLD) / 2) or kinds
        found.append(
            Shortcut(
                names[number],
                tuple(names[i] for i in others.tolist()),
                bool(is_told[number].sum() == len(others) == len(names) - 1),
                facts,
                accuracy[""],
            )
        )
        left[number] = left[:, number] = False
    return found
