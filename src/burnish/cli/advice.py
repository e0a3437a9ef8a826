"""``burnish suggest`` and ``burnish labels``: what a finished run says should be done next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.options import AsJson, RunPath
from burnish.cli.output import print_json, say, write_text
from burnish.errors import StudyError


def suggest(
    run: RunPath,
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("next.toml"),
) -> None:
    """Write the study that a finished run suggests next."""
    from burnish.advice.suggest import suggest_study
    from burnish.runfolder.store import RunFolder

    for change in suggest_study(RunFolder(run), out):
        say(f"- {change}")
    say(f"{out}: look it over, then: burnish run {shlex.quote(str(out))}")


def labels(
    run: RunPath,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The table to write; '-' prints it.  (default: labels-to-check.csv)",
            dir_okay=False,
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page with their images.", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the labels that are likely wrong, with their files, for you to check."""
    from burnish.advice.doubtful_labels import find_doubtful_labels, list_labels_as_csv
    from burnish.runfolder.store import RunFolder

    folder = RunFolder(run)
    found = find_doubtful_labels(folder)
    if out is None and not as_json:
        out = Path("labels-to-check.csv")
    for path in (out, sheet):
        # Somebody may have written into it what they found.
        if path is not None and str(path) != "-" and path.exists():
            raise StudyError(f"{path} is there already: give another name, or move it away")
    if out is not None:
        write_text(out, list_labels_as_csv(found.labels))
    num_pictures = None
    if sheet is not None:
        from burnish.report.label_sheet import render_label_sheet

        page, num_pictures = render_label_sheet(folder, found.labels)
        write_text(sheet, page)
    if as_json:
        print_json({"run": str(run), **found.as_dict()})
        return
    counted = ", ".join(
        f"{found.num_by_split[split]:,} of {num:,} in {split}"
        for split, num in found.num_judged.items()
    )
    if str(out) != "-":
        say(f"{out}: {len(found.labels):,} doubtful labels ({counted})")
    if num_pictures is not None:
        say(f"{sheet}: the pictures of {num_pictures:,} of them")
