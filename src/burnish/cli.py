"""The command line: what each command takes, and whom it calls.

Nothing heavy is imported before a command needs it: ``--help`` must not wait
for TensorFlow.
"""

from __future__ import annotations

import enum
import io
import logging
import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.child_processes import refuse_to_begin_again
from burnish.errors import BurnishError, DataNotFoundError, StudyError, show_plainly
from burnish.files import explain_refusal, show_json
from burnish.interrupts import end_stopped, is_stopping, stop_on_signals

if TYPE_CHECKING:
    from burnish.runfolder.store import RunFolder

app = typer.Typer(
    name="burnish",
    help="Staged tuning studies for image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyName = Annotated[
    str, typer.Argument(help="A study that ships, or the path of a .toml file.", metavar="STUDY")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change one value of the study."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(envvar="BURNISH_DATA", help="Folder with one folder per data source."),
]
MovedData = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help="Where your images lie now, if they have moved."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at a time.  (default: one a core, or what a cluster can)"),
]


class ExecutorName(enum.StrEnum):
    """Where trials are fitted."""

    LOCAL = "local"
    RAY = "ray"


class CheckpointsName(enum.StrEnum):
    """How checkpoints get from one node of a cluster to another."""

    OBJECT_STORE = "object-store"
    SHARED = "shared"


ExecutorOption = Annotated[
    ExecutorName,
    typer.Option("--executor", help="Fit trials in processes here, or on a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT|ray://HOST:PORT",
        help="Of the Ray cluster.  (default: RAY_ADDRESS, or one that is started here)",
    ),
]


class ClassCaseName(enum.StrEnum):
    """Whether class names that differ in case alone are one class."""

    AUTO = "auto"
    JOIN = "join"
    KEEP = "keep"


ImageColumn = Annotated[
    str | None,
    typer.Option("--image-column", help="Column of the images, where its name does not say it."),
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", help="Column of the labels, where its name does not say it."),
]
ImageRoot = Annotated[
    Path | None,
    typer.Option(
        "--image-root",
        help="Folder that the paths of a table count from.  (default: the table's, or near by)",
    ),
]
ClassCaseOption = Annotated[
    ClassCaseName,
    typer.Option("--class-case", help="Join class names that differ in case, or keep them apart."),
]


class Quantization(enum.StrEnum):
    """What numbers a network may be quantized to."""

    INT8 = "int8"


RangeOption = Annotated[
    str,
    typer.Option(
        "--range",
        metavar="auto|LOW,HIGH",
        help="Values of more than 8 bits that are black and white.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Largest image that is read, in pixels.  (default: 64,000,000)"),
]


class LabelsName(enum.StrEnum):
    """Which of folders within folders are the classes."""

    TOP = "top"
    DEEPEST = "deepest"


class MasksName(enum.StrEnum):
    """What becomes of masks beside their images."""

    LEAVE_OUT = "leave-out"
    KEEP = "keep"


LabelsOption = Annotated[
    LabelsName | None,
    typer.Option(
        "--labels", help="Which of folders within folders are the classes.  (default: the likelier)"
    ),
]
MasksOption = Annotated[
    MasksName | None,
    typer.Option(
        "--masks", help="What becomes of masks beside images.  (default: left out if they are some)"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ModelPath = Annotated[
    Path,
    typer.Argument(help="A run folder, its folder model/, or a zip file of it.", metavar="MODEL"),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, as 'burnish run' named it.")]


@app.command()
def studies() -> None:
    """List the studies that ship with burnish."""
    from rich.console import Console
    from rich.table import Table

    from burnish.study.parse import parse_study
    from burnish.study.text import shipped_studies

    table = Table("study", "data", "stages", "what it is")
    for name, text in shipped_studies().items():
        study, _ = parse_study(text, name)
        stages = ", ".join(stage.name for stage in study.stages)
        table.add_row(name, study.data.source or "", stages, study.study.description)
    Console().print(table)


@app.command()
def run(
    study: StudyName,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder.  (default: runs/<study>)", show_default=False),
    ] = None,
    set_: Overrides = None,
    data_dir: DataDir = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY", help="Run this study instead where the data is not to be had."
        ),
    ] = None,
    workers: Workers = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Plan fewer trials and epochs, so that it ends within these."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory-per-worker",
            metavar="SIZE",
            help="Give up a trial whose process takes more than this, such as 4GB.",
        ),
    ] = None,
    skip_disk_check: Annotated[
        bool, typer.Option("--skip-disk-check", help="Begin though the disk may fill up.")
    ] = False,
    executor: ExecutorOption = ExecutorName.LOCAL,
    address: Address = None,
    checkpoints: Annotated[
        CheckpointsName,
        typer.Option(help="How they get to other nodes: through Ray, or in a shared run folder."),
    ] = CheckpointsName.OBJECT_STORE,
) -> None:
    """Run a study, or go on with one, to a tested model and a report."""
    if fallback is not None:
        from burnish.study.text import read_study_text

        read_study_text(fallback)
    on_ray = _choose_ray(executor, address, checkpoints)
    if on_ray is not None and memory is not None:
        raise StudyError(
            "--memory-per-worker is of processes on this machine; on a cluster a stage says "
            'what a fit takes: resources = { memory = "4GB" }'
        )
    options = _RunOptions(
        out=out,
        overrides=tuple(set_ or ()),
        data_dir=data_dir,
        workers=workers,
        minutes=minutes,
        memory=memory,
        skip_disk_check=skip_disk_check,
        on_ray=on_ray,
    )
    try:
        _run(study, options)
    except DataNotFoundError as error:
        if fallback is None:
            raise
        _complain(f"{error}\n\n*** Running the study '{fallback}' INSTEAD of '{study}'. ***\n")
        _run(fallback, replace(options, overrides=()))


@dataclass(frozen=True)
class _RunOptions:
    """What ``burnish run`` was given besides the study."""

    out: Path | None
    overrides: tuple[str, ...]
    data_dir: Path | None
    workers: int | None
    minutes: float | None
    memory: str | None
    skip_disk_check: bool
    on_ray: dict[str, Any] | None

    def write_command(self, study_name: str) -> str:
        """Return the command that says the same, but for where the data lies."""
        words = ["burnish", "run", study_name]
        words += [word for override in self.overrides for word in ("--set", override)]
        given = {
            "--out": self.out,
            "--workers": self.workers,
            "--minutes": self.minutes,
            "--memory-per-worker": self.memory,
        }
        for option, value in given.items():
            words += [option, str(value)] if value is not None else []
        words += ["--skip-disk-check"] if self.skip_disk_check else []
        if self.on_ray is not None:
            words += ["--executor", "ray"]
            words += [w for name, value in self.on_ray.items() for w in (f"--{name}", value)]
        return shlex.join(words)


def _choose_ray(
    executor: ExecutorName,
    address: str | None,
    checkpoints: CheckpointsName = CheckpointsName.OBJECT_STORE,
) -> dict[str, Any] | None:
    """Return the options of a Ray cluster as they were given; ``None`` where none is to be used."""
    given: dict[str, Any] = {} if address is None else {"address": address}
    if checkpoints is not CheckpointsName.OBJECT_STORE:
        given["checkpoints"] = str(checkpoints)
    if executor is ExecutorName.RAY:
        return given
    if given:
        raise StudyError(f"--{next(iter(given))} belongs to a cluster: add --executor ray")
    return None


def _run(study_name: str, options: _RunOptions) -> None:
    from burnish.runfolder.store import RunFolder
    from burnish.study.text import find_name

    name = find_name(study_name, options.overrides)
    if name is None:
        from burnish.study.parse import load_study

        name = load_study(study_name, options.overrides)[0].name
    folder = RunFolder(options.out or Path("runs") / name)
    # Held before TensorFlow is loaded: whoever comes second need not load it to be told.
    with folder.lock():
        _run_in(folder, study_name, options)


def _run_in(folder: RunFolder, study_name: str, options: _RunOptions) -> None:
    from contextlib import nullcontext

    from rich.console import Console

    from burnish.report import write_report
    from burnish.runner.run import run_study
    from burnish.stages.placement import open_cluster
    from burnish.study.parse import load_study
    from burnish.terminal import TerminalObserver
    from burnish.tuning.watchdog import parse_memory

    memory = parse_memory(options.memory) if options.memory is not None else None
    study, text = load_study(study_name, options.overrides)
    observer = TerminalObserver(Console())
    workers, on_ray = options.workers, options.on_ray
    placing = (
        nullcontext()
        if on_ray is None
        else open_cluster(study, folder=folder, workers=workers, on_note=observer.noted, **on_ray)
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
    _say(f"report: {page}")
    if folder.model.is_dir():
        _say(f"model:  {folder.model}")


@app.command()
def plan(
    study: StudyName,
    set_: Overrides = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="The plan that fits into these minutes.")
    ] = None,
    executor: ExecutorOption = ExecutorName.LOCAL,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Say what a study would do here, how long it would take, and how much disk."""
    from burnish.planning.plan import plan_study
    from burnish.stages.placement import open_cluster
    from burnish.study.parse import load_study

    on_ray = _choose_ray(executor, address)
    parsed, text = load_study(study, set_ or [])
    if on_ray is None:
        description = plan_study(parsed, text, data_dir, workers, minutes)
    else:
        with open_cluster(parsed, workers=workers, **on_ray) as placement:
            description = plan_study(parsed, text, data_dir, workers, minutes, placement)
    if as_json:
        typer.echo(show_json(description))
        return
    from rich.console import Console

    from burnish.terminal import tabulate_plan

    Console().print(tabulate_plan(description))


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="A folder or file of labelled images.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The study file.  (default: <name of the data>.toml)"),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="How it is laid out, where that is not plain.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of a CSV whose equal values stay in one split.")
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_root: ImageRoot = None,
    class_case: ClassCaseOption = ClassCaseName.AUTO,
    range_: RangeOption = "auto",
    max_pixels: MaxPixels = None,
    labels: LabelsOption = None,
    masks: MasksOption = None,
) -> None:
    """Write a study file that suits your own images."""
    from burnish.data.ranges import parse_range
    from burnish.study.init import init_study

    path = init_study(
        data,
        out,
        format_,
        range=parse_range(range_),
        max_pixels=max_pixels,
        group=group,
        image_column=image_column,
        label_column=label_column,
        image_root=image_root,
        class_case=class_case.value,
        labels=_value_of(labels),
        masks=_value_of(masks),
    )
    _say(f"{path}: look it over, then: burnish run {shlex.quote(str(path))}")


@app.command()
def status(
    run: RunPath,
    as_json: AsJson = False,
) -> None:
    """Say how far a run is, and what came of it."""
    from burnish.runfolder.status import describe_run
    from burnish.runfolder.store import RunFolder

    description = describe_run(RunFolder(run))
    if as_json:
        typer.echo(show_json(description))
        return
    from rich.console import Console

    from burnish.terminal import tabulate_status

    Console().print(tabulate_status(description))


@app.command()
def verify(
    run: RunPath,
    as_json: AsJson = False,
) -> None:
    """Read every file of a run: exit code 1 where one is damaged or missing."""
    from burnish.runfolder.store import RunFolder
    from burnish.runfolder.verify import describe_findings, verify_run

    findings = verify_run(RunFolder(run))
    if as_json:
        typer.echo(show_json(describe_findings(run, findings)))
    else:
        for finding in findings:
            _say(f"{finding.problem}: {finding.detail}")
        _say(f"{run}: {'nothing else' if findings else 'nothing'} is amiss")
    if any(finding.problem != "unknown" for finding in findings):
        raise typer.Exit(1)


@app.command()
def report(
    run: RunPath,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Log the run to this MLflow tracking URI too."),
    ] = None,
) -> None:
    """Draw the figures of a run, and write its page of evidence."""
    from burnish.report import write_report
    from burnish.runfolder.store import RunFolder

    folder = RunFolder(run)
    _say(str(write_report(folder)))
    if mlflow is not None:
        from burnish.report.tracking import log_to_mlflow

        typer.echo(f"MLflow run {log_to_mlflow(folder, mlflow)} at {mlflow}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run folders or more.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
) -> None:
    """Put runs side by side in one page."""
    from burnish.report.compare import compare_runs
    from burnish.runfolder.store import RunFolder

    _say(str(compare_runs([RunFolder(path) for path in runs], out)))


@app.command()
def watch(
    run: RunPath,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
) -> None:
    """Serve the report of a run on this machine while the run goes on; Ctrl-C ends it."""
    from burnish.runfolder.store import RunFolder
    from burnish.watch import Watcher

    with Watcher(RunFolder(run), port) as watcher:
        typer.echo(f"{watcher.address}  (Ctrl-C ends it; the run goes on)")
        try:
            watcher.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")


@app.command()
def suggest(
    run: RunPath,
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("next.toml"),
) -> None:
    """Write the study that a finished run says should come next."""
    from burnish.advice.suggest import suggest_study
    from burnish.runfolder.store import RunFolder

    for change in suggest_study(RunFolder(run), out):
        _say(f"- {change}")
    _say(f"{out}: look it over, then: burnish run {shlex.quote(str(out))}")


@app.command()
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
        typer.Option(metavar="FILE", help="Write a page with their pictures too.", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the labels that are likely wrong, by file, for somebody to look at."""
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
        _write(out, list_labels_as_csv(found.labels))
    num_pictures = None
    if sheet is not None:
        from burnish.report.label_sheet import render_label_sheet

        page, num_pictures = render_label_sheet(folder, found.labels)
        _write(sheet, page)
    if as_json:
        typer.echo(show_json({"run": str(run), **found.as_dict()}))
        return
    counted = ", ".join(
        f"{found.num_by_split[split]:,} of {num:,} in {split}"
        for split, num in found.num_judged.items()
    )
    if str(out) != "-":
        _say(f"{out}: {len(found.labels):,} doubtful labels ({counted})")
    if num_pictures is not None:
        _say(f"{sheet}: the pictures of {num_pictures:,} of them")


@app.command()
def evaluate(
    run: RunPath,
    again: Annotated[
        bool, typer.Option("--again", help="Read the test split once more; the ledger keeps it.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "burnish evaluate --again",
    data_dir: DataDir = None,
    data: MovedData = None,
    as_json: AsJson = False,
) -> None:
    """Say what reading the test split gave; --again reads it anew, on the record."""
    from burnish.runfolder.store import RunFolder
    from burnish.runner.evaluate import describe_readings, evaluate_again

    folder = RunFolder(run)
    if again:
        evaluate_again(folder, data_dir, reason, data)
        from burnish.report import write_report

        write_report(folder)
    readings = describe_readings(folder)
    if as_json:
        typer.echo(show_json(readings))
        return
    for entry in readings:
        _say(
            f"{entry['time']}  accuracy {entry['accuracy']:.2%}, loss {entry['loss']:.4f} on "
            f"{entry['num_images']:,} images, model {entry['model_sha256'][:12]}: {entry['reason']}"
        )
    times = f"{len(readings)} time{'s' if len(readings) != 1 else ''}"
    typer.echo(f"The test split was read {times}. Only --again reads it once more.")


@app.command()
def check(
    data: Annotated[
        Path, typer.Argument(help="A folder of images, or a file that lists or holds them.")
    ],
    format: Annotated[
        str | None,
        typer.Option(help="What it is: folder, csv, npz, idx, parquet.  (default: found out)"),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column whose values must not straddle splits.")
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    image_root: ImageRoot = None,
    class_case: ClassCaseOption = ClassCaseName.AUTO,
    labels: LabelsOption = None,
    masks: MasksOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw a contact sheet of each class into this folder.")
    ] = None,
    range_: RangeOption = "auto",
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Look through your own images before you train: exit code 1 where something is wrong."""
    from burnish.data.check import check_data
    from burnish.data.progress import show_decoding
    from burnish.data.ranges import parse_range

    with show_decoding() as on_progress:
        found = check_data(
            data,
            format=format,
            range=parse_range(range_),
            max_pixels=max_pixels,
            out=out,
            on_progress=on_progress,
            group=group,
            image_column=image_column,
            label_column=label_column,
            image_root=image_root,
            class_case=class_case.value,
            labels=_value_of(labels),
            masks=_value_of(masks),
        )
    if as_json:
        typer.echo(show_json(found))
    else:
        from rich.console import Console

        from burnish.terminal import print_check

        print_check(Console(), found)
    if found["problems"]:
        raise typer.Exit(1)


@app.command()
def cache(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what no run of the last 30 days used.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --clean: remove all that no run uses now.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove what was unused longest, down to so much: 5GB."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the decoded images that are kept for the next run, or remove some."""
    from burnish.data.cache.overview import look_after_cache

    if everything and not clean:
        raise typer.BadParameter("--all goes with --clean")
    found = look_after_cache(remove=clean, everything=everything, size=size)
    if as_json:
        typer.echo(show_json(found))
        return
    from rich.console import Console

    from burnish.terminal import print_cache

    print_cache(Console(), found)


@app.command()
def predict(
    model: ModelPath,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Name the most probable classes.")] = 1,
    as_json: AsJson = False,
    as_csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table; '-' prints it.", dir_okay=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images predicted at once.")] = 64,
    max_pixels: MaxPixels = None,
) -> None:
    """Classify images with a finished model; exit code 1 where one could not be read.

    An image without ink (an empty canvas) gets a reason instead of a label, and exit code 0.
    """
    from burnish.bundle.classify import classify_files, find_images
    from burnish.bundle.listing import list_as_csv, list_as_json, list_for_people
    from burnish.bundle.model import load

    loaded = load(model)
    found = find_images(images)
    classified = classify_files(
        loaded, found.paths, top_k=top_k, batch_size=batch_size, max_pixels=max_pixels
    )
    answers = [*classified, *found.refused]
    if found.unread:
        unread = f"{len(found.unread):,}, such as {found.unread[0]}"
        typer.echo(show_plainly(f"not called as images are, and not read: {unread}"), err=True)
    if as_csv is not None:
        _write(as_csv, list_as_csv(answers))
    if as_json:
        typer.echo(list_as_json(loaded.name, answers), nl=False)
    elif as_csv is None:
        typer.echo(list_for_people(answers), nl=False)
    failures = [answer.error for answer in answers if answer.error is not None]
    for failure in failures:
        _complain(f"error: {failure}")
    if failures:
        raise typer.Exit(1)


def _write(path: Path, text: str) -> None:
    """Write a file, or print it where the path is a dash."""
    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    from burnish.files import write_whole

    write_whole(path, text.encode())


@app.command()
def export(
    model: ModelPath,
    format_: Annotated[
        str,
        typer.Option("--format", help="keras, onnx, litert, savedmodel; zip, folder: all of it."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="What to write.  (default: ./<study> with the format's suffix)"),
    ] = None,
    quantize: Annotated[
        Quantization | None, typer.Option(help="Smaller numbers; for onnx and litert.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|STUDY", help="Where MODEL lies in no run folder: whose images judge it."
        ),
    ] = None,
    data_dir: DataDir = None,
    data: MovedData = None,
) -> None:
    """Write a finished model in another format, checked against Keras."""
    from burnish.runner.export import describe_certificate, export_finished

    written, certificate = export_finished(
        model,
        format_,
        out,
        quantize=quantize is not None,
        study=study,
        data_dir=data_dir,
        data=data,
    )
    _say(f"{written}{describe_certificate(certificate) if certificate else ''}")


@app.command()
def serve(
    model: ModelPath,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name it is reached by, as of a proxy; '*': any."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A page from elsewhere that may ask, such as http://localhost:5173; '*': any.",
        ),
    ] = None,
    max_body: Annotated[
        str, typer.Option(metavar="SIZE", help="Largest request body, such as 16MB.")
    ] = "16MiB",
    max_pixels: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="Pixels of the largest image.")
    ] = 64_000_000,
) -> None:
    """Serve a model over HTTP: predictions, metrics, and a page to draw on."""
    from burnish.serve.limits import make_limits
    from burnish.serve.run import serve as serve_model

    def announce(name: str, address: str) -> None:
        typer.echo(f"{name}: {address}  (API: {address}/docs; Ctrl-C ends)")

    limits = make_limits(max_body, max_pixels, allow_origin or [])
    serve_model(model, host, port, workers, announce, allow_host or [], limits)


def _show_version(show: bool) -> None:
    if show:
        from burnish import __version__

        typer.echo(f"burnish {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Staged tuning studies for image classifiers."""


def _value_of(choice: enum.StrEnum | None) -> Any:
    """Return the plain word behind a choice, which is what a study file would say."""
    return None if choice is None else choice.value


def _say(message: str) -> None:
    typer.echo(show_plainly(message))


def _complain(message: str) -> None:
    # What an error quotes may come from anybody: a file's name must not steer the terminal.
    typer.secho(show_plainly(message), err=True, fg="red" if sys.stderr.isatty() else None)


def main() -> None:
    """Run the command line; an error of burnish's own is one message and exit code 2."""
    refuse_to_begin_again()
    # Figures go into files. A notebook hands its own backend down, which may not be there.
    os.environ["MPLBACKEND"] = "agg"
    # It warns where it finds no home folder for its caches, and then needs none.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        # A name that is not text must not end a command; in JSON its escape is its own.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with stop_on_signals():
        try:
            app()
        except BaseException as error:
            # Typer makes an exit with code 130 of Ctrl-C.
            if isinstance(error, SystemExit) and error.code == 130:
                end_stopped()
            if is_stopping() or isinstance(error, SystemExit):
                raise
            message = _explain(error)
            if message is None:
                raise
            _complain(f"error: {message}")
            sys.exit(2)


def _explain(error: BaseException) -> str | None:
    """Return what a user is told of an error; ``None`` of one that is a bug."""
    match error:
        case BurnishError():
            return str(error)
        case PermissionError():
            return f"{error.filename}: {error.strerror}. Mend the permission, or go elsewhere"
        case ModuleNotFoundError() if error.name and not error.name.startswith("burnish"):
            extra = "mlflow" if error.name.startswith("mlflow") else "train"
            return f"this command needs {error.name}: pip install 'burnish[{extra}]'"
        case OSError():
            return explain_refusal(error)
    return None


if __name__ == "__main__":
    main()
