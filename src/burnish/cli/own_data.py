"""``burnish init``, ``check`` and ``cache``: one's own images, and what is kept of them."""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.groups import takes_groups
from burnish.cli.options import AsJson, MaxPixels
from burnish.cli.output import print_json, say

if TYPE_CHECKING:
    from burnish.data.formats.options import ListingKeywords
    from burnish.data.ranges import RangeChoice


DataPath = Annotated[
    Path,
    typer.Argument(
        help="A folder of labelled images, or a file that lists or holds them.", metavar="DATA"
    ),
]


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


@dataclass(frozen=True)
class ReadingOptions:
    """How the user's images are read: options of ``burnish init`` and ``burnish check``."""

    format: Annotated[
        str | None,
        typer.Option(help="The layout: {data formats}.  (default: detected)"),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(help="Column of groups; images with the same value stay in one split."),
    ] = None
    image_column: Annotated[
        str | None, typer.Option(help="Column of the images, if its name does not show it.")
    ] = None
    label_column: Annotated[
        str | None, typer.Option(help="Column of the labels, if its name does not show it.")
    ] = None
    image_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder that a table's paths start from.  (default: the table's, or one nearby)"
        ),
    ] = None
    class_case: Annotated[
        ClassCaseName,
        typer.Option(help="Join class names that differ only in case, or keep them apart."),
    ] = ClassCaseName.AUTO
    labels: Annotated[
        LabelsName | None,
        typer.Option(help="Which level of nested folders names the class.  (default: detected)"),
    ] = None
    masks: Annotated[
        MasksName | None,
        typer.Option(
            help="Leave out mask images, or keep them as images.  (default: left out if detected)"
        ),
    ] = None
    range: Annotated[
        str,
        typer.Option(
            metavar="auto|LOW,HIGH",
            help="Values that stand for black and white in images of more than 8 bits.",
        ),
    ] = "auto"
    max_pixels: MaxPixels = None

    def parse_range(self) -> RangeChoice:
        """Return the range in the form that functions that read images take.

        Raises
        ------
        BurnishError
            If the option is not a range.
        """
        from burnish.data.ranges import parse_range

        return parse_range(self.range)

    def as_listing_keywords(self) -> ListingKeywords:
        """Return the options that control how images are listed, named as in a study file."""
        return {
            "group": self.group,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "image_root": self.image_root,
            "class_case": self.class_case.value,
            "labels": None if self.labels is None else self.labels.value,
            "masks": None if self.masks is None else self.masks.value,
        }


@takes_groups
def init(
    data: DataPath,
    reading: ReadingOptions,
    out: Annotated[
        Path | None,
        typer.Option(help="The study file to write.  (default: <name of the data>.toml)"),
    ] = None,
    on_bad_image: Annotated[
        BadImageName, typer.Option(help="Stop at images that cannot be used, or skip them.")
    ] = BadImageName.FAIL,
) -> None:
    """Write a study file for your own images."""
    from burnish.study.init import init_study

    path = init_study(
        data,
        out,
        reading.format,
        reading.parse_range(),
        reading.max_pixels,
        on_bad_image.value,
        **reading.as_listing_keywords(),
    )
    say(f"{path}: look it over, then: burnish run {shlex.quote(str(path))}")


@takes_groups
def check(
    data: DataPath,
    reading: ReadingOptions,
    out: Annotated[
        Path | None, typer.Option(help="Draw a contact sheet per class into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check your own images before you train; exit code 1 if something is wrong."""
    from burnish.data.check import check_data
    from burnish.data.progress import show_decoding

    with show_decoding() as on_progress:
        found = check_data(
            data,
            format=reading.format,
            range=reading.parse_range(),
            max_pixels=reading.max_pixels,
            out=out,
            on_progress=on_progress,
            **reading.as_listing_keywords(),
        )
    if as_json:
        print_json(found)
    else:
        from rich.console import Console

        from burnish.terminal import print_check

        print_check(Console(), found)
    if found["problems"]:
        raise typer.Exit(1)


def cache(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove entries that no run used in the last 30 days.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="With --clean: remove all entries that no run is using now."),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Remove the longest unused entries until the cache has this size, such as 5GB.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the cache of decoded images, or remove entries."""
    from burnish.data.cache.overview import look_after_cache

    if everything and not clean:
        raise typer.BadParameter("--all goes with --clean")
    found = look_after_cache(remove=clean, everything=everything, size=size)
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    from burnish.terminal import print_cache

    print_cache(Console(), found)
