"""The page of a report: collects what a run folder holds and renders it as one HTML file."""

from __future__ import annotations

import hashlib
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.files import read_json, write_whole
from burnish.report.analysis.account import read_account
from burnish.report.analysis.final import MAX_SHOWN
from burnish.report.drawing.figure_set import FigureSet
from burnish.report.formatting import format_value
from burnish.report.tables import write_tables
from burnish.report.templating import hash_script, read_script, templates
from burnish.report.views.data import view_data
from burnish.report.views.final import view_final
from burnish.report.views.pictures import draw_section
from burnish.report.views.stage import StageView, view_stage
from burnish.runfolder.manifest import write_manifest, write_pictures_manifest
from burnish.runfolder.store import RunFolder, StageRecord


def write_page(run: RunFolder) -> Path:
    """Draw the pictures of a run and write ``report/index.html``; return its path.

    Raises
    ------
    RunFolderError
        If the folder is not a run, has no finished stage yet, or cannot be read or written.
    """
    figure_set = FigureSet()
    run.check()
    run.check_stages()
    page = render_page(run, figure_set)
    figure_set.write(run.report / "figures")
    path = run.report / "index.html"
    write_whole(path, page.encode(errors="backslashreplace"))
    write_tables(run)
    write_manifest(run.report)
    for record in run.stages():
        if record.kind != "final":
            write_pictures_manifest(record.folder)
    return path


def render_page(run: RunFolder, figure_set: FigureSet, *, live: bool = False) -> str:
    """Return the page of a run as text; nothing is written.

    Parameters
    ----------
    run
        The run folder.
    figure_set
        Takes the pictures in.
    live
        Whether the page is served while the run goes on, and fetches what is new.

    Raises
    ------
    RunFolderError
        As :func:`write_page`.
    """
    account = read_account(run)
    whole, data = account.whole, account.data
    state = read_json(run.path / "state.json") if (run.path / "state.json").exists() else {}
    stages = [view_stage(stage, whole.chosen, figure_set) for stage in whole.stages]
    final_view = view_final(account.final, stages, figure_set) if account.final else None
    study_text = run.read_study()
    planned = _read_plan(study_text)
    done = {record.name for record in account.records}
    script = read_script("live.js" if live else "report.js")
    return (
        templates()
        .get_template("report.html")
        .render(
            study=str(state.get("study") or planned.name or run.path.name),
            source=whole.source,
            data=data,
            state=str(state.get("state", "unknown")),
            stages=stages,
            pending=[name for name in planned.stages if name not in done],
            final=final_view,
            evidence=whole.evidence,
            findings=account.findings,
            anchors={stage.name: stage.anchor for stage in stages},
            pictures=draw_section("overview", whole, figure_set),
            readings=run.readings(),
            seconds=_count_seconds(state, stages, account.final_record),
            provenance=_list_provenance(account.provenance, data),
            found=view_data(run, data.get("facts") or {}),
            seed=account.provenance.get("study_seed"),
            command=_write_command(account.provenance.get("command")),
            study_text=study_text,
            has_trials=any(stage.kind == "tune" for stage in stages),
            max_mistakes=MAX_SHOWN,
            script=script,
            script_hash=hash_script(script),
            live=live,
            version=find_version(run),
        )
    )


def _count_seconds(
    state: Mapping[str, Any], stages: Sequence[StageView], final: StageRecord | None
) -> float:
    seconds = [stage.seconds for stage in stages]
    if final:
        seconds.append(float(final.result.get("seconds", 0.0)))
    # A run that was resumed may count only its last sitting; its stages count them all.
    return max(float(state.get("seconds") or 0.0), sum(seconds))


def render_waiting(run: RunFolder) -> str:
    """Return the page of a run that goes on and has not finished a stage yet."""
    script = read_script("live.js")
    return (
        templates()
        .get_template("waiting.html")
        .render(
            name=run.path.name,
            script=script,
            script_hash=hash_script(script),
            version=find_version(run),
        )
    )


def find_version(run: RunFolder) -> str:
    """Changes when there is more to report: another stage has finished, or the test was read."""
    results = sorted((run.path / "stages").glob("*/result.json"))
    content = [f"{path} {path.stat().st_mtime_ns}" for path in results]
    return hashlib.sha256("\n".join([*content, str(run.ledger.exists())]).encode()).hexdigest()


@dataclass(frozen=True)
class _Plan:
    name: str | None
    stages: Sequence[str]


def _read_plan(study_text: str) -> _Plan:
    """Read from the study file what the run was to do; empty if that cannot be read."""
    try:
        content = tomllib.loads(study_text)
        return _Plan(
            content.get("study", {}).get("name"),
            [str(stage["name"]) for stage in content.get("stage", [])],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Plan(None, [])


def _list_provenance(
    provenance: Mapping[str, Any], data: Mapping[str, Any]
) -> list[tuple[str, str]]:
    shown = {**provenance, **{f"data {name}": value for name, value in data.items()}}
    for name in ("data", "command", "data class_names", "data facts"):
        shown.pop(name, None)
    return [(name.replace("_", " "), format_value(value)) for name, value in shown.items()]


def _write_command(command: Any) -> str:
    if isinstance(command, list):
        return shlex.join(str(word) for word in command)
    return str(command or "")
