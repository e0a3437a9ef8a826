"""``burnish init``, ``check`` and ``cache``: one's own images, and what is kept of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.groups import takes_groups
from burnish.cli.options import AsJson
from burnish.cli.output import print_json, say
from burnish.cli.reading import BadImageName, OnBadImage, ReadingOptions

DataPath = Annotated[
    Path,
    typer.Argument(
        help="A folder of labelled images, or a file that lists or holds them.", metavar="DATA"
    ),
]


@takes_groups
def init(
    data: DataPath,
    reading: ReadingOptions,
    out: Annotated[
        Path | None,
        typer.Option(help="The study file to write.  (default: <name of the data>.toml)"),
    ] = None,
    on_bad_image: OnBadImage = BadImageName.FAIL,
    as_python: Annotated[
        bool, typer.Option("--python", help="Write the same study as a Python script.")
    ] = False,
) -> None:
    """Write a study file for your own images."""
    from burnish.api.init import write_for_images

    path = write_for_images(data, out=out, as_python=as_python, **reading.as_keywords(on_bad_image))
    command = "python" if as_python else "burnish run"
    say(f"{path}: look it over, then: {command} {shlex.quote(str(path))}")


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
    from burnish.api.check import check as check_images

    found = check_images(data, out=out, **reading.as_keywords())
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
