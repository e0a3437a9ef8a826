"""A bar that moves: on a terminal, or in the cell of a notebook; nowhere else."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table

_REDRAW_EVERY = 0.25
"""Seconds between two pictures of a bar in a notebook, each of which is a message."""


def is_notebook() -> bool:
    """Whether this program is the kernel of a notebook, as rich tells."""
    return Console().is_jupyter


def make_console(*, quiet: bool = False) -> Console:
    """Return where a run is told: standard output; in a notebook too, where lines stay text."""
    if is_notebook():  # It says that it is a terminal, and is none.
        return Console(force_jupyter=False, force_terminal=False, quiet=quiet)
    return Console(quiet=quiet)


class LiveBar:
    """One bar; it is gone once it is stopped.

    Parameters
    ----------
    console
        Where lines are printed meanwhile.
    columns
        Of the bar.
    fields
        First values of what the columns show.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, **fields: Any) -> None:
        self._progress = Progress(*columns, console=console, transient=True)
        self._cell: Any = None
        self._drawn = time.monotonic()
        self._task = self._progress.add_task("", total=fields.pop("total", None), **fields)
        if console.is_terminal:
            self._progress.start()
        else:
            from IPython.display import display

            # rich's own way to be live in a notebook needs ipywidgets; this needs nothing.
            self._cell = display(self._table(), display_id=True)

    @staticmethod
    def is_possible(console: Console) -> bool:
        """Whether there is somebody to see it."""
        return not console.quiet and (console.is_terminal or is_notebook())

    def update(self, **values: Any) -> None:
        """Move it."""
        self._progress.update(self._task, **values)
        if self._cell is not None and time.monotonic() - self._drawn >= _REDRAW_EVERY:
            self._drawn = time.monotonic()
            self._cell.update(self._table())

    def _table(self) -> Table:
        return self._progress.make_tasks_table(self._progress.tasks)

    def stop(self) -> None:
        """Take it away."""
        if self._cell is None:
            self._progress.stop()
            return
        from IPython.display import HTML

        self._cell.update(HTML(""))
