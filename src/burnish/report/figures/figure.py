"""What a figure of the page is: name, section, condition, caption, drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from matplotlib.figure import Figure as Canvas

Facts = TypeVar("Facts")

Section = Literal["overview", "stage", "search", "final"]
"""Parts of the page; see `Figure.section`."""

Form = Literal["inline", "image", "beside"]
"""How a drawing gets into the page; see `Drawing.form`."""


@dataclass(frozen=True)
class Drawing:
    """A figure as matplotlib has it, and what the page needs to know of it.

    Attributes
    ----------
    canvas
        What is to be seen.
    description
        What a reader is told who does not see it.
    titles
        Texts to show at the pointer, by the identifier of a group of marks.
    series
        Name of the curve that a group belongs to, by its identifier.
    form
        ``inline``, with texts at the pointer; ``image``; or ``beside``: only as files.
    copy_to
        Another place for its files, a path without its suffix.
    """

    canvas: Canvas
    description: str = ""
    titles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)
    form: Form = "inline"
    copy_to: Path | None = None


@dataclass(frozen=True)
class Figure(Generic[Facts]):
    """One figure of the page.

    Attributes
    ----------
    name
        By which it is registered; also the identifier of its place on the page.
    section
        Where it stands, which says how often it is drawn and from which facts: ``overview``
        once, from `RunFacts`; ``stage`` for each stage and ``search`` for each that searched,
        from `StageFacts`; ``final`` for the final stage, from `FinalFacts`.
    applies
        Whether there is something to draw.
    caption
        What stands beneath it; empty for nothing.
    draw
        Draws it; called only where it applies.
    shape
        Its class in the page: ``wide``, ``half``, ``square``, or empty.
    file
        Name of its files without suffix, where that is not its name. Those of a stage have the
        stage's name before theirs.
    """

    name: str
    section: Section
    applies: Callable[[Facts], bool]
    caption: Callable[[Facts], str]
    draw: Callable[[Facts], Drawing]
    shape: str = "wide"
    file: str | None = None
