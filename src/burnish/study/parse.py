"""From the text of a study file to a :class:`Study`, strictly.

A study file is TOML. An unknown key, name or kind, a value out of range or a
stage that is not there is an error that says what was given, where, and what
exists, before anything is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.errors import StudyError, shorten
from burnish.study.checks import check_study
from burnish.study.data_paths import anchor_path, is_utf8
from burnish.study.study import Study
from burnish.study.text import apply_override, quote, read_study_text, shipped_studies

MAX_DEPTH = 32
"""Tables and lists within each other; a study needs five."""


MAX_BITS = 256
"""Of a whole number; Python would neither show one of many thousands nor make a float of it."""


def load_study(study: str, overrides: Sequence[str] = ()) -> tuple[Study, str]:
    """Find, parse and check a study; see :func:`read_study_text` and :func:`parse_study`."""
    text, where = read_study_text(study)
    folder = None if study in shipped_studies() else Path(study).parent
    return parse_study(text, where, overrides, folder)


def parse_study(
    text: str, where: str, overrides: Sequence[str] = (), folder: Path | None = None
) -> tuple[Study, str]:
    """Parse and check a study.

    Parameters
    ----------
    text
        TOML.
    where
        Where it comes from, for messages.
    overrides
        Values given as ``key=value`` (see :func:`apply_override`).
    folder
        Of the study file: what a relative ``path`` of the data counts from; the text that is
        given back has an absolute one. In a run folder, see :func:`find_moved`.

    Returns
    -------
    The study, and the text that says the same with the overrides in it.

    Raises
    ------
    StudyError
        Says what was given, where, what was expected, and what exists.
    """
    content = _parse_toml(text, where)
    for override in overrides:
        apply_override(content, override)
    try:
        _refuse_unwritable(content)
        anchored = folder is not None and anchor_path(content, folder)
        if overrides or anchored:
            import tomli_w

            text = tomli_w.dumps(content)
            # In the order of the text: a search depends on that of its space.
            content = tomllib.loads(text)
        return check_study(content), text
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # Also of a number of thousands of digits.
        raise StudyError(f"{where} is not valid TOML: {shorten(str(error))}") from error
    except RecursionError as error:
        raise StudyError(f"{where} is nested too deeply: a study needs five levels") from error


def _refuse_unwritable(content: dict[str, Any]) -> None:
    """Refuse what TOML's grammar lets through, and no study could keep or show.

    Level by level rather than by calling itself: depth is one of the things that are refused.
    """
    level: list[tuple[str, Any]] = [("", content)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, dict):
                start = f"{quote(path)}." if path else ""
                for key, held in value.items():
                    if not is_utf8(key):
                        raise StudyError(f"the key {start}{quote(key)}: expected text in UTF-8")
                    inner.append((f"{start}{key}", held))
            elif isinstance(value, list):
                inner += [(path, held) for held in value]
            elif isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise StudyError(f"{quote(path)} is a whole number of more than {MAX_BITS} bits")
            elif isinstance(value, str) and not is_utf8(value):
                raise StudyError(f"{quote(path)} = {quote(value)}: expected text in UTF-8")
        if not inner:
            return
        level = inner
    raise StudyError(f"{quote(level[0][0])} is nested too deeply: a study needs five levels")
