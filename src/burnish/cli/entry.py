"""Where the command line begins: its commands in their order, its errors, Ctrl-C."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from burnish.child_processes import refuse_to_begin_again
from burnish.cli.advice import labels, suggest
from burnish.cli.help import Command
from burnish.cli.model import export, predict, serve
from burnish.cli.output import complain
from burnish.cli.own_data import cache, check, init
from burnish.cli.run import plan, run
from burnish.cli.run_folder import compare, evaluate, finish, report, status, verify, watch
from burnish.cli.studies import studies
from burnish.errors import BurnishError
from burnish.files import explain_refusal
from burnish.interrupts import end_stopped, is_stopping, stop_on_signals

app = typer.Typer(
    name="burnish",
    help="Staged tuning studies for image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_COMMANDS = (
    studies,
    run,
    plan,
    init,
    finish,
    status,
    verify,
    report,
    compare,
    watch,
    suggest,
    labels,
    evaluate,
    check,
    cache,
    predict,
    export,
    serve,
)
"""All commands, in the order in which ``--help`` lists them."""

for _command in _COMMANDS:
    app.command(cls=Command)(_command)


def _show_version(show: bool) -> None:
    if show:
        from burnish.version import __version__

        typer.echo(f"burnish {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Staged tuning studies for image classifiers."""


def main() -> None:
    """Run the command line; an expected error prints one message and exits with code 2."""
    refuse_to_begin_again()
    # Figures go into files. A notebook passes on its own backend, which may be missing here.
    os.environ["MPLBACKEND"] = "agg"
    # It warns if it finds no home folder for its caches, but then works without one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        # A name that is not text must not end a command; JSON has escapes of its own.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with stop_on_signals():
        try:
            app()
        except BaseException as error:
            # Typer turns Ctrl-C into an exit with code 130.
            if isinstance(error, SystemExit) and error.code == 130:
                end_stopped()
            if is_stopping() or isinstance(error, SystemExit):
                raise
            message = _explain(error)
            if message is None:
                raise
            complain(f"error: {message}")
            sys.exit(2)


def _explain(error: BaseException) -> str | None:
    """Return the message for a user; ``None`` if the error is a bug."""
    match error:
        case BurnishError():
            return str(error)
        case PermissionError():
            return f"{error.filename}: {error.strerror}. Fix the permission, or go elsewhere"
        case ModuleNotFoundError() if error.name and not error.name.startswith("burnish"):
            extra = "mlflow" if error.name.startswith("mlflow") else "train"
            return f"this command needs {error.name}: pip install 'burnish[{extra}]'"
        case OSError():
            return explain_refusal(error)
    return None
