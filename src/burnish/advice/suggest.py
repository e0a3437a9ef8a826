"""The follow-up of a run: a study that starts from what won, over ranges that the run taught.

Ranges are widened where the best lay at their end, narrowed around the best elsewhere, and
dropped where a hyperparameter did not matter.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from burnish.advice.diagnostics import Finding, StageFacts, diagnose_stage, order_values, read_facts
from burnish.errors import RunFolderError
from burnish.files import write_whole
from burnish.models import find_family, limits_of
from burnish.runfolder.store import RunFolder
from burnish.space import Float, Int, Range, Value
from burnish.study.data_paths import find_data, write_path
from burnish.study.parse import parse_study

_MOST_NAME = 34
"""Letters of the run's study that its follow-up's name keeps."""


def suggest_study(run: RunFolder, out: Path) -> list[str]:
    """Write the follow-up study of a finished run.

    Parameters
    ----------
    run
        The run folder.
    out
        The study file to write; one that is there already is not overwritten.

    Returns
    -------
    What was changed and why, one line each.

    Raises
    ------
    RunFolderError
        If the run has not chosen a model yet, or ``out`` is there already.
    """
    run.check()
    run.check_stages()
    if out.exists():
        raise RunFolderError(f"{out} is there already: choose another file with --out")
    final = next((r.result for r in run.stages() if r.kind == "final"), None)
    if final is None:
        raise RunFolderError(
            f"{run.path} has not chosen a model yet. Let 'burnish run' finish, then ask again."
        )
    text, changes = _write_study(run, final, out)
    parse_study(text, "the follow-up study")  # What is not valid must not be handed out.
    write_whole(out, text.encode())
    return changes


def _write_study(run: RunFolder, final: Mapping[str, Any], out: Path) -> tuple[str, list[str]]:
    # With the images where they lie now.
    study_text = parse_study(run.read_study(), str(run.study_file), folder=run.path)[1]
    before = tomllib.loads(study_text)
    if "path" in before["data"]:
        before["data"]["path"] = write_path(find_data(before["data"]["path"]), out)
    facts = {f.name: f for f in read_facts(run)}
    chosen = facts[str(final["chosen"])]
    findings = {name: diagnose_stage(f) for name, f in facts.items()}
    lineage = _find_lineage(chosen, facts)
    tables = {table["name"]: table for table in before["stage"]}
    changes: list[str] = []
    share = tables[chosen.name].get("share")
    stages = [_write_start(chosen, share, findings[chosen.name], changes)]
    searched: set[str] = set()
    for facts_of in reversed(lineage):
        if facts_of.result["kind"] != "tune":
            continue
        # What a later stage searched again has its last word there.
        name = facts_of.name
        space = _revise_space(facts_of, chosen, findings[name], searched, changes)
        searched |= set(facts_of.space)
        if space:
            model = str(facts_of.result["model"])
            stages.insert(1, _write_search(tables[name], space, findings[name], model))
            if "points_to_evaluate" in tables[name]:
                changes.append(f"{name}: points_to_evaluate left out, which were of the old space")
    if len(stages) == 1:
        changes.append("no range is worth another search: the winner is fitted again, with 3 seeds")
    for previous, stage in itertools.pairwise(stages):
        stage["base"] = previous["name"]
    stages.append({"name": "final", "kind": "final"})
    study = {
        **before["study"],
        "name": f"{before['study']['name'][:_MOST_NAME].rstrip('-')}-next",
        "description": f"what the run of {before['study']['name']} says should be tried next",
    }
    content: dict[str, Any] = {"study": study}
    content |= {key: before[key] for key in ("data", "training") if key in before}
    content["stage"] = stages
    head = (
        f"The follow-up of a run of the study '{before['study']['name']}', which gave "
        f"{final['chosen']}, validation loss {final['val_loss']:.4f}."
    )
    lines = [head, "", "Changed:", *(f"- {change}" for change in changes)]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return f"{comment}\n{tomli_w.dumps(content)}", changes


def _find_lineage(chosen: StageFacts, facts: Mapping[str, StageFacts]) -> list[StageFacts]:
    """The chosen stage and those it builds on, the first of them first."""
    lineage = [chosen]
    while (base := lineage[0].result.get("base")) in facts:
        lineage.insert(0, facts[str(base)])
    return lineage


def _write_start(
    chosen: StageFacts, share: float | None, findings: Sequence[Finding], changes: list[str]
) -> dict[str, Any]:
    """The first stage: what won, fitted as it was, and as long, whatever ended it then."""
    result = chosen.result
    settings = dict(result["settings"])
    settings.pop("class_weight", None)  # It belongs to [data], which stays.
    if settings.pop("max_seconds", None) is not None:
        settings["max_epochs"] = result["epochs"]
    settings.pop("pace", None)
    kinds = {finding.kind for finding in findings}
    if "budget-too-short" in kinds:
        settings["max_epochs"] = 2 * settings["max_epochs"]
        changes.append(f"max_epochs of the winner doubled to {settings['max_epochs']:g}")
    if "irregular" in kinds:
        settings["learning_rate_schedule"] = "one-cycle"
        changes.append("the winner is fitted with a one-cycle learning rate: its curve was rough")
    seeds = max(3, 2 * len(result.get("runs", ())) if "seeds" in kinds else 3)
    changes.append(f"starts from the params of {chosen.name}, with {seeds} seeds")
    return {
        "name": "won",
        "kind": "train",
        "model": result["model"],
        "params": dict(result["params"]),
        "training": settings,
        "seeds": seeds,
        **({} if share is None else {"share": share}),
    }


def _revise_space(
    stage: StageFacts,
    chosen: StageFacts,
    findings: Sequence[Finding],
    searched: set[str],
    changes: list[str],
) -> dict[str, Any]:
    limits = limits_of(find_family(str(stage.result["model"]))).ranges
    edges = {name: f.side for f in findings if f.kind == "edge" for name in f.targets}
    idle = {name for f in findings if f.kind == "does-not-matter" for name in f.targets}
    space: dict[str, Any] = {}
    for name, r in stage.space.items():
        if name in searched:
            continue
        best = chosen.result["params"][name]
        if name in idle:
            changes.append(f"{stage.name}: {name} did not matter, and is fixed at {best}")
            continue
        if name in edges and edges[name] is not None:
            values, what = _widen(r, best, str(edges[name])), "widened"
        else:
            values, what = _narrow(r, best), "narrowed"
        allowed = [v for v in values if v in limits[name]]
        if len(allowed) < 2:
            changes.append(f"{stage.name}: nothing more to try for {name}, fixed at {best}")
            continue
        shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in allowed)
        changes.append(f"{stage.name}: {name} {what} to {shown}")
        space[name] = allowed
    return space


def _write_search(
    table: Mapping[str, Any], space: Mapping[str, Any], findings: Sequence[Finding], model: str
) -> dict[str, Any]:
    """A tuning stage as it was, over another space, without what belongs to the old one."""
    dropped = {"base", "model", "params", "space", "points_to_evaluate", "max_seconds"}
    if not any(find_family(model).is_structure(name) for name in space):
        dropped.add("max_mflops")  # A limit of what does not vary any more.
    kept = {k: v for k, v in table.items() if k not in dropped}
    for name in {"training", "refit"} & kept.keys():  # Of the minutes of the run before.
        kept[name] = {k: v for k, v in kept[name].items() if k not in {"max_seconds", "pace"}}
    if any(f.kind == "few-good-trials" for f in findings) and "trials" in kept:
        kept["trials"] = 2 * kept["trials"]
    return {**kept, "name": f"{kept['name']}-next"[-40:].lstrip("-"), "space": dict(space)}


def _widen(r: Range, best: Value, side: str) -> list[Value]:
    """The best, one value within the range, and two beyond its end."""
    assert isinstance(best, int | float)
    values = order_values(r)
    assert values is not None
    inner = _neighbours(values, best)
    near = inner[1] if side == "low" else inner[0]
    # Where a range grows by factors, so does what is added to it.
    factor = best / near if near and best else 0.0
    by_factor = (isinstance(r, Int | Float) and r.log) or max(factor, 1 / (factor or 1)) >= 1.4
    if isinstance(r, Float) and r.step is None:
        near, factor = (best * 2 if side == "low" else best / 2), (0.5 if side == "low" else 2.0)
        by_factor = True
    added: list[float] = [best]
    for _ in range(2):
        last = added[-1]
        added.append(last * factor if by_factor else last + (best - near))
    whole = isinstance(best, int) and all(isinstance(v, int) for v in values)
    tidy: list[Value] = [round(v) if whole else _round(float(v)) for v in (near, *added)]
    return sorted(set(tidy), key=float)


def _narrow(r: Range, best: Value) -> list[Value]:
    """The best and its neighbours; of values without an order, the best alone."""
    values = order_values(r)
    if values is None or not isinstance(best, int | float):
        return [best]
    if isinstance(r, Float) and r.step is None:
        if r.log:
            half = (r.high / r.low) ** 0.125
            near: list[float] = [best / half, best, best * half]
        else:
            half = (r.high - r.low) / 8
            near = [best - half, best, best + half]
        return [_round(v) for v in near if r.low <= v <= r.high]
    low, high = _neighbours(values, best)
    return sorted({low, best, high}, key=float)


def _neighbours(values: Sequence[int | float], best: int | float) -> tuple[float, float]:
    """The values next below and above; the best itself where there is none."""
    below = [v for v in values if v < best and not math.isclose(v, best)]
    above = [v for v in values if v > best and not math.isclose(v, best)]
    return max(below, default=best), min(above, default=best)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
