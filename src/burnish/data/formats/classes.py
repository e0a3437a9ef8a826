"""Class names as people write them: trimmed, in one form of Unicode, mostly without case.

``Cat``, ``cat `` and ``CAT`` are one class; ``A`` and ``a`` are two, since sets of handwritten
letters have both. The rule of ``class_case = "auto"``, for two names that differ in case alone,
looks at the words in which they differ:

* They are one class where each of these words is written in small letters, in capitals or with a
  capital first, and has at least three letters (two, beside a longer word: ``No finding``).
* They are two classes where each is a single letter: ``a`` and ``A``, ``letter_a`` and
  ``letter_A``.
* Everything else is refused, and so is a data set whose every class is there in small letters
  and in capitals: ``class_case = "join"`` or ``"keep"`` decides.

Spaces around a name and forms of Unicode never tell two classes apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.listing import list_some, sort_naturally
from burnish.data.formats.options import ClassCase
from burnish.errors import DataError, shorten

MAX_CLASSES = 10_000
"""Most classes of a data set; a column with more is no label, but says which image it is."""

MAX_NAME = 255
"""Longest name of a class, in characters; no folder has a longer one."""

_LONG_WORD = 3
_NUM_NOTED = 10


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a data set.

    Attributes
    ----------
    names
        In natural order; label ``i`` means ``names[i]``.
    labels
        int32 (num,), of each image.
    notes
        Which spellings were joined, and which were kept apart.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int32]
    notes: tuple[str, ...]


def number_classes(where: str, names: Sequence[str], class_case: ClassCase = "auto") -> Classes:
    """Return the classes that the names of all images mean, and the label of each image.

    Of several spellings that mean one class, the most frequent is its name.

    Parameters
    ----------
    where
        What the names come from, for messages.
    names
        The class of each image (num,), as it is written.
    class_case
        ``join`` takes names that differ in case alone for one class, ``keep`` for two; ``auto``
        decides by the rule above.

    Raises
    ------
    DataError
        If a name is empty, not to be read or too long, there are more than `MAX_CLASSES`, or
        it cannot be told whether two names are one class.
    """
    counts = Counter(names)
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"{where}: has {len(counts):,} classes; at most {MAX_CLASSES:,} are taken. Are the "
            "labels what each image is called?"
        )
    cleaned = {name: unicodedata.normalize("NFC", name.strip()) for name in counts}
    for name, clean in cleaned.items():
        if not clean or not clean.isprintable() or len(clean) > MAX_NAME:
            raise DataError(
                f"{where}: {shorten(repr(name))} is no name for a class; give it a readable one "
                f"of at most {MAX_NAME} characters"
            )
    clean_counts: Counter[str] = Counter()
    for name, clean in cleaned.items():
        clean_counts[clean] += counts[name]
    joined, apart = _decide_case(where, sort_naturally(clean_counts), class_case)
    chosen = {
        name: max(group, key=lambda spelling: (clean_counts[spelling], -group.index(spelling)))
        for group in joined
        for name in group
    }
    meant = {name: chosen.get(clean, clean) for name, clean in cleaned.items()}
    class_names = sort_naturally(set(meant.values()))
    places = {name: place for place, name in enumerate(class_names)}
    number = {name: places[meant[name]] for name in counts}
    labels = np.fromiter((number[name] for name in names), np.int32, len(names))
    notes = (*_note_joined(meant), *_note_apart(apart), *_note_same_numbers(class_names))
    return Classes(class_names, labels, notes)


def _decide_case(
    where: str, names: Sequence[str], class_case: ClassCase
) -> tuple[list[list[str]], list[list[str]]]:
    """Return the names that are one class, and those that differ in case and stay apart."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(fold_case(name), []).append(name)
    alike = [group for group in by_key.values() if len(group) > 1]
    if class_case == "join":
        return alike, []
    if class_case == "keep":
        return [], alike
    joined: list[list[str]] = []
    apart: list[list[str]] = []
    unclear: list[list[str]] = []
    for group in alike:
        verdicts = {_judge(one, two) for one in group for two in group if one < two}
        same = verdicts.pop() if len(verdicts) == 1 else None
        (unclear if same is None else joined if same else apart).append(group)
    is_systematic = len(by_key) > 1 and all(_has_both_cases(group) for group in by_key.values())
    if unclear or (joined and is_systematic):
        listed = [" and ".join(f"'{name}'" for name in group) for group in unclear or joined]
        raise DataError(
            f"{where}: classes differ only in case: {list_some(listed)}; are they one class each? "
            'Say class_case = "join" (--class-case join) if they are, "keep" if not, or give '
            "them names that differ"
        )
    return joined, apart


def fold_case(name: str) -> str:
    """Return what two names that differ in case alone have in common."""
    return unicodedata.normalize("NFC", name.casefold())


def _judge(one: str, two: str) -> bool | None:
    """Say whether two names that differ in case alone mean the same; None if it is unclear."""
    words, others = _split_words(one), _split_words(two)
    if len(words) != len(others):
        return None  # One of them has a letter whose other case is no single letter.
    differing = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    if all(len(word) == 1 for word, _ in differing):
        return False
    # 'No finding' is 'no finding' and 'NO FINDING'; but 'CO' and 'Co' are two things.
    takes_short = any(len(word) >= _LONG_WORD for word in words) and all(
        name.isupper() or not any(len(w) == 2 and w.isupper() for w in _split_words(name))
        for name in (one, two)
    )
    least = 2 if takes_short else _LONG_WORD
    if all(
        len(word) >= least and _is_plainly_cased(word) and _is_plainly_cased(other)
        for word, other in differing
    ):
        return True
    return None


def _split_words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name)


def _is_plainly_cased(word: str) -> bool:
    return word in (word.lower(), word.upper(), word.capitalize())


def _has_both_cases(group: Sequence[str]) -> bool:
    return any(name.islower() for name in group) and any(name.isupper() for name in group)


def _note_joined(meant: dict[str, str]) -> list[str]:
    spellings: dict[str, list[str]] = {}
    for name, class_name in meant.items():
        spellings.setdefault(class_name, []).append(name)
    groups = {name: sorted(found) for name, found in spellings.items() if len(found) > 1}
    if not groups:
        return []
    ordered = sort_naturally(groups)
    listed = [f"{', '.join(map(repr, groups[name]))} as '{name}'" for name in ordered]
    num = sum(len(found) for found in groups.values())
    return [
        f"{num} spellings of {len(groups)} class{'es' if len(groups) > 1 else ''} were joined: "
        + list_some(listed, _NUM_NOTED)
    ]


def _note_apart(apart: Iterable[Sequence[str]]) -> list[str]:
    listed = [" and ".join(f"'{name}'" for name in group) for group in apart]
    if not listed:
        return []
    return [
        f"classes that differ in case alone stay apart: {list_some(listed, _NUM_NOTED)}; "
        'class_case = "join" makes them one'
    ]


def _note_same_numbers(names: Sequence[str]) -> list[str]:
    """Note classes that are one number: ``1``, ``01`` and ``1.0``, as other tools write them."""
    by_number: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"([+-]?)0*([0-9]+)(?:\.0*)?", name):
            number = ("-" if match[1] == "-" else "") + match[2]
            by_number.setdefault(number, []).append(name)
    listed = [
        " and ".join(f"'{name}'" for name in group)
        for group in by_number.values()
        if len(group) > 1
    ]
    if not listed:
        return []
    return [
        f"classes that are the same number stay apart: {list_some(listed, _NUM_NOTED)}; are they "
        "one class each? Then give them one name"
    ]
