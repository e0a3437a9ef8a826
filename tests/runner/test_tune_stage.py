"""Tuning stages from end to end on digits, undisturbed and killed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from burnish.backend import keras
from burnish.files import read_json
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_history
from burnish.runfolder.verify import verify_run
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.tuning.samplers.ask_optuna import NUM_RANDOM
from burnish.tuning.trial import Trial
from burnish.tuning.trials_db import write_address

from ..faults import TORTURE
from ..study import read_result

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "tuning"
seed = 11

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
batch_size = 64
max_epochs = 2

[[stage]]
name = "start"
kind = "train"
model = "fnn"
params = { hidden_layer_size = 16, learning_rate = 0.001 }

[[stage]]
name = "hyperband"
kind = "tune"
base = "start"
sampler = "random"
schedule = { name = "hyperband", max_epochs = 4, factor = 4 }
refit = { max_epochs = 3, patience = 2 }
[stage.space]
hidden_layer_size = [16, 32, 64]
learning_rate = { low = 0.001, high = 0.02, log = true }

[[stage]]
name = "halving"
kind = "tune"
base = "hyperband"
sampler = "tpe"
trials = 13
schedule = { name = "successive-halving", min_epochs = 0.5, max_epochs = 2, factor = 5 }
training = { learning_rate_schedule = "one-cycle" }
[stage.space]
dropout_rate = { low = 0.05, high = 0.4, step = 0.05 }
activation = ["relu", "tanh", "silu"]

[[stage]]
name = "grid"
kind = "tune"
base = "halving"
sampler = "grid"
folds = 2
schedule = { max_epochs = 1 }
[stage.space]
l2_strength = [0.0, 0.0001]
num_hidden_layers = [1, 2]

[[stage]]
name = "final"
kind = "final"
"""

TUNED = ("hyperband", "halving", "grid")
KILLED = TUNED if TORTURE else TUNED[1:2]
"""By 'make torture' in each of them; else where the sampler learns from what was recorded."""

NUM_TRIALS = {"hyperband": 4 + 2, "halving": 13, "grid": 4}


class Notebook(Observer):
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.searches: list[tuple[int, float]] = []
        self.rounds: list[tuple[int, int, float | None]] = []
        self.refits: list[dict[str, Any]] = []
        self.stages: dict[str, str] = {}

    def search_started(self, num_trials: int, epochs: float) -> None:
        self.searches.append((num_trials, epochs))

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        self.rounds.append((trial.number, len(trial.rungs), None if best is None else best.loss))

    def refit_started(self, best: Trial) -> None:
        self.refits.append(dict(best.params))

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        self.stages[result["name"]] = "reused" if reused else "run"


def run_here(
    folder: Path,
    text: str = STUDY,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
) -> RunFolder:
    study, text = parse_study(text, "the test's study", overrides)
    run = RunFolder(folder)
    run_study(study, text, run, observer=observer, command="burnish run", workers=2)
    return run


@pytest.fixture(scope="module")
def notes() -> Notebook:
    return Notebook()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, notes: Notebook) -> RunFolder:
    """An uninterrupted run, for reading alone."""
    return run_here(tmp_path_factory.mktemp("runs") / "finished", observer=notes)


def stage_folder(run: RunFolder, name: str) -> Path:
    (path,) = (run.path / "stages").glob(f"[0-9][0-9]-{name}")
    return path


def without_seconds(content: Any) -> Any:
    """Leave out, at any depth, what the clock says and what hashes of archives depend on it."""
    if isinstance(content, Mapping):
        return {
            key: without_seconds(value)
            for key, value in content.items()
            if key not in {"seconds", "search_seconds"}
        }
    return [without_seconds(part) for part in content] if isinstance(content, list) else content


# What a tuning stage leaves


@pytest.mark.parametrize("name", TUNED)
def test_a_result_has_its_search_and_the_refit_of_the_winner(
    name: str, finished: RunFolder
) -> None:
    result = read_result(finished, name)
    trials = result["trials"]
    assert result["kind"] == "tune"
    assert result["num_trials"] == len(trials) == NUM_TRIALS[name]
    assert [trial["number"] for trial in trials] == list(range(len(trials)))
    assert len({json.dumps(trial["params"]) for trial in trials}) == len(trials)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: (trial["loss"], trial["number"]))
    assert result["best_trial"] == best["number"]
    assert result["best_params"] == best["params"]
    assert result["trial_loss"] == best["loss"]
    # The refit is a fit of its own, by the refit's settings, on the whole train split.
    assert {key: result["params"][key] for key in best["params"]} == best["params"]
    assert result["settings"]["max_epochs"] == (3 if name == "hyperband" else 2)
    assert result["epochs"] == result["settings"]["max_epochs"]
    history = read_history(stage_folder(finished, name) / "history.csv")
    assert result["val_loss"] == min(epoch["val_loss"] for epoch in history)
    assert result["seconds"] > result["search_seconds"] > 0
    assert result["workers"] == 2


def test_each_stage_says_how_it_searched(finished: RunFolder) -> None:
    hyperband, halving, grid = (read_result(finished, name) for name in TUNED)
    assert (hyperband["sampler"], hyperband["schedule"]) == ("random", "hyperband")
    assert (halving["sampler"], halving["schedule"]) == ("tpe", "successive-halving")
    assert (grid["sampler"], grid["schedule"], grid["folds"]) == ("grid", "full", 2)
    assert [stage["promotion"] for stage in (hyperband, halving, grid)] == [
        "continue",
        "restart",
        "continue",
    ]
    assert [[r["num_trials"], r["epochs"]] for b in hyperband["brackets"] for r in b["rungs"]] == [
        [4, 1],
        [1, 4],
        [2, 4],
    ]
    assert [[r["num_trials"], r["epochs"]] for b in halving["brackets"] for r in b["rungs"]] == [
        [13, 0.5],
        [3, 2],
    ]


def test_the_bases_params_are_the_first_trial_and_the_best_travel_on(finished: RunFolder) -> None:
    start, hyperband, halving, grid = (read_result(finished, name) for name in ("start", *TUNED))
    first = hyperband["trials"][0]["params"]
    assert first == {"hidden_layer_size": 16, "learning_rate": 0.001}
    assert first == {key: start["params"][key] for key in first}
    # What the base searched for is fixed afterwards; the rest is what it had.
    assert halving["params"]["hidden_layer_size"] == hyperband["best_params"]["hidden_layer_size"]
    assert halving["params"]["learning_rate"] == hyperband["best_params"]["learning_rate"]
    assert halving["trials"][0]["params"] == {"dropout_rate": 0.2, "activation": "relu"}
    assert grid["params"]["activation"] == halving["best_params"]["activation"]
    assert grid["trials"][0]["params"] == {"l2_strength": 0.0, "num_hidden_layers": 2}


def test_promoted_trials_go_on_and_the_others_are_pruned(finished: RunFolder) -> None:
    trials = read_result(finished, "hyperband")["trials"]
    first = [trial for trial in trials if trial["bracket"] == 0]
    assert [trial["bracket"] for trial in trials] == [0, 0, 0, 0, 1, 1]
    (promoted,) = [trial for trial in first if len(trial["rungs"]) == 2]
    assert promoted["rungs"][0]["loss"] == min(trial["rungs"][0]["loss"] for trial in first)
    assert promoted["state"] == "complete"
    assert [t["state"] for t in first if t is not promoted] == ["pruned"] * 3
    # It went on from its checkpoint: the epochs of its first round are in the second's history.
    folder = stage_folder(finished, "hyperband") / "trials" / f"{promoted['number']:04d}"
    one, two = (read_history(folder / f"round-{n}.csv") for n in (1, 2))
    assert [epoch["epoch"] for epoch in two] == [1, 2, 3, 4]
    assert two[:1] == one
    # Restarted ones have a history, and a cycle, of their own.
    restarted = [t for t in read_result(finished, "halving")["trials"] if len(t["rungs"]) == 2]
    assert len(restarted) == 3
    for trial in restarted:
        folder = stage_folder(finished, "halving") / "trials" / f"{trial['number']:04d}"
        assert len(read_history(folder / "round-1.csv")) == 1
        assert [epoch["epoch"] for epoch in read_history(folder / "round-2.csv")] == [1, 2]


def test_a_trial_with_folds_has_the_mean_and_the_deviation(finished: RunFolder) -> None:
    folder = stage_folder(finished, "grid") / "trials"
    for trial in read_result(finished, "grid")["trials"]:
        histories = [
            read_history(folder / f"{trial['number']:04d}" / f"round-1-fold-{fold}.csv")
            for fold in (1, 2)
        ]
        one, two = (min(epoch["val_loss"] for epoch in history) for history in histories)
        assert trial["loss"] == pytest.approx((one + two) / 2)
        assert trial["std"] == pytest.approx(abs(one - two) / 2**0.5)


@pytest.mark.parametrize("name", TUNED)
def test_the_folder_has_every_trial_and_no_checkpoint(name: str, finished: RunFolder) -> None:
    folder = stage_folder(finished, name)
    result = read_result(finished, name)
    assert {path.name for path in folder.iterdir()} == {
        "files.json",
        "history.csv",
        "model.keras",
        "predictions.parquet",
        "result.json",
        "trials",
        "trials.csv",
    }
    assert not list(finished.path.rglob("*.npz.tmp"))
    assert not list(folder.rglob("*.npz"))
    assert not (finished.path / ".scratch").exists()
    for trial in result["trials"]:
        place = folder / "trials" / f"{trial['number']:04d}"
        assert read_json(place / "trial.json") == trial
        rounds = range(1, len(trial["rungs"]) + 1)
        suffixes = ["-fold-1.csv", "-fold-2.csv"] if name == "grid" else [".csv"]
        assert {path.name for path in place.iterdir()} == {
            "trial.json",
            *(f"round-{n}.json" for n in rounds),
            *(f"round-{n}{suffix}" for n in rounds for suffix in suffixes),
        }
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [trial["loss"] for trial in result["trials"]]
    assert [row["state"] for row in rows] == [trial["state"] for trial in result["trials"]]
    assert model_params(folder) == result["num_parameters"]


def model_params(folder: Path) -> int:
    return int(keras.saving.load_model(folder / "model.keras").count_params())


@pytest.mark.parametrize("name", TUNED)
def test_optuna_opens_the_stage_as_it_is(name: str, finished: RunFolder) -> None:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{finished.trials}")
    result = read_result(finished, name)
    states = {"complete": "COMPLETE", "pruned": "PRUNED"}
    assert [t.state.name for t in study.trials] == [states[t["state"]] for t in result["trials"]]
    assert [t.params for t in study.trials] == [t["params"] for t in result["trials"]]
    assert [list(t.intermediate_values.values()) for t in study.trials] == [
        [rung["loss"] for rung in trial["rungs"]] for trial in result["trials"]
    ]
    assert study.best_value == result["trial_loss"]


def test_a_database_that_is_gone_is_written_anew(finished: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "a?b")
    run = RunFolder(tmp_path / "a?b")
    run.trials.unlink()
    assert [finding.path for finding in verify_run(run)] == [run.trials]
    run_here(run.path)
    assert verify_run(run) == []
    for name in TUNED:
        again, before = (
            optuna.load_study(study_name=name, storage=write_address(r.trials)).trials
            for r in (run, finished)
        )
        assert [(t.state, t.params, t.intermediate_values) for t in again] == [
            (t.state, t.params, t.intermediate_values) for t in before
        ]


def test_importances_name_what_was_searched_and_sum_to_one(finished: RunFolder) -> None:
    for name in TUNED:
        result = read_result(finished, name)
        assert set(result["importances"]) == set(result["best_params"])
        assert sum(result["importances"].values()) == pytest.approx(1)


def test_status_counts_the_trials_and_names_the_best_params(finished: RunFolder) -> None:
    stages = {stage["name"]: stage for stage in describe_run(finished)["stages"]}
    assert "trials" not in stages["start"]
    for name in TUNED:
        result = read_result(finished, name)
        states = [trial["state"] for trial in result["trials"]]
        assert stages[name]["trials"] == {
            state: states.count(state) for state in ("complete", "pruned", "failed", "running")
        }
        assert stages[name]["best_params"] == result["best_params"]
        assert stages[name]["val_loss"] == result["val_loss"]


def test_whoever_watches_is_told_of_searches_rounds_and_refits(
    finished: RunFolder, notes: Notebook
) -> None:
    assert notes.searches == [(6, 4 + 4 + 8), (13, 13 * 0.5 + 3 * 2), (4, 4)]
    assert len(notes.rounds) == (4 + 1 + 2) + (13 + 3) + 4
    assert notes.refits == [read_result(finished, name)["best_params"] for name in TUNED]
    assert set(notes.stages.values()) == {"run"}


def test_the_final_stage_chooses_among_the_refits_too(finished: RunFolder) -> None:
    final = read_result(finished, "final")
    losses = {name: read_result(finished, name)["val_loss"] for name in ("start", *TUNED)}
    assert final["chosen"] == min(losses, key=lambda name: losses[name])
    assert {c["name"]: c["val_loss"] for c in final["candidates"]} == losses


# Killed


def workers_of(driver: int) -> list[int]:
    """Worker processes of a driver: the children of its fork server."""
    servers = {pid for pid, parent in fork_servers() if parent == driver}
    return [pid for pid, parent in fork_servers() if parent in servers]


def fork_servers() -> list[tuple[int, int]]:
    """Fork servers and what they have forked, each with its parent."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:  # It has ended since.
            continue
        if stat[0] != "Z" and b"multiprocessing.forkserver" in command:
            found.append((int(entry.name), int(stat[1])))
    return found


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        assert process is None or process.poll() is None, "the run has ended already"
        time.sleep(0.002)


def kill_in_the_middle_of(name: str, run: RunFolder, study: Path) -> list[int]:
    """Run until the stage has a few results; kill a worker, and a little later the driver.

    Give the workers that it left behind.
    """

    def count() -> int:
        return len(list(run.path.glob(f"stages/*-{name}/trials/*/round-*.json")))

    command = [sys.executable, "-m", "burnish", "run", str(study), "--out", str(run.path)]
    with (
        study.with_name("stderr.txt").open("ab") as stderr,
        subprocess.Popen(
            [*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=stderr
        ) as driver,
    ):
        try:
            wait_until(lambda: count() >= 1, driver)
            workers = workers_of(driver.pid)
            assert 1 <= len(workers) <= 2
            os.kill(workers[0], signal.SIGKILL)
            wait_until(lambda: count() >= 3, driver)
            workers = workers_of(driver.pid)
        finally:
            driver.kill()
    assert not list(run.path.glob(f"stages/*-{name}/result.json"))
    return workers


def test_killed_in_a_tuning_stage_it_goes_on_to_the_same(
    finished: RunFolder, tmp_path: Path
) -> None:
    run, study = RunFolder(tmp_path / "killed"), tmp_path / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    orphans = []
    for name in KILLED:
        orphans += kill_in_the_middle_of(name, run, study)
        described = {stage["name"]: stage for stage in describe_run(run)["stages"]}
        assert described[name]["state"] == "interrupted"
        trials = described[name]["trials"]
        assert sum(trials.values()) >= 3
    # Without their driver the workers end by themselves, and quietly.
    killed = time.monotonic()
    wait_until(lambda: not any(is_running(pid) for pid in orphans))
    assert time.monotonic() - killed < 20
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text(encoding="utf-8")

    notes = Notebook()
    run_here(run.path, observer=notes)
    rest = TUNED[TUNED.index(KILLED[-1]) :]
    assert [name for name, how in notes.stages.items() if how == "run"] == [*rest, "final"]
    assert describe_run(run)["state"] == "done"
    for name in ("start", *TUNED):
        ours, theirs = (without_seconds(read_result(r, name)) for r in (run, finished))
        assert ours.get("trials") == theirs.get("trials")
        assert ours == theirs
        one, two = (
            without_seconds(read_history(stage_folder(r, name) / "history.csv"))
            for r in (run, finished)
        )
        assert one == two
    ours, theirs = (read_result(r, "final") for r in (run, finished))
    assert ours["chosen"] == theirs["chosen"]
    assert ours["test"] == theirs["test"]
    for name in TUNED:
        one, two = (
            optuna.load_study(study_name=name, storage=f"sqlite:///{r.trials}").trials
            for r in (run, finished)
        )
        assert [(t.state, t.params, t.intermediate_values) for t in one] == [
            (t.state, t.params, t.intermediate_values) for t in two
        ]
    assert not list(run.path.glob("stages/*/trials/**/*.npz"))


# Changed


def test_a_changed_space_is_searched_again_and_the_database_forgets_the_old_trials(
    finished: RunFolder, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "copy")
    run = RunFolder(tmp_path / "copy")
    # One stage is taken out, so that the last one moves up; and its space changes.
    start = STUDY.index('[[stage]]\nname = "halving"')
    end = STUDY.index('[[stage]]\nname = "grid"')
    text = (STUDY[:start] + STUDY[end:]).replace('base = "halving"', 'base = "hyperband"')
    notes = Notebook()
    run_here(run.path, text, ["grid.space.l2_strength=[0.001]"], notes)
    assert notes.stages == {
        "start": "reused",
        "hyperband": "reused",
        "grid": "run",
        "final": "run",
    }
    result = read_result(run, "grid")
    assert [t["params"]["l2_strength"] for t in result["trials"]] == [0.001, 0.001]
    kept = sorted(path.name[:9] for path in (run.path / "superseded").iterdir())
    assert kept == ["03-halvin", "04-grid-2", "05-final-"]
    (old,) = (run.path / "superseded").glob("04-grid-*")
    assert len(list((old / "trials").iterdir())) == 4

    storage = f"sqlite:///{run.trials}"
    assert sorted(optuna.get_all_study_names(storage)) == ["grid", "hyperband"]
    trials = optuna.load_study(study_name="grid", storage=storage).trials
    assert [t.params for t in trials] == [t["params"] for t in result["trials"]]
    assert len(optuna.load_study(study_name="hyperband", storage=storage).trials) == 6


def test_tpe_had_results_to_learn_from(finished: RunFolder) -> None:
    # Else the kill above would test no more than a random search.
    assert NUM_TRIALS["halving"] > NUM_RANDOM + 2
