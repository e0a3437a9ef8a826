"""Tables as CSV, safe to open in a spreadsheet: cells may hold names that come from anybody."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would run (OWASP, "CSV Injection")."""


def write_table(heading: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Return a table as CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.

    >>> print(write_table(["name", "share"], [["=cmd.png", 0.5]]), end="")
    "name","share"
    "'=cmd.png",0.5
    """
    buffer = io.StringIO()
    # All text is quoted: otherwise a lone carriage return would stand bare, and end the row.
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([_defuse(cell) if isinstance(cell, str) else cell for cell in row])
    # A name on disk that is no UTF-8 is written as what can be read of it.
    return buffer.getvalue().encode("utf-8", "backslashreplace").decode()


def _defuse(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
