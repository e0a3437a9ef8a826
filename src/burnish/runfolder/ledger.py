"""The ledger: one line for every reading of the test split, none of which can be changed unseen.

The entry ``digest`` of a line is the SHA-256 of the whole file before it and of the line
itself with an empty digest: whoever changes a reading, or takes one out, breaks its own line
or one after it. That the last lines are there is held by ``state.json``, which counts them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import DamageError, RunFolderError
from burnish.files import DIGEST, write_whole

_OLD = {"time", "model_sha256", "reason", "num_images", "accuracy", "loss"}
"""Entries of a line that an older burnish wrote, which gave it no digest."""


def append_line(path: Path, reading: Mapping[str, Any]) -> None:
    """Append a reading to a ledger."""
    before = path.read_bytes() if path.exists() else b""
    write_whole(path, before + _seal(before, reading))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return every reading of a ledger, oldest first, without the digests; none where it is absent.

    Lines without a digest are believed before the first that has one, since that one
    holds them; and where there is no other, if they are just what an older burnish wrote.

    Raises
    ------
    DamageError
        If a line is not what was written.
    RunFolderError
        If it cannot be read.
    """
    try:
        given = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}") from error
    readings: list[dict[str, Any]] = []
    before, sealed = b"", False
    for number, line in enumerate(given.splitlines(keepends=True), start=1):
        try:
            reading = json.loads(line.decode())
        except ValueError as error:
            raise DamageError(
                f"{path} cannot be read: line {number} is damaged: {error}. {_MEND}"
            ) from error
        if not isinstance(reading, dict) or (
            _seal(before, reading) != line if DIGEST in reading else sealed or set(reading) != _OLD
        ):
            raise DamageError(
                f"{path} is damaged, or was edited: line {number} does not match its digest. "
                f"{_MEND}"
            )
        sealed = sealed or DIGEST in reading
        readings.append({name: value for name, value in reading.items() if name != DIGEST})
        before += line
    return readings


_MEND = (
    "What was read of the test split cannot be had again: put the file back from a copy, or "
    "keep this folder as it is and run the study in another with --out"
)


def explain_missing(path: Path, found: int, counted: int) -> str:
    """Say that a ledger has fewer readings than were counted."""
    return f"{path} has {found} of {counted} readings: its last lines are missing. {_MEND}"


def _seal(before: bytes, reading: Mapping[str, Any]) -> bytes:
    """Return a reading's line, with its digest, behind the lines before it."""
    content = {name: value for name, value in reading.items() if name != DIGEST}
    text = json.dumps({**content, DIGEST: ""}, ensure_ascii=False, allow_nan=False)
    unsealed = text.encode(errors="backslashreplace")
    digest = hashlib.sha256(before + unsealed).hexdigest().encode()
    return unsealed[:-2] + digest + b'"}\n'
