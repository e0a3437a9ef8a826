"""``burnish run`` and ``burnish plan``: a study is run, or what running it would take is told."""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.groups import takes_groups
from burnish.cli.options import (
    Address,
    AsJson,
    DataDir,
    ExecutorName,
    ExecutorOption,
    Overrides,
    StudyName,
    Workers,
)
from burnish.cli.output import complain, print_json, say
from burnish.errors import DataNotFoundError, StudyError

if TYPE_CHECKING:
    from burnish.runfolder.store import RunFolder


class CheckpointsName(enum.StrEnum):
    """How checkpoints get from one node of a cluster to another."""

    OBJECT_STORE = "object-store"
    SHARED = "shared"


@dataclass(frozen=True)
class RunOptions:
    """Options of ``burnish run`` besides the study."""

    out: Annotated[
        Path | None,
        typer.Option(help="The run folder.  (default: runs/<study>)", show_default=False),
    ] = None
    overrides: Overrides = None
    data_dir: DataDir = None
    workers: Workers = None
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Plan fewer trials and epochs, to finish in about this many minutes."
        ),
    ] = None
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

    def choose_ray(self) -> dict[str, Any] | None:
        """Return the given options of a Ray cluster; ``None`` if none is used.

        Raises
        ------
        StudyError
            If an option for a cluster is given without one, or an option for this machine with one.
        """
        on_ray = choose_ray(self.executor, self.address, self.checkpoints)
        if on_ray is not None and self.memory is not None:
            raise StudyError(
                "--memory-per-worker is of processes on this machine; on a cluster a stage says "
                'what a fit takes: resources = { memory = "4GB" }'
            )
        return on_ray

    def write_command(self, study_name: str) -> str:
        """Return the command with the same options, except for the path of the data."""
        words = ["burnish", "run", study_name]
        words += [word for override in self.overrides or () for word in ("--set", override)]
        given = {
            "--out": self.out,
            "--workers": self.workers,
            "--minutes": self.minutes,
            "--memory-per-worker": self.memory,
        }
        for option, value in given.items():
            words += [option, str(value)] if value is not None else []
        words += ["--skip-disk-check"] if self.skip_disk_check else []
        on_ray = self.choose_ray()
        if on_ray is not None:
            words += ["--executor", "ray"]
            words += [w for name, value in on_ray.items() for w in (f"--{name}", value)]
        return shlex.join(words)


def choose_ray(
    executor: ExecutorName,
    address: str | None,
    checkpoints: CheckpointsName = CheckpointsName.OBJECT_STORE,
) -> dict[str, Any] | None:
    """Return the given options of a Ray cluster; ``None`` if none is used.

    Raises
    ------
    StudyError
        If an option for a cluster is given without one.
    """
    given: dict[str, Any] = {} if address is None else {"address": address}
    if checkpoints is not CheckpointsName.OBJECT_STORE:
        given["checkpoints"] = str(checkpoints)
    if executor is ExecutorName.RAY:
        return given
    if given:
        raise StudyError(f"--{next(iter(given))} belongs to a cluster: add --executor ray")
    return None


@takes_groups
def run(
    study: StudyName,
    options: RunOptions,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY", help="Run this study instead if the study's data cannot be found."
        ),
    ] = None,
) -> None:
    """Run a study, or resume one, to a tested model and a report."""
    if fallback is not None:
        from burnish.study.text import read_study_text

        read_study_text(fallback)
    options.choose_ray()
    try:
        _run(study, options)
    except DataNotFoundError as error:
        if fallback is None:
            raise
        complain(f"{error}\n\n*** Running the study '{fallback}' INSTEAD of '{study}'. ***\n")
        _run(fallback, replace(options, overrides=None))


def _run(study_name: str, options: RunOptions) -> None:
    from burnish.runfolder.store import RunFolder
    from burnish.study.text import find_name

    overrides = options.overrides or ()
    name = find_name(study_name, overrides)
    if name is None:
        from burnish.study.parse import load_study

        name = load_study(study_name, overrides)[0].name
    folder = RunFolder(options.out or Path("runs") / name)
    # Locked before TensorFlow is loaded: a second process then fails without loading it.
    with folder.lock():
        _run_in(folder, study_name, options)


def _run_in(folder: RunFolder, study_name: str, options: RunOptions) -> None:
    from contextlib import nullcontext

    from rich.console import Console

    from burnish.report import write_report
    from burnish.runner.run import run_study
    from burnish.stages.placement import open_cluster
    from burnish.study.parse import load_study
    from burnish.terminal import TerminalObserver
    from burnish.tuning.watchdog import parse_memory

    memory = parse_memory(options.memory) if options.memory is not None else None
    study, text = load_study(study_name, options.overrides or ())
    observer = TerminalObserver(Console())
    workers, on_ray = options.workers, options.choose_ray()
    placing = (
        nullcontext()
        if on_ray is None
        else open_cluster(study, folder=folder, workers=workers, on_note=observer.on_note, **on_ray)
    )
    try:
        with placing as placement:
            run_study(
                study,
                text,
                folder,
                options.data_dir,
                observer,
                options.write_command(study_name),
                workers,
                options.minutes,
                memory,
                not options.skip_disk_check,
                placement,
            )
    finally:
        observer.close()
    page = write_report(folder)
    say(f"report: {page}")
    if folder.model.is_dir():
        say(f"model:  {folder.model}")


def plan(
    study: StudyName,
    overrides: Overrides = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Show the plan for this many minutes.")
    ] = None,
    executor: ExecutorOption = ExecutorName.LOCAL,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show what a study would do here, how long it would take, and the disk space it needs."""
    from burnish.planning.plan import plan_study
    from burnish.stages.placement import open_cluster
    from burnish.study.parse import load_study

    on_ray = choose_ray(executor, address)
    parsed, text = load_study(study, overrides or [])
    if on_ray is None:
        description = plan_study(parsed, text, data_dir, workers, minutes)
    else:
        with open_cluster(parsed, workers=workers, **on_ray) as placement:
            description = plan_study(parsed, text, data_dir, workers, minutes, placement)
    if as_json:
        print_json(description)
        return
    from rich.console import Console

    from burnish.terminal import tabulate_plan

    Console().print(tabulate_plan(description))
