"""A study as a script: the same tables, keys and comments in Python, and the call that runs it."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

_HEAD = '''"""A study of images, as a script: python {name}."""

{comments}from pathlib import Path

import burnish

STUDY = {{
'''
_TAIL = """}}

study = burnish.Study.from_dict(STUDY, folder=Path(__file__).parent)
run = burnish.run(study, minutes={minutes:g})
print(run.test.accuracy, run.test.interval)
"""
_HEADER = re.compile(r"\[{1,2}(?P<path>[a-z_.]+)\]{1,2}\s*(?P<comment>#.*)?")


@dataclass
class _Table:
    """A table as it stands in the text: its comment, its lines in Python, and tables within it."""

    comment: str = ""
    lines: list[str] = field(default_factory=list)
    tables: dict[str, _Table] = field(default_factory=dict)


def write_script(text: str, name: str, minutes: float = 10.0) -> str:
    """Return a script of the study that ``burnish init`` writes.

    Parameters
    ----------
    text
        TOML as that command writes it: each key stands in a line of its own.
    name
        Of the script.
    minutes
        For which the script runs the study.
    """
    lines = text.splitlines()
    num = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    # How a study file is run is not said of a script.
    kept = [line for line in lines[:num] if line.strip("# ") and "burnish run" not in line]
    comments = "".join(f"{line.split(' How long it takes')[0]}\n" for line in kept)
    tables, stages = _read_tables(lines[num:])
    body = [line for key, table in tables.items() for line in _write(f'"{key}": ', table, 1)]
    body += [
        '    "stage": [',
        *(line for stage in stages for line in _write("", stage, 2)),
        "    ],",
    ]
    head = _HEAD.format(name=name, comments=f"{comments}\n" if comments else "")
    return "\n".join([head.rstrip("\n"), *body, _TAIL.format(minutes=minutes)])


def _read_tables(lines: list[str]) -> tuple[dict[str, _Table], list[_Table]]:
    tables: dict[str, _Table] = {}
    stages: list[_Table] = []
    table = _Table()
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            if line.strip():
                table.lines.append(_write_entry(line))
            continue
        table = _Table(f"  {header['comment']}" if header["comment"] else "")
        first, _, inner = header["path"].partition(".")
        if first != "stage":
            tables[first] = table
        elif not inner:
            stages.append(table)
        else:
            stages[-1].tables[inner] = table
    return tables, stages


def _write(opening: str, table: _Table, depth: int) -> list[str]:
    """Return the lines of a table as a dict, within others."""
    indent, within = "    " * depth, "    " * (depth + 1)
    return [
        f"{indent}{opening}{{{table.comment}",
        *(f"{within}{line}" for line in table.lines),
        *(
            line
            for key, inner in table.tables.items()
            for line in _write(f'"{key}": ', inner, depth + 1)
        ),
        f"{indent}}},",
    ]


def _write_entry(line: str) -> str:
    """Return a line ``key = value  # comment`` as an entry of a dict, or a comment as it is.

    >>> _write_entry('colors = ["red#1", true]  # both')
    '"colors": ["red#1", True],  # both'
    """
    if line.startswith("#"):
        return line
    ((key, value),) = tomllib.loads(line).items()
    return f"{_show(key)}: {_show(value)},{_find_comment(line)}"


def _show(value: Any) -> str:
    """Return a value of TOML as Python has it, texts in double quotes."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return f"{{{', '.join(f'{_show(k)}: {_show(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{', '.join(map(_show, value))}]"
    return repr(value)


def _find_comment(line: str) -> str:
    """Return the comment behind a value, with two spaces before it; empty where there is none."""
    for at in (at for at, character in enumerate(line) if character == "#"):
        try:
            tomllib.loads(line[:at])
        except tomllib.TOMLDecodeError:
            continue  # It stands within a text.
        return f"  {line[at:]}"
    return ""
