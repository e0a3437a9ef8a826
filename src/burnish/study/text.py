"""The text of a study: where it is found, its name, and values given with ``--set``.

Nothing heavy is imported: a run folder is held before anything is loaded, and the study's
name says which folder it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from burnish.errors import StudyError, name_what_exists, shorten

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""What names of studies and stages look like."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

MAX_STUDY_BYTES = 2**20
"""Largest study file that is read; those that ship have two thousand bytes."""


def shipped_studies() -> dict[str, str]:
    """Texts of the studies that ship with burnish, by name."""
    folder = resources.files("burnish.study") / "studies"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda f: f.name
    )
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in files}


def read_study_text(study: str) -> tuple[str, str]:
    """Find a study by the name of one that ships, or by the path of a file.

    Returns
    -------
    The TOML text, and where it comes from, for messages.

    Raises
    ------
    StudyError
        If there is neither.
    """
    shipped = shipped_studies()
    if study in shipped:
        return shipped[study], f"the study '{study}'"
    path = Path(study)
    try:
        if path.suffix == ".toml" or path.exists():
            # No more than that, whatever it is: a device has no end.
            with path.open("rb") as file:
                content = file.read(MAX_STUDY_BYTES + 1)
            if len(content) > MAX_STUDY_BYTES:
                raise StudyError(
                    f"{path} has more than {MAX_STUDY_BYTES:,} bytes: is it a study file?"
                )
            return content.decode().replace("\r\n", "\n"), str(path)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"cannot read the study file {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    raise StudyError(
        name_what_exists("study", study, shipped)
        + "; or give the path of a .toml file, or of labelled images"
    )


def find_name(text: str, overrides: Sequence[str] = ()) -> str | None:
    """Return the name of a study without checking the rest; ``None`` where it has no good one."""
    try:
        content = tomllib.loads(text)
        for override in overrides:
            apply_override(content, override)
        name = content["study"]["name"]
    except (StudyError, ValueError, KeyError, TypeError, RecursionError):
        return None  # Whoever checks the study says what is wrong.
    return name if isinstance(name, str) and NAME.fullmatch(name) else None


def write_override(key: str, value: object) -> str:
    """Return ``key=value`` as :func:`apply_override` reads it, of a value of Python.

    >>> write_override("cnn.space.learning_rate", {"low": 0.001, "high": 0.01, "log": True})
    'cnn.space.learning_rate={ low = 0.001, high = 0.01, log = true }'

    Raises
    ------
    StudyError
        If TOML has no such value, or the key has an ``=``.
    """
    if "=" in key:
        raise StudyError(f"the key {quote(key)}: expected stage.key, without an '='")
    try:
        return f"{key}={_write_value(value)}"
    except TypeError as error:
        raise StudyError(
            f"{quote(key)} = {quote(value)}: a study file cannot hold a {error}; expected text, a "
            "number, True, False, or a list or dict of these"
        ) from error


def _write_value(value: Any) -> str:
    """Return a value as TOML, in one line."""
    if hasattr(value, "item") and not isinstance(value, dict):  # A number of NumPy.
        value = value.item()
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)  # A JSON string is a TOML string.
        case int() | float():
            return repr(value)
        case dict():
            keys = [key if _BARE_KEY.fullmatch(key) else json.dumps(key) for key in value]
            values = map(_write_value, value.values())
            inner = ", ".join(f"{key} = {held}" for key, held in zip(keys, values, strict=True))
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_write_value, value))}]"
    raise TypeError(type(value).__name__)


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one value in a study's content, in place.

    ``stage.key=value`` sets a key of the stage of that name, ``table.key=value`` one
    of ``study``, ``data`` or ``training``; further dots go into inner tables:
    ``cnn.params.learning_rate=0.002``, ``data.split.train=5000``. Values are TOML;
    what is not counts as a string.

    Raises
    ------
    StudyError
        If it has no ``=``, or the table or stage does not exist.
    """
    key, equals, value_text = override.partition("=")
    head, *inner = key.strip().split(".")
    if not equals or not inner or not all([head, *inner]):
        raise StudyError(
            f"--set {quote(override)}: expected stage.key=value, for example "
            "cnn.training.max_epochs=3"
        )
    try:
        value: Any = tomllib.loads(f"value = {value_text}")["value"]
    except (ValueError, RecursionError):
        value = value_text.strip()
    stages = content.get("stage")
    stages = stages if isinstance(stages, list) else []
    names = {s["name"]: s for s in stages if isinstance(s, dict) and isinstance(s.get("name"), str)}
    if head in {"study", "data", "training"}:
        table: Any = content.setdefault(head, {})
    elif head in names:
        table = names[head]
    else:
        existing = [*names, "study", "data", "training"]
        raise StudyError(
            f"--set {quote(override)}: " + name_what_exists("stage or table", head, existing)
        )
    if not isinstance(table, dict):
        raise StudyError(f"--set {quote(override)}: '{head}' is a value, not a table")
    for part in inner[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise StudyError(f"--set {quote(override)}: '{part}' is a value, not a table")
    table[inner[-1]] = value


def quote(value: object) -> str:
    """Show a value in a message, cut where it is long."""
    return shorten(value if isinstance(value, str) else repr(value), 120)
