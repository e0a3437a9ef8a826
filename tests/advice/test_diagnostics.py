"""Runs with each pathology, and one with none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from burnish.advice.diagnostics import (
    StageFacts,
    diagnose_run,
    diagnose_stage,
    measure_zigzag,
)
from burnish.advice.suggest import suggest_study
from burnish.errors import RunFolderError
from burnish.files import write_json
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import write_history
from burnish.space import Choice, Float, Int, Range, SearchSpace
from burnish.study.parse import parse_study
from burnish.study.schema import TrainStage, TuneStage

SPACE: dict[str, Range] = {
    "learning_rate": Float(0.0001, 0.1, log=True),
    "hidden_layer_size": Choice((32, 64, 128, 256)),
    "dropout_rate": Float(0.0, 0.5, step=0.1),
}
BEST = {"learning_rate": 0.003, "hidden_layer_size": 128, "dropout_rate": 0.2}


def make_history(losses: list[float], train: list[float] | None = None) -> list[dict[str, float]]:
    train = train or [loss * 1.1 for loss in losses]
    return [
        {
            "epoch": float(epoch),
            "train_loss": t,
            "train_accuracy": 0.9,
            "val_loss": v,
            "val_accuracy": 0.9,
            "learning_rate": 0.003,
            "seconds": 1.0,
        }
        for epoch, (v, t) in enumerate(zip(losses, train, strict=True), start=1)
    ]


def make_trials(losses: list[float | None], epochs: float = 4.0) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "bracket": 0,
            "state": "failed" if loss is None else "complete",
            "params": BEST,
            "loss": loss,
            "std": None,
            "accuracy": None if loss is None else 0.9,
            "epochs": epochs,
            "seconds": 2.0,
            "failure": "diverged" if loss is None else None,
            "rungs": [{"epochs": epochs, "loss": loss}],
        }
        for number, loss in enumerate(losses)
    ]


def make_facts(**changes: Any) -> StageFacts:
    """A tuning stage that shows nothing amiss, but for the changes."""
    losses = [0.4, 0.2, 0.12, 0.1, 0.095, 0.09, 0.092, 0.091]
    result = {
        "name": "tuned",
        "kind": "tune",
        "base": "base",
        "model": "fnn",
        "params": {**BEST, "activation": "relu"},
        "best_params": BEST,
        "best_trial": 0,
        "trial_loss": 0.1,
        "sampler": "tpe",
        "trials": make_trials([0.1 + 0.004 * n for n in range(12)]),
        "importances": {"learning_rate": 0.6, "hidden_layer_size": 0.3, "dropout_rate": 0.1},
        "settings": {"max_epochs": 20, "learning_rate_schedule": "constant", "batch_size": 64},
        "stopped_early": True,
        "val_loss": 0.09,
        "val_accuracy": 0.97,
    }
    history = changes.pop("history", make_history(losses))
    space = changes.pop("space", SPACE)
    base = changes.pop("base_result", {"name": "base", "val_loss": 0.12})
    return StageFacts({**result, **changes}, history, space, base)


def kinds(facts: StageFacts) -> list[str]:
    return [finding.kind for finding in diagnose_stage(facts)]


def test_a_healthy_stage_shows_nothing() -> None:
    assert diagnose_stage(make_facts()) == []


@pytest.mark.parametrize(
    ("name", "best", "side"),
    [
        ("learning_rate", 0.0001, "low"),
        ("learning_rate", 0.09, "high"),
        ("hidden_layer_size", 256, "high"),
        ("hidden_layer_size", 32, "low"),
        ("dropout_rate", 0.5, "high"),
    ],
)
def test_the_best_at_the_edge_of_its_range(name: str, best: float, side: str) -> None:
    (finding,) = diagnose_stage(make_facts(best_params={**BEST, name: best}))
    assert (finding.kind, finding.targets, finding.side) == ("edge", (name,), side)
    assert f"{best:g}" in finding.observation
    assert "Widen" in finding.remedy
    assert finding.figure == "slices"
    assert "boundar" in finding.section


def test_zero_is_no_edge_and_neither_is_one_of_two_options() -> None:
    assert kinds(make_facts(best_params={**BEST, "dropout_rate": 0.0})) == []
    two: dict[str, Range] = {
        "num_hidden_layers": Choice((1, 2)),
        "activation": Choice(("a", "b", "c")),
    }
    facts = make_facts(
        space=two,
        best_params={"num_hidden_layers": 2, "activation": "c"},
        importances={"num_hidden_layers": 0.5, "activation": 0.5},
    )
    assert kinds(facts) == []
    whole = {"num_hidden_layers": Int(1, 4)}
    facts = make_facts(space=whole, best_params={"num_hidden_layers": 4}, importances={})
    assert kinds(facts) == ["edge"]


def test_an_edge_that_does_not_matter_is_none() -> None:
    importances = {"learning_rate": 0.7, "hidden_layer_size": 0.29, "dropout_rate": 0.01}
    facts = make_facts(best_params={**BEST, "dropout_rate": 0.5}, importances=importances)
    (finding,) = diagnose_stage(facts)
    assert (finding.kind, finding.targets) == ("does-not-matter", ("dropout_rate",))
    assert "dropout_rate 1.0 %" in finding.observation
    assert "dropout_rate = 0.5" in finding.remedy


def test_too_few_good_trials() -> None:
    (finding,) = diagnose_stage(
        make_facts(trials=make_trials([0.1, *[0.3 + n for n in range(11)]]))
    )
    assert finding.kind == "few-good-trials"
    assert "Of 12 trials that were trained for 4 epochs, 1 came within 25 %" in finding.observation
    # A grid that was searched whole has no more points.
    grid = make_facts(trials=make_trials([0.1, 0.9, 0.9, 0.9]), sampler="grid")
    assert kinds(grid) == []
    assert kinds(make_facts(trials=make_trials([0.1, 0.1]))) == ["few-good-trials"]


def test_many_failed_trials() -> None:
    (finding,) = diagnose_stage(make_facts(trials=make_trials([*[0.1] * 8, *[None] * 4])))
    assert finding.kind == "many-failed"
    assert "4 of 12 trials failed" in finding.observation


def test_a_budget_that_ended_too_early() -> None:
    falling = make_history([1 / n for n in range(1, 11)])
    (finding,) = diagnose_stage(make_facts(history=falling, stopped_early=False))
    assert finding.kind == "budget-too-short"
    assert "0.1000" in finding.observation
    assert "last of 10 epochs" in finding.observation
    # A cycle is always best at its end.
    cycle = {"max_epochs": 10, "learning_rate_schedule": "one-cycle"}
    assert kinds(make_facts(history=falling, stopped_early=False, settings=cycle)) == []


def test_irregular_curves() -> None:
    rough = make_history([0.5, 0.2, 0.1, 0.05, 0.031, 0.068, 0.033, 0.06, 0.032, 0.05])
    (finding,) = diagnose_stage(make_facts(history=rough))
    assert (finding.kind, finding.targets) == ("irregular", ("learning_rate",))
    assert "one-cycle" in finding.remedy


def test_how_rough_a_curve_is() -> None:
    assert measure_zigzag([math.exp(-n / 3) for n in range(12)]) == 0.0
    assert measure_zigzag([3, 2, 1, 1.1, 1.2, 1.3, 1.4, 1.5]) == 0.0
    assert measure_zigzag([9, 9, 9, 9, 1, 2, 1, 2]) == pytest.approx(1.0)
    assert measure_zigzag([1.0]) == 0.0


def test_overfitting() -> None:
    losses = [0.3, 0.2, 0.1, 0.11, 0.12, 0.13, 0.14, 0.15]
    train = [0.3, 0.2, 0.1, 0.08, 0.06, 0.04, 0.02, 0.01]
    (finding,) = diagnose_stage(make_facts(history=make_history(losses, train)))
    assert finding.kind == "overfitting"
    assert "After epoch 3" in finding.observation
    assert "+50 %" in finding.observation
    # Where the training loss rises too, it is not that.
    rising = [0.3, 0.2, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3]
    assert kinds(make_facts(history=make_history(losses, rising))) == []


def test_seeds_that_deviate_by_more_than_the_gain() -> None:
    seeds = {"val_loss_mean": 0.11, "val_loss_std": 0.02, "runs": [{}, {}, {}]}
    (finding,) = diagnose_stage(make_facts(**seeds))
    assert finding.kind == "seeds"
    assert "deviates by 0.0200" in finding.observation
    assert "base is 0.0100" in finding.observation
    assert "seeds = 6" in finding.remedy
    assert kinds(make_facts(**{**seeds, "val_loss_std": 0.005})) == []
    assert kinds(make_facts(**seeds, base_result=None)) == []


# The follow-up


STUDY = """
[study]
name = "a-run"
seed = 3

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[[stage]]
name = "base"
kind = "train"
model = "fnn"

[[stage]]
name = "tuned"
kind = "tune"
base = "base"
trials = 12
[stage.space]
learning_rate = { low = 0.0001, high = 0.1, log = true }
hidden_layer_size = [32, 64, 128, 256]
dropout_rate = { low = 0.0, high = 0.5, step = 0.1 }

[[stage]]
name = "final"
kind = "final"
"""


def make_run(path: Path, **changes: Any) -> RunFolder:
    run = RunFolder(path)
    run.write_study(STUDY)
    facts = make_facts(**changes)
    base = {"name": "base", "kind": "train", "model": "fnn", "val_loss": 0.12, "base": None}
    write_json(run.stage(1, "base") / "result.json", base)
    write_json(run.stage(2, "tuned") / "result.json", dict(facts.result))
    write_history(run.stage(2, "tuned") / "history.csv", facts.history)
    final = {"name": "final", "kind": "final", "chosen": "tuned", "val_loss": 0.09}
    write_json(run.stage(3, "final") / "result.json", final)
    for record in run.stages():
        write_manifest(record.folder)
    return run


def test_a_run_is_diagnosed_from_its_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path, best_params={**BEST, "hidden_layer_size": 256})
    assert [(f.stage, f.kind) for f in diagnose_run(run)] == [("tuned", "edge")]


def test_the_follow_up_widens_narrows_and_drops(tmp_path: Path) -> None:
    won = {**BEST, "hidden_layer_size": 256}
    run = make_run(
        tmp_path / "run",
        best_params=won,
        params={**won, "activation": "relu"},
        importances={"learning_rate": 0.7, "hidden_layer_size": 0.29, "dropout_rate": 0.01},
    )
    changes = suggest_study(run, tmp_path / "next.toml")
    study, _ = parse_study((tmp_path / "next.toml").read_text("utf-8"), "next")
    assert study.name == "a-run-next"
    start, search, final = study.stages
    assert isinstance(start, TrainStage)
    assert isinstance(search, TuneStage)
    assert (start.name, search.name, final.name) == ("won", "tuned-next", "final")
    assert start.params["hidden_layer_size"] == 256
    assert start.seeds == 3
    assert search.base == "won"
    space: SearchSpace = search.search_space()
    assert space.ranges["hidden_layer_size"] == Choice((128, 256, 512, 1024))
    assert space.ranges["learning_rate"] == Choice((0.001265, 0.003, 0.007114))
    assert "dropout_rate" not in space.ranges
    assert any("dropout_rate did not matter, and is fixed at 0.2" in line for line in changes)
    text = (tmp_path / "next.toml").read_text("utf-8")
    assert all(change in text for change in changes)


def test_the_follow_up_minds_the_curve_and_the_limits(tmp_path: Path) -> None:
    won = {**BEST, "dropout_rate": 0.5, "learning_rate": 0.1}
    run = make_run(
        tmp_path / "run",
        best_params=won,
        params={**won, "activation": "relu"},
        history=make_history([1 / n for n in range(1, 11)]),
        stopped_early=False,
        trials=make_trials([0.1, *[0.3 + n for n in range(11)]]),
    )
    suggest_study(run, tmp_path / "next.toml")
    study, _ = parse_study((tmp_path / "next.toml").read_text("utf-8"), "next")
    start, search, _ = study.stages
    assert isinstance(start, TrainStage)
    assert isinstance(search, TuneStage)
    assert start.training.max_epochs == 40
    assert search.trials == 24
    # A dropout rate of 1 there cannot be.
    options = search.search_space().ranges["dropout_rate"].values()
    assert all(float(option) < 1 for option in options)
    assert {0.5, 0.4} <= set(options)


def test_the_follow_up_leaves_behind_what_belongs_to_the_old_space(tmp_path: Path) -> None:
    limited = STUDY.replace(
        "trials = 12",
        "trials = 12\nmax_mflops = 5\npoints_to_evaluate = [{ learning_rate = 0.05 }]",
    )
    importances = {"learning_rate": 0.7, "hidden_layer_size": 0.29, "dropout_rate": 0.01}
    for number, size in enumerate((0.29, 0.01)):
        run = make_run(
            tmp_path / f"run{number}",
            best_params=BEST,
            params={**BEST, "activation": "relu"},
            importances={**importances, "hidden_layer_size": size},
        )
        run.write_study(limited)
        suggest_study(run, tmp_path / f"next{number}.toml")
        search = parse_study((tmp_path / f"next{number}.toml").read_text("utf-8"), "n")[0].stages[1]
        assert isinstance(search, TuneStage)
        assert search.points_to_evaluate == []  # 0.05 is no value of the new range.
        assert ("hidden_layer_size" in search.space) == (size > 0.1)
        assert search.max_mflops == (5 if size > 0.1 else None)


def test_nothing_is_overwritten_and_a_run_must_have_chosen(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "next.toml").write_text("mine")
    with pytest.raises(RunFolderError, match="is there already"):
        suggest_study(run, tmp_path / "next.toml")
    (run.stage(3, "final") / "result.json").unlink()
    with pytest.raises(RunFolderError, match="has not chosen a model yet"):
        suggest_study(run, tmp_path / "other.toml")
