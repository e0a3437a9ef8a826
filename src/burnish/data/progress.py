"""Showing on stderr how far decoding is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from burnish.data.decoded import OnDecoded


@contextmanager
def show_decoding(*, quiet: bool = False) -> Iterator[OnDecoded]:
    """Show a bar on a terminal, and one plain line otherwise, once there is something to show.

    Parameters
    ----------
    quiet
        Show nothing.
    """
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        is_told = False

        def tell(done: int, total: int) -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                sys.stderr.write(f"decoding {total:,} images\n")

        yield tell
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield update
