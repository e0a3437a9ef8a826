"""Runs side by side: ``burnish compare RUN RUN...``. It reads run folders and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from markupsafe import Markup

from burnish.errors import RunFolderError
from burnish.files import read_json, write_whole
from burnish.report.analysis.evidence import NO_DIFFERENCE
from burnish.report.analysis.search import count_cost
from burnish.report.drawing.figure_set import FigureSet
from burnish.report.drawing.paths import draw_paths
from burnish.report.formatting import format_value
from burnish.report.templating import hash_script, read_script, templates
from burnish.runfolder.predictions import SplitPredictions, find_predictions
from burnish.runfolder.store import RunFolder, StageRecord
from burnish.stats.paired_tests import compare_means, correct_holm, mcnemar

LEVEL = 0.05


@dataclass(frozen=True)
class RunColumn:
    """One run as the page shows it; ``test`` is ``None`` before its final stage."""

    name: str
    path: str
    study: str
    source: str
    fingerprint: str
    stage: str
    model: str
    params: Mapping[str, Any]
    val_loss: float
    val_accuracy: float
    test: Mapping[str, Any] | None
    num_readings: int
    seconds: float
    num_images: float
    num_parameters: int | None
    ends: Sequence[float]
    losses: Sequence[float]
    predictions: SplitPredictions | None
    class_weight: str


@dataclass(frozen=True)
class RunComparison:
    """Two runs' models on the same validation images; differences are second less first."""

    first: str
    second: str
    loss: float
    interval: tuple[float, float]
    loss_p: float
    only_first: int
    only_second: int
    accuracy_p: float

    @property
    def verdict(self) -> str:
        """What may be said of the second."""
        if self.loss_p >= LEVEL:
            return NO_DIFFERENCE
        return "lower loss" if self.loss < 0 else "higher loss"


def compare_runs(runs: Sequence[RunFolder], out: Path) -> Path:
    """Write a page that puts runs side by side, and its picture as PNG and SVG beside it.

    Parameters
    ----------
    runs
        At least two run folders.
    out
        The page to write.

    Raises
    ------
    RunFolderError
        If there are fewer than two, or one has no finished stage.
    """
    if len(runs) < 2:
        raise RunFolderError("there is nothing to compare: give at least two run folders")
    columns = [_read_run(run, name) for run, name in zip(runs, _name_runs(runs), strict=True)]
    figure_set = FigureSet()
    figure = draw_paths(
        [column.name for column in columns],
        [column.ends for column in columns],
        [column.losses for column in columns],
    )
    picture = figure_set.inline(
        f"{out.stem}-paths", figure, "Lowest validation loss so far of each run over its time."
    )
    script = read_script("report.js")
    names = sorted({name for column in columns for name in column.params})
    values = {name: [_show_param(column, name) for column in columns] for name in names}
    rows = [(name, shown) for name, shown in values.items() if len(set(shown)) > 1]
    page = (
        templates()
        .get_template("compare.html")
        .render(
            columns=columns,
            same_data=len({column.fingerprint for column in columns}) == 1,
            comparisons=_compare_pairs(columns),
            params=rows,
            picture=Markup(picture),
            script=script,
            script_hash=hash_script(script),
        )
    )
    figure_set.write_beside(out.parent)
    write_whole(out, page.encode(errors="backslashreplace"))
    return out


def _show_param(column: RunColumn, name: str) -> str:
    return format_value(column.params[name]) if name in column.params else "not its own"


def _name_runs(runs: Sequence[RunFolder]) -> list[str]:
    """Names of the folders; whole paths where two have the same."""
    names = [run.path.resolve().name for run in runs]
    return [
        name if names.count(name) == 1 else str(run.path)
        for run, name in zip(runs, names, strict=True)
    ]


def _read_run(run: RunFolder, name: str) -> RunColumn:
    run.check()
    run.check_stages()
    records = run.stages()
    fits = [record for record in records if record.kind != "final"]
    if not fits:
        raise RunFolderError(f"{run.path} has no finished stage yet: there is nothing to compare")
    final = next((record.result for record in records if record.kind == "final"), None)
    best = _find_best(fits, final)
    provenance = read_json(run.path / "provenance.json")
    num_train = int(provenance["data"].get("num_train") or 0)
    costs = [count_cost(record, num_train) for record in fits]
    ends: list[float] = []
    for cost in costs:
        ends.append((ends[-1] if ends else 0.0) + cost.seconds)
    return RunColumn(
        name=name,
        path=str(run.path),
        study=str(read_json(run.path / "state.json")["study"]),
        source=str(provenance["data"]["source"]),
        fingerprint=str(provenance["data"]["fingerprint"]),
        stage=best.name,
        model=str(best.result["model"]),
        params=dict(best.result["params"]),
        val_loss=float(best.result["val_loss"]),
        val_accuracy=float(best.result["val_accuracy"]),
        test=final["test"] if final else None,
        num_readings=len(run.readings()),
        seconds=ends[-1],
        num_images=sum(cost.num_images for cost in costs),
        num_parameters=best.result.get("num_parameters"),
        ends=ends,
        losses=[float(record.result["val_loss"]) for record in fits],
        predictions=find_predictions(best.folder),
        class_weight=str(best.result.get("settings", {}).get("class_weight", "none")),
    )


def _find_best(fits: Sequence[StageRecord], final: Mapping[str, Any] | None) -> StageRecord:
    chosen = next((r for r in fits if final and r.name == final["chosen"]), None)
    return chosen or min(fits, key=lambda record: float(record.result["val_loss"]))


def _compare_pairs(columns: Sequence[RunColumn]) -> list[RunComparison]:
    """Compare those that judged the same validation images; Holm over all tests made."""
    pairs = [
        (a, b, a.predictions, b.predictions)
        for a, b in combinations(columns, 2)
        if a.fingerprint == b.fingerprint and a.predictions and b.predictions
    ]
    losses = [
        compare_means(p.losses, q.losses, p.weights(a.class_weight), seed=0) for a, _, p, q in pairs
    ]
    balances = [mcnemar(p.right, q.right) for _, _, p, q in pairs]
    corrected = correct_holm([d.p_value for d in losses] + [m.p_value for m in balances])
    return [
        RunComparison(
            a.name,
            b.name,
            loss.difference,
            loss.interval,
            corrected[at],
            balance.only_first,
            balance.only_second,
            corrected[len(pairs) + at],
        )
        for at, ((a, b, _, _), loss, balance) in enumerate(
            zip(pairs, losses, balances, strict=True)
        )
    ]
