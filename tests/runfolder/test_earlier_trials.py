"""A search that is given more trials, or fewer, goes on from those it has."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.files import read_json, write_json
from burnish.runfolder.earlier_trials import EarlierTrials
from burnish.runfolder.journal import DiskJournal
from burnish.runfolder.store import RunFolder
from burnish.stages.observer import Observer
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import plan_full, plan_successive_halving
from burnish.tuning.trial import Trial
from burnish.tuning.trials_db import TrialsDatabase
from burnish.tuning.tuner import TuningPlan, tune

from ..study import read_result, run_here
from ..tuning import SPACE, FakeExecutor, describe, make_plan, slope

SUPERSEDED = "superseded/02-tuned-20260101T000000"


def search(
    run: Path, plan: TuningPlan, trials_of: str = "same"
) -> tuple[list[dict[str, Any]], list[str], DiskJournal, list[str]]:
    """Search in the stage's folder; give the trials, the fits that were done, and what was said."""
    notes: list[str] = []
    folder = run / "stages" / "02-tuned"
    database = TrialsDatabase(run / "trials.db", "tuned", SPACE)
    earlier = EarlierTrials(run, "tuned", trials_of, plan.brackets)
    journal = DiskJournal(folder, database, plan.num_folds, earlier, notes.append)
    executor = FakeExecutor(slope)
    found = tune(plan, executor, journal)
    journal.report_taken_over()
    write_json(folder / "result.json", {"trials_of": trials_of})
    return describe(found.trials), executor.done, journal, notes


def supersede(run: Path) -> None:
    shutil.move(run / "stages" / "02-tuned", run / SUPERSEDED)
    (run / "trials.db").unlink()


def halving(num_trials: int, **changes: Any) -> TuningPlan:
    return make_plan(brackets=plan_successive_halving(num_trials, 1, 9, 3), **changes)


PLANS = {
    "random": [make_plan(brackets=plan_full(n, 4.0)) for n in (3, 6)],
    "tpe": [make_plan(brackets=plan_full(n, 4.0), sampler=find_sampler("tpe")) for n in (11, 14)],
    "folds": [make_plan(brackets=plan_full(n, 4.0), num_folds=2) for n in (2, 4)],
    "halving": [halving(n) for n in (4, 9)],
    "halving-tpe": [halving(n, sampler=find_sampler("tpe")) for n in (11, 13)],
    "halving-again": [halving(n, promotion="restart") for n in (4, 9)],
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("turned", [False, True], ids=["more", "fewer"])
def test_a_search_of_another_length_goes_on_to_what_one_of_that_length_finds(
    name: str, turned: bool, tmp_path: Path
) -> None:
    first, then = reversed(PLANS[name]) if turned else PLANS[name]
    fresh, all_fits, _, silence = search(tmp_path / "fresh", then)
    assert silence == []
    _, done_before, _, _ = search(tmp_path / "run", first)
    supersede(tmp_path / "run")
    trials, done, journal, notes = search(tmp_path / "run", then)
    assert trials == fresh
    # Nothing is done twice, and what the shorter and the longer have in common is not done again.
    assert set(done) == set(all_fits) - set(done_before)
    taken = journal.describe_taken_over()
    assert taken is not None
    num_common = min(first.brackets[0].rungs[0].num_trials, then.brackets[0].rungs[0].num_trials)
    assert taken["trials"] == num_common
    assert taken["from"] == [SUPERSEDED]
    assert notes == [f"goes on from {num_common} recorded trials of {SUPERSEDED}"]


def test_only_what_is_the_same_to_the_last_value_is_taken_over(tmp_path: Path) -> None:
    plan = make_plan(brackets=plan_full(4, 4.0))
    search(tmp_path, plan)
    supersede(tmp_path)
    # Damage to one trial, failure of another, other params of a third: these are fitted again.
    trials = tmp_path / SUPERSEDED / "trials"
    (trials / "0000" / "round-1.csv").write_text("damaged", encoding="utf-8")
    for number, changed in ((1, {"loss": None, "failure": "killed"}), (2, {"params": {}})):
        path = trials / f"{number:04d}" / "round-1.json"
        write_json(path, {**read_json(path), **changed})
    _, done, journal, _ = search(tmp_path, plan)
    assert sorted(done) == ["0/0/0", "1/0/0", "2/0/0"]
    assert (journal.describe_taken_over() or {})["trials"] == 1


@pytest.mark.parametrize(
    ("trials_of", "changes"),
    [("other", {}), ("same", {"brackets": plan_full(4, 2.0)})],
    ids=["other-settings", "other-epochs"],
)
def test_of_another_search_nothing_is_taken_over(
    trials_of: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    plan = make_plan(brackets=plan_full(4, 4.0))
    search(tmp_path, plan)
    supersede(tmp_path)
    _, done, journal, notes = search(tmp_path, replace(plan, **changes), trials_of)
    assert len(done) == 4
    assert journal.describe_taken_over() is None
    assert notes == []


def test_a_stage_whose_name_begins_alike_is_another(tmp_path: Path) -> None:
    plan = make_plan(brackets=plan_full(4, 4.0))
    search(tmp_path, plan)
    supersede(tmp_path)
    (tmp_path / SUPERSEDED).rename(tmp_path / "superseded" / "02-tuned-more-20260101T000000")
    assert len(search(tmp_path, plan)[1]) == 4


STUDY = """
[study]
name = "longer"
seed = 5
[data]
source = "digits"
split = { train = 300, val = 150, test = 150 }
[training]
batch_size = 64
max_epochs = 2
[[stage]]
name = "tuned"
kind = "tune"
model = "fnn"
params = { num_hidden_layers = 1 }
trials = 4
sampler = "random"
schedule = { name = "successive-halving", min_epochs = 0.5, max_epochs = 2, factor = 4 }
[stage.space]
hidden_layer_size = [16, 32, 64]
learning_rate = { low = 0.001, high = 0.02, log = true }
[[stage]]
name = "final"
kind = "final"
"""


class Listener(Observer):
    """Keeps what is noted, and the trials that finished."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.trials: list[int] = []

    def on_note(self, message: str) -> None:
        self.notes.append(message)

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        self.trials.append(trial.number)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_study_given_more_trials_comes_to_the_bits_of_one_that_had_them(tmp_path: Path) -> None:
    more = ["tuned.trials=9"]
    fresh = run_here(tmp_path / "fresh", STUDY, more)
    run_here(tmp_path / "run", STUDY)
    listener = Listener()
    longer = run_here(tmp_path / "run", STUDY, more, listener)
    one, two = (without_seconds(read_result(run, "tuned")) for run in (fresh, longer))
    taken, none = two.pop("taken_over"), one.pop("taken_over")
    assert none is None
    assert taken["trials"] == 4
    assert one == two
    assert read(fresh, "predictions.parquet") == read(longer, "predictions.parquet")
    assert read_json(longer.path / "provenance.json")["taken_over"] == {"tuned": taken}
    (said,) = [note for note in listener.notes if "goes on from" in note]
    assert said == f"stage 'tuned' goes on from 4 recorded trials of {taken['from'][0]}"
    # The longer one is not told twice: it stands.
    again = Listener()
    run_here(tmp_path / "run", STUDY, more, again)
    assert again.trials == []
    assert read_json(longer.path / "provenance.json")["taken_over"] == {"tuned": taken}


def read(run: RunFolder, name: str) -> bytes:
    return (run.stage(1, "tuned") / name).read_bytes()


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_seconds(inner) for inner in value]
    return value
