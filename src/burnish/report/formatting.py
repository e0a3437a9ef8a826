"""How numbers, values and names are written on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError

MINUS = "\N{MINUS SIGN}"


def format_value(value: Any) -> str:
    """Write a value as a reader expects it.

    >>> format_value({"name": "one-cycle", "peak": 0.004})
    'name = one-cycle, peak = 0.004'
    >>> format_value([28, 28, 1]), format_value(None)
    ('28, 28, 1', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {format_value(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(part, Mapping) for part in value) else ", ").join(
            format_value(part) for part in value
        )
    return str(value)


def show_duration(seconds: float) -> str:
    """Write a duration.

    >>> [show_duration(seconds) for seconds in (4.26, 75, 3_700)]
    ['4.3 s', '1 min 15 s', '1 h 02 min']
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def sign(value: float, num_decimals: int) -> str:
    """Write a number with its sign.

    >>> sign(-0.5, 2), sign(0.125, 3)
    ('\u22120.50', '+0.125')
    """
    return f"{value:+.{num_decimals}f}".replace("-", MINUS)


def show_p_value(value: float) -> str:
    """Write a p-value.

    >>> show_p_value(0.00001), show_p_value(0.0312), show_p_value(1.0)
    ('p < 0.001', 'p = 0.031', 'p = 1')
    """
    if value < 0.001:
        return "p < 0.001"
    return "p = 1" if value > 0.9995 else f"p = {value:.3f}"


def show_many(value: float) -> str:
    """Write a large number with three digits.

    >>> show_many(950.0), show_many(50_000), show_many(1_234_567), show_many(2.5e9)
    ('950', '50.0 thousand', '1.23 million', '2.50 billion')
    """
    for size, name in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{name}"
    return f"{value:.0f}"


def need(content: Mapping[str, Any], key: str, where: Path) -> Any:
    """Return what a record must have.

    Raises
    ------
    RunFolderError
        If it is not there; the message names the record.
    """
    if key not in content:
        raise RunFolderError(
            f"the record in {where} has no '{key}'; it was written by another version of "
            "burnish or changed by hand. Run the study again in a new folder."
        )
    return content[key]


def name_image(names: Sequence[str] | None, row: int) -> str:
    """Return what an image is called; where nobody knows, its number within its split."""
    return f"no. {row}" if names is None else names[row]
