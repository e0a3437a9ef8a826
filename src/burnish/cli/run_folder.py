"""``burnish status``, ``finish``, ``verify``, ``report``, ``compare``, ``watch``, ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.options import AsJson, DataDir, MovedData, RunPath
from burnish.cli.output import print_json, say


def status(
    run: RunPath,
    as_json: AsJson = False,
) -> None:
    """Show the progress and the results of a run."""
    from burnish.runfolder.status import describe_run
    from burnish.runfolder.store import RunFolder

    description = describe_run(RunFolder(run))
    if as_json:
        print_json(description)
        return
    from rich.console import Console

    from burnish.terminal import tabulate_status

    Console().print(tabulate_status(description))


def finish(run: RunPath, data_dir: DataDir = None) -> None:
    """End a stopped run with the best model of its finished stages, tested and reported."""
    from burnish.api.finish import finish as finish_run

    finish_run(run, data_dir=data_dir)


def verify(
    run: RunPath,
    as_json: AsJson = False,
) -> None:
    """Read every file of a run; exit code 1 if one is damaged or missing."""
    from burnish.runfolder.store import RunFolder
    from burnish.runfolder.verify import describe_findings, verify_run

    findings = verify_run(RunFolder(run))
    if as_json:
        print_json(describe_findings(run, findings))
    else:
        for finding in findings:
            say(f"{finding.problem}: {finding.detail}")
        say(f"{run}: {'nothing else' if findings else 'nothing'} is amiss")
    if any(finding.problem != "unknown" for finding in findings):
        raise typer.Exit(1)


def report(
    run: RunPath,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Also log the run to this MLflow tracking URI."),
    ] = None,
) -> None:
    """Write the report of a run, with its figures."""
    from burnish.api.result import open as open_run

    found = open_run(run)
    say(str(found.report(show=False)))
    if mlflow is not None:
        typer.echo(f"MLflow run {found.to_mlflow(mlflow)} at {mlflow}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run folders or more.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
) -> None:
    """Compare runs side by side on one page."""
    from burnish.api.compare import compare as compare_runs

    say(str(compare_runs(runs, out=out)))


def watch(
    run: RunPath,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
) -> None:
    """Serve the report of a run on this machine while it runs; Ctrl-C stops serving."""
    from burnish.runfolder.store import RunFolder
    from burnish.watch import Watcher

    with Watcher(RunFolder(run), port) as watcher:
        typer.echo(f"{watcher.address}  (Ctrl-C ends it; the run goes on)")
        try:
            watcher.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")


def evaluate(
    run: RunPath,
    again: Annotated[
        bool,
        typer.Option("--again", help="Read the test split once more; the ledger records it."),
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Reason to record in the ledger.")
    ] = "burnish evaluate --again",
    data_dir: DataDir = None,
    data: MovedData = None,
    as_json: AsJson = False,
) -> None:
    """Show the recorded test results; --again reads the test split once more, on the record."""
    from burnish.runfolder.store import RunFolder
    from burnish.runner.evaluate import describe_readings, evaluate_again

    folder = RunFolder(run)
    if again:
        evaluate_again(folder, data_dir, reason, data)
        from burnish.report import write_report

        write_report(folder)
    readings = describe_readings(folder)
    if as_json:
        print_json(readings)
        return
    for entry in readings:
        say(
            f"{entry['time']}  accuracy {entry['accuracy']:.2%}, loss {entry['loss']:.4f} on "
            f"{entry['num_images']:,} images, model {entry['model_sha256'][:12]}: {entry['reason']}"
        )
    times = f"{len(readings)} time{'s' if len(readings) != 1 else ''}"
    typer.echo(f"The test split was read {times}. Only --again reads it once more.")
