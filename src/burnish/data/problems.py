"""What is wrong with a data set, by kind: causes first, each kind with a count and examples.

>>> gone = [Problem(f"im/{number}.png", "is not there") for number in range(9)]
>>> stray = [Problem("x.png", "is an image without a label", is_cause=False)]
>>> print(write_problems([*stray, *gone], num=3))
  is not there: 9, as
    im/0.png
    im/1.png
    and 7 more
  x.png: is an image without a label
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError, shorten

NUM_EXAMPLES = 20
"""How many examples a list of problems has in all, before it only counts the rest."""

_LEAST_NAMED = 2
_MOST_SHOWN = 300


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in words that fit together: name, colon, kind, detail.

    Parameters
    ----------
    name
        Which file, row or class; empty where the kind says all.
    kind
        What is wrong with it, in the words of all that have the same trouble.
    detail
        How the sentence goes on for this one alone; it brings its own space or comma.
    is_cause
        False of what may only be the consequence of other problems: an image has no label
        where its row leads elsewhere.
    """

    name: str
    kind: str
    detail: str = ""
    is_cause: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}{self.detail}" if self.name else self.kind


@dataclass(frozen=True)
class ProblemGroup:
    """Problems of one kind, in the order in which they were found."""

    problems: tuple[Problem, ...]

    def as_dict(self, num: int) -> dict[str, Any]:
        """Return kind, count and the first examples as plain data, for JSON.

        What all details say alike belongs to the kind.
        """
        first = self.problems[0]
        alike = all(problem.detail == first.detail for problem in self.problems)
        shown = [problem for problem in self.problems[:num] if problem.name]
        return {
            "kind": shorten(first.kind + first.detail if alike else first.kind, _MOST_SHOWN),
            "num": len(self.problems),
            "examples": [
                shorten(p.name if alike else f"{p.name}{p.detail}", _MOST_SHOWN) for p in shown
            ],
        }


class UnusableError(DataError):
    """Images or files that cannot be used, all of them.

    Parameters
    ----------
    head
        What became of it, before the list.
    problems
        Why.
    remedy
        What to do, after the list.
    """

    def __init__(self, head: str, problems: Sequence[Problem], remedy: str = "") -> None:
        # A count at the end of the head needs no colon behind it.
        colon = "" if head[-1:].isdigit() else ":"
        listed = f"{colon}\n{write_problems(problems)}" if problems else ""
        super().__init__(f"{head}{listed}" + (f"\n{remedy}" if remedy else ""))
        self.head = head
        self.problems = tuple(problems)


def read_trouble(name: str, why: str) -> Problem:
    """Make a problem of what decoding says of an image.

    What differs from image to image, numbers and what stands behind them, is detail:

    >>> read_trouble("1.png", "has 9x9 = 81 pixels; at most 64 are decoded").kind
    'has a number of pixels that is not decoded'
    >>> read_trouble("2.png", "is cut off or damaged (broken PNG file)").kind
    'is cut off or damaged'
    """
    if re.match(r"has [0-9]+x[0-9]+ = ", why):
        return Problem(name, "has a number of pixels that is not decoded", f" ({why})")
    kind = re.split(r" \(|; |, |[0-9]", why, maxsplit=1)[0].strip()
    if not kind or kind == "has":
        return Problem(name, why)
    return Problem(name, kind, why[len(kind) :])


def group_problems(problems: Iterable[Problem]) -> tuple[ProblemGroup, ...]:
    """Group problems by kind: causes first, then the kinds in the order they were met."""
    groups: dict[tuple[bool, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((not problem.is_cause, problem.kind), []).append(problem)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return tuple(ProblemGroup(tuple(members)) for _, members in ordered)


def pick_examples(problems: Iterable[Problem], num: int = NUM_EXAMPLES) -> list[Problem]:
    """Return about the first ``num`` problems, of each kind its share, causes first."""
    groups = group_problems(problems)
    return [problem for group in groups for problem in group.problems[: _share(groups, num)]]


def describe_groups(problems: Iterable[Problem], num: int = NUM_EXAMPLES) -> list[dict[str, Any]]:
    """Return the groups as plain data, for JSON: kind, number, examples."""
    groups = group_problems(problems)
    return [group.as_dict(_share(groups, num)) for group in groups]


def write_problems(problems: Iterable[Problem], num: int = NUM_EXAMPLES) -> str:
    """Write the groups out: a line for each kind, and one for each example below it."""
    return "\n".join(list_lines(describe_groups(problems, num)))


def list_lines(groups: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of groups as `describe_groups` gives them, indented."""
    lines = []
    for group in groups:
        if group["num"] == 1:
            lines.append("  " + ": ".join([*group["examples"], group["kind"]]))
            continue
        more = group["num"] - len(group["examples"])
        lines.append(f"  {group['kind']}: {group['num']:,}{', as' if more else ''}")
        lines += [f"    {example}" for example in group["examples"]]
        if more:
            lines.append(f"    and {more:,} more")
    return lines


def count_kinds(problems: Iterable[Problem]) -> str:
    """Say in one line what kinds of problems there are, and how many of each.

    >>> count_kinds([Problem("1.png", "is empty"), Problem("2.png", "is empty")])
    'is empty: 2'
    """
    groups = group_problems(problems)
    return "; ".join(f"{group.problems[0].kind}: {len(group.problems):,}" for group in groups)


def _share(groups: Sequence[ProblemGroup], num: int) -> int:
    return max(_LEAST_NAMED, num // max(1, len(groups)))
