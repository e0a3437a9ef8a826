"""How the user's own images are read: options that several commands take."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from burnish.api.reading import ReadingKeywords


class ClassCaseName(enum.StrEnum):
    """Whether class names that differ only in case are one class."""

    AUTO = "auto"
    JOIN = "join"
    KEEP = "keep"


class LabelsName(enum.StrEnum):
    """Which level of nested folders names the classes."""

    TOP = "top"
    DEEPEST = "deepest"


class MasksName(enum.StrEnum):
    """What becomes of masks beside their images."""

    LEAVE_OUT = "leave-out"
    KEEP = "keep"


class BadImageName(enum.StrEnum):
    """What becomes of images that cannot be used."""

    FAIL = "fail"
    SKIP = "skip"


_PANEL = "How images are read, where no study says it"

OnBadImage = Annotated[
    BadImageName,
    typer.Option(rich_help_panel=_PANEL, help="Stop at images that cannot be used, or skip them."),
]


@dataclass(frozen=True)
class ReadingOptions:
    """How the user's images are read: options of ``run``, ``plan``, ``init`` and ``check``."""

    format: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_PANEL, help="The layout: {data formats}.  (default: detected)"
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Column of groups; images with the same value stay in one split.",
        ),
    ] = None
    image_column: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_PANEL, help="Column of the images, if its name does not show it."
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_PANEL, help="Column of the labels, if its name does not show it."
        ),
    ] = None
    image_root: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Folder that a table's paths start from.  (default: the table's, or one nearby)",
        ),
    ] = None
    class_case: Annotated[
        ClassCaseName,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Join class names that differ only in case, or keep them apart.",
        ),
    ] = ClassCaseName.AUTO
    labels: Annotated[
        LabelsName | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Which level of nested folders names the class.  (default: detected)",
        ),
    ] = None
    masks: Annotated[
        MasksName | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Leave out mask images, or keep them as images.  (default: left out if detected)",
        ),
    ] = None
    range: Annotated[
        str,
        typer.Option(
            rich_help_panel=_PANEL,
            metavar="auto|LOW,HIGH",
            help="Values that stand for black and white in images of more than 8 bits.",
        ),
    ] = "auto"
    max_pixels: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_PANEL,
            min=1,
            help="Refuse images with more pixels.  (default: 64,000,000)",
        ),
    ] = None

    def as_keywords(self, on_bad_image: BadImageName = BadImageName.FAIL) -> ReadingKeywords:
        """Return the options as functions of Python take them.

        Raises
        ------
        BurnishError
            If the range is none.
        """
        from burnish.data.ranges import parse_range

        return {
            "format": self.format,
            "group": self.group,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "image_root": self.image_root,
            "class_case": self.class_case.value,
            "labels": None if self.labels is None else self.labels.value,
            "masks": None if self.masks is None else self.masks.value,
            "range": parse_range(self.range),
            "max_pixels": self.max_pixels,
            "on_bad_image": on_bad_image.value,
        }
