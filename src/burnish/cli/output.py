"""How commands print: text that cannot steer the terminal, JSON, and files or standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from burnish.errors import show_plainly
from burnish.files import show_json


def say(message: str) -> None:
    """Print a line; text that it quotes cannot steer the terminal."""
    typer.echo(show_plainly(message))


def complain(message: str) -> None:
    """Print a line on standard error, red on a terminal."""
    # An error may quote text from anybody: a file's name must not steer the terminal.
    typer.secho(show_plainly(message), err=True, fg="red" if sys.stderr.isatty() else None)


def print_json(found: Any) -> None:
    """Print plain data as one JSON object."""
    typer.echo(show_json(found))


def write_text(path: Path, text: str) -> None:
    """Write a file, or print the text if the path is a dash."""
    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    from burnish.files import write_whole

    write_whole(path, text.encode())
