"""What a run folder says of its run: the object that ``burnish status --json`` prints."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.runfolder.store import RunFolder, count_trials, read_trials


def describe_run(folder: RunFolder) -> dict[str, Any]:
    """Describe a run: what is done, what goes on, and what came of it.

    Returns
    -------
    ``study``, ``state`` (``running``, ``done``, ``interrupted`` or ``failed``),
    ``error`` (why it failed, else null), ``seconds``, ``data`` (``source``, of one's own
    images their folder's or file's name; ``path``, null of a source known by name;
    ``fingerprint``), ``stages`` (a list of ``name``, ``kind``, ``state``, ``params``,
    ``val_loss``, ``val_accuracy``, ``epochs``, ``seconds``; values null until they are
    known; tuning stages have ``trials``, numbers of ``complete``, ``pruned``, ``failed``
    and ``running`` ones, ``best_params``, and while they run on a cluster ``placed``, too:
    a list of ``fit`` (``trial/round/fold``, the last two from 0), ``attempt``, ``node``,
    ``pid`` and ``since``) and ``test`` (``accuracy``, ``loss``,
    ``readings``; null before the final stage).

    Raises
    ------
    RunFolderError
        If it is no run folder, or a file in it is damaged.
    """
    folder.check()
    state = read_json(folder.path / "state.json")
    running = folder.is_locked()
    if state["state"] == "running" and not running:
        state["state"] = "interrupted"
    study = _read_study(folder)
    done = {record.name: record.result for record in folder.stages()}
    keys = ("params", "val_loss", "val_accuracy", "epochs", "seconds")
    stages = []
    for number, stage in enumerate(study["stage"], start=1):
        name = stage["name"]
        if name in done:
            progress = "done"
        elif name == state["stage"]:
            progress = str(state["state"])
        else:
            progress = "pending"
        result = done.get(name, {})
        described = {
            "name": name,
            "kind": stage["kind"],
            "state": progress,
            **{key: result.get(key) for key in keys},
        }
        if stage["kind"] == "tune":
            trials = read_trials(folder.stage(number, name))
            described["trials"] = count_trials(trials)
            described["best_params"] = result.get("best_params") or _best_params(trials)
            described["placed"] = _read_placed(folder) if progress == "running" else []
        stages.append(described)
    provenance = folder.path / "provenance.json"
    data = read_json(provenance)["data"] if provenance.exists() else {}
    finals = [result for result in done.values() if result["kind"] == "final"]
    return {
        "study": state["study"],
        "state": state["state"],
        "error": state["error"],
        "seconds": round(float(state["seconds"]), 1),
        "data": {
            "source": data.get("source") or _name_data(study["data"]),
            "path": study["data"].get("path"),
            "fingerprint": data.get("fingerprint"),
        },
        "stages": stages,
        "test": {
            "accuracy": finals[0]["test"]["accuracy"],
            "loss": finals[0]["test"]["loss"],
            "readings": len(folder.readings()),
        }
        if finals
        else None,
    }


def _read_study(folder: RunFolder) -> dict[str, Any]:
    """Read the study that a run checked; checking it again would have to load Keras."""
    try:
        study = tomllib.loads(folder.read_study())
        # What is looked at below must be there; its values are the run's business.
        _ = _name_data(study["data"]), [(stage["name"], stage["kind"]) for stage in study["stage"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{folder.study_file} cannot be read as a study: {error}") from error
    return study


def _name_data(table: dict[str, Any]) -> str:
    """Name the data of a study: a source by its name, one's own images by their path."""
    return str(table["source"]) if "source" in table else Path(table["path"]).name


def _read_placed(folder: RunFolder) -> list[dict[str, Any]]:
    """Where trials run on a cluster; empty where they run on this machine."""
    try:
        return list(read_json(folder.placed)["fits"])
    except (RunFolderError, KeyError):  # The search may end between two looks.
        return []


def _best_params(trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Params of the lowest loss so far at the longest training so far."""
    scored = [trial for trial in trials if trial["loss"] is not None]
    best = min(scored, key=lambda t: (-t["epochs"], t["loss"], t["number"]), default=None)
    return best["params"] if best else None
