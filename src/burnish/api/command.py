"""The command line that does what a call did: a run folder records it, and the report shows it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def write_command(
    name: str, values: Sequence[str], options: Mapping[str, Any], flags: Mapping[str, bool]
) -> str:
    """Return ``burnish run`` with what was given.

    Parameters
    ----------
    name
        The study's, or the path of its file or of the images.
    values
        Changed values of the study, as ``key=value``.
    options, flags
        Of the call, by keyword; ``None`` was not given.

    >>> write_command("photos", ["a.b=1"], {"out": "x y", "minutes": None}, {"verbose": False})
    "burnish run photos --set a.b=1 --out 'x y'"
    """
    words = ["burnish", "run", name]
    for value in values:
        words += ["--set", value]
    for keyword, given in options.items():
        if given is not None:
            shown = (
                ",".join(f"{part:g}" for part in given)
                if isinstance(given, list | tuple)
                else given
            )
            words += [_name_option(keyword), str(shown)]
    words += [_name_option(keyword) for keyword, is_set in flags.items() if is_set]
    return shlex.join(words)


def _name_option(keyword: str) -> str:
    return f"--{keyword.replace('_', '-')}"
