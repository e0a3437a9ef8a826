"""``burnish run`` and ``plan``: images or a study are run, or what that would take is told."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.groups import takes_groups
from burnish.cli.options import (
    Address,
    AsJson,
    DataDir,
    ExecutorName,
    ExecutorOption,
    Minutes,
    Overrides,
    SourceName,
    Workers,
)
from burnish.cli.output import complain, print_json
from burnish.cli.reading import BadImageName, OnBadImage, ReadingOptions
from burnish.errors import DataNotFoundError


class CheckpointsName(enum.StrEnum):
    """How checkpoints get from one node of a cluster to another."""

    OBJECT_STORE = "object-store"
    SHARED = "shared"


@dataclass(frozen=True)
class RunOptions:
    """Options of ``burnish run`` besides what is to be run."""

    out: Annotated[
        Path | None,
        typer.Option(help="The run folder.  (default: runs/<study or images>)", show_default=False),
    ] = None
    overrides: Overrides = None
    data_dir: DataDir = None
    workers: Workers = None
    minutes: Minutes = None
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory-per-worker",
            metavar="SIZE",
            help="Stop a trial whose process uses more memory than this, such as 4GB.",
        ),
    ] = None
    skip_disk_check: Annotated[
        bool, typer.Option("--skip-disk-check", help="Start even if the disk may fill up.")
    ] = False
    executor: ExecutorOption = ExecutorName.LOCAL
    address: Address = None
    checkpoints: Annotated[
        CheckpointsName,
        typer.Option(help="How checkpoints reach other nodes: through Ray, or a shared folder."),
    ] = CheckpointsName.OBJECT_STORE

    def as_keywords(self) -> dict[str, Any]:
        """Return the options as `burnish.run` takes them."""
        return {
            "minutes": self.minutes,
            "out": self.out,
            "values": self.overrides,
            "data_dir": self.data_dir,
            "workers": self.workers,
            "memory_per_worker": self.memory,
            "check_disk": not self.skip_disk_check,
            "executor": self.executor.value,
            "address": self.address,
            "checkpoints": self.checkpoints.value,
        }


@takes_groups
def run(
    source: SourceName,
    options: RunOptions,
    reading: ReadingOptions,
    on_bad_image: OnBadImage = BadImageName.FAIL,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY", help="Run this study instead if the study's data cannot be found."
        ),
    ] = None,
) -> None:
    """From images, or a study, to a tested model and a report; the same command resumes.

    Of images it does what check, init and run do: it says what is wrong, writes the study that
    suits them beside the run folder, and runs it.
    """
    from burnish.api.run import run as run_source

    if fallback is not None:
        from burnish.study.text import read_study_text

        read_study_text(fallback)
    keywords = options.as_keywords()
    try:
        run_source(source, **keywords, **reading.as_keywords(on_bad_image))
    except DataNotFoundError as error:
        if fallback is None:
            raise
        complain(f"{error}\n\n*** Running the study '{fallback}' INSTEAD of '{source}'. ***\n")
        run_source(fallback, **{**keywords, "values": None})


@takes_groups
def plan(
    source: SourceName,
    reading: ReadingOptions,
    overrides: Overrides = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    minutes: Minutes = None,
    executor: ExecutorOption = ExecutorName.LOCAL,
    address: Address = None,
    on_bad_image: OnBadImage = BadImageName.FAIL,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do here, how long it would take, and the disk space it needs."""
    from burnish.api.plan import plan as plan_source

    planned = plan_source(
        source,
        minutes=minutes,
        values=overrides,
        data_dir=data_dir,
        workers=workers,
        executor=executor.value,
        address=address,
        **reading.as_keywords(on_bad_image),
    )
    if as_json:
        print_json(planned)
        return
    from rich.console import Console

    from burnish.terminal import tabulate_plan

    Console().print(tabulate_plan(planned))
