"""The study of a run with its pace: what the clock decided is written down and needs no clock."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from burnish.files import write_whole
from burnish.runfolder.store import RunFolder


def write_paced_study(
    folder: RunFolder, text: str, results: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write ``reproduce.toml``, if the clock decided anything: the same run without minutes.

    Parameters
    ----------
    folder
        The run folder.
    text
        The study as it ran.
    results
        Of all its stages.
    """
    content = tomllib.loads(text)
    is_paced = False
    for stage in content["stage"]:
        result = results[stage["name"]]
        if stage.get("max_seconds") is not None:
            del stage["max_seconds"]
            stage["trials"] = result["num_trials"]
            is_paced = True
        own = stage.get("refit" if stage["kind"] == "tune" else "training", {})
        if own.get("max_seconds") is not None and result.get("pace"):
            own["pace"] = [list(decision) for decision in result["pace"]]
            is_paced = True
    if is_paced:
        write_whole(folder.path / "reproduce.toml", tomli_w.dumps(content).encode())
