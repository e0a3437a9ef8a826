"""Runs that share out their minutes: on time, with a model from the first stage on, repeatable."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burnish
from burnish.advice.suggest import suggest_study
from burnish.errors import RunFolderError
from burnish.files import read_json, write_json
from burnish.models.saved import load_saved
from burnish.planning.shares import has_shares
from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run
from burnish.runner.run import run_study
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study

from ..study import read_result

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "timed"
seed = 7

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
batch_size = 32
max_epochs = 5000
learning_rate_schedule = "one-cycle"

[[stage]]
name = "first"
kind = "train"
share = 1
model = "fnn"
params = { learning_rate = 0.003, hidden_layer_size = 32 }

[[stage]]
name = "searched"
kind = "tune"
share = 1
base = "first"
trials = 200
schedule = { max_epochs = 2 }
[stage.space]
learning_rate = { low = 1e-3, high = 1e-2, log = true }

[[stage]]
name = "final"
kind = "final"
"""

MINUTES = 0.6


class Looking(Observer):
    """Looks at the model that there is after each stage."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.seen: list[dict[str, Any]] = []

    def stage_started(self, number: int, count: int, name: str, detail: str) -> None:
        if number > 1:
            contract = read_json(self.folder.model / "contract.json")
            self.seen.append({"before": name, **contract})


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Looking, float]:
    folder = RunFolder(tmp_path_factory.mktemp("timed") / "run")
    study, text = parse_study(STUDY, "the test's study")
    looking = Looking(folder)
    began = time.monotonic()
    run_study(study, text, folder, observer=looking, workers=1, minutes=MINUTES)
    return folder, looking, time.monotonic() - began


def test_all_stages_stop_before_what_they_were_asked_for(
    timed: tuple[RunFolder, Looking, float],
) -> None:
    folder = timed[0]
    first, searched = read_result(folder, "first"), read_result(folder, "searched")
    assert first["epochs"] < 5000
    assert first["pace"][-1][1] == round(first["epochs"] * 13)
    assert 1 <= searched["num_trials"] < 200
    assert searched["epochs"] < 5000
    assert all(trial["rungs"][0]["epochs"] == 2 for trial in searched["trials"])


def test_there_is_a_model_from_the_first_stage_on(timed: tuple[RunFolder, Looking, float]) -> None:
    folder, looking, _ = timed
    before_search = next(seen for seen in looking.seen if seen["before"] == "searched")
    assert before_search["stage"] == "first"
    assert set(before_search["metrics"]) == {"validation"}, "the test split is still sealed"
    finished = read_json(folder.model / "contract.json")
    assert finished["metrics"]["test"]["num_images"] == 200
    assert len(folder.readings()) == 1
    assert not verify_run(folder)


def test_the_run_is_repeated_to_the_bit_without_the_clock(
    timed: tuple[RunFolder, Looking, float], tmp_path: Path
) -> None:
    folder = timed[0]
    file = folder.path / "reproduce.toml"
    study, text = parse_study(file.read_text(encoding="utf-8"), str(file))
    again = RunFolder(tmp_path / "again")
    run_study(study, text, again, workers=1)
    for name in ("first", "searched"):
        number = 1 if name == "first" else 2
        theirs, ours = (
            load_saved(run.stage(number, name) / "model.keras").get_weights()
            for run in (folder, again)
        )
        for weight, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(weight, wanted)
    same = ("params", "best_trial", "num_trials", "trial_loss", "epochs", "val_loss", "pace")
    ours, wanted = read_result(again, "searched"), read_result(folder, "searched")
    assert {name: ours[name] for name in same} == {name: wanted[name] for name in same}


def test_a_run_that_was_stopped_is_finished_with_what_it_has(
    timed: tuple[RunFolder, Looking, float], tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(timed[0].path, stopped)
    # As a kill during the second stage leaves it.
    shutil.rmtree(stopped / "stages" / "03-final")
    shutil.rmtree(stopped / "model")
    (stopped / "stages" / "02-searched" / "result.json").unlink()
    (stopped / "test-ledger.jsonl").unlink()
    state = read_json(stopped / "state.json")
    write_json(stopped / "state.json", {**state, "state": "interrupted", "readings": 0})
    run = burnish.finish(stopped, report=False, verbose=False)
    assert run.state == "done"
    assert list(run.stages) == ["first", "final"]
    assert run.chosen == "first"
    assert run.test.num_images == 200
    again = burnish.finish(stopped, report=False, verbose=False)
    assert again.test.readings == 1


def test_a_run_without_a_finished_stage_cannot_be_finished(
    timed: tuple[RunFolder, Looking, float], tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(timed[0].path, stopped)
    for result in stopped.glob("stages/*/result.json"):
        result.unlink()
    with pytest.raises(RunFolderError, match=r"no stage of .* is done yet"):
        burnish.finish(stopped, verbose=False)


def test_a_follow_up_is_not_bound_to_the_minutes_of_its_run(
    timed: tuple[RunFolder, Looking, float], tmp_path: Path
) -> None:
    out = tmp_path / "next.toml"
    suggest_study(timed[0], out)
    text = out.read_text(encoding="utf-8")
    assert "max_seconds" not in text
    study, _ = parse_study(text, str(out))
    assert has_shares(study)
    won = study.stage("won")
    assert study.own_settings(won).max_epochs == read_result(timed[0], "searched")["epochs"]  # type: ignore[arg-type]
