from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from burnish.errors import RunFolderError
from burnish.files import hash_file, read_json
from burnish.planning.disk import count_checkpoints
from burnish.runfolder.journal import DiskJournal
from burnish.runfolder.store import count_trials, read_trials
from burnish.runfolder.tables import read_history
from burnish.space import Choice, Int, SearchSpace
from burnish.training import Epoch, FitResult, TrainingSettings
from burnish.tuning.executor import FitTask, Outcome
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import Bracket, plan_full, plan_hyperband, plan_successive_halving
from burnish.tuning.trial import RungResult, Trial
from burnish.tuning.trials_db import TrialsDatabase
from burnish.tuning.tuner import TuningPlan, tune

SPACE = SearchSpace({"size": Choice((16, 32, 64)), "layers": Int(1, 6)})


class Killed(BaseException):
    """Stands for the end of the process."""


class Disk:
    """A stage's folder, and the database beside it."""

    def __init__(self, path: Path, num_folds: int = 1) -> None:
        self.folder = path / "stages" / "01-tuned"
        self.trials_db = path / "trials.db"
        self.num_folds = num_folds

    def journal(self, database: TrialsDatabase | None = None) -> DiskJournal:
        """Open the journal as a process does that begins, or goes on."""
        database = database or TrialsDatabase(self.trials_db, "tuned", SPACE)
        return DiskJournal(self.folder, database, self.num_folds)

    def states(self) -> list[str]:
        """States in the database."""
        study = optuna.load_study(study_name="tuned", storage=f"sqlite:///{self.trials_db}")
        return [trial.state.name for trial in study.trials]

    def checkpoints(self) -> list[str]:
        return sorted(
            str(p.relative_to(self.folder / "trials")) for p in self.folder.rglob("*.npz")
        )


def fitted(loss: float, epochs: float = 1.0) -> FitResult:
    history = tuple(
        Epoch(n + 1.0, 1.0, 0.5, loss + 0.1 / (n + 1), 0.9, 0.001, 0.5)
        for n in range(max(1, int(epochs)))
    )
    return FitResult(history, epochs, loss, 0.9, 0.5, 10, "float32", False, ())


class Trainer:
    """An executor whose fits need the checkpoints that they say they need, and leave theirs."""

    def __init__(self, on_fit: Callable[[int], None] = lambda number: None) -> None:
        self.waiting: list[FitTask] = []
        self.keys: list[str] = []
        self.on_fit = on_fit

    def submit(self, task: FitTask) -> None:
        self.waiting.append(task)

    def wait(self) -> Outcome:
        self.on_fit(len(self.keys))
        task = self.waiting.pop(0)
        self.keys.append(task.key)
        request = task.request
        size, layers = int(request.params["size"]), int(request.params["layers"])
        if (size, layers) == (64, 2):
            return Outcome(task.key, None, "it diverged")
        if request.resume_from is not None:
            content = request.resume_from.read_text(encoding="utf-8")
            assert content.startswith(f"{size} {layers} {request.seed} ")
        if request.checkpoint is not None:
            request.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            text = f"{size} {layers} {request.seed} {request.settings.max_epochs}"
            request.checkpoint.write_text(text, encoding="utf-8")
        fold = 0 if task.fold is None else task.fold.index
        loss = layers + 16 / size + fold / 7 + 1 / request.settings.max_epochs
        return Outcome(task.key, fitted(loss, request.settings.max_epochs), None)

    def close(self) -> None:
        self.waiting.clear()


def make_plan(**changes: Any) -> TuningPlan:
    plan = TuningPlan(
        model="fnn",
        fixed={},
        settings=TrainingSettings(),
        space=SPACE,
        sampler=find_sampler("random"),
        brackets=plan_hyperband(4, 2),
        promotion="continue",
        num_folds=1,
        first=({"size": 32, "layers": 3},),
        concurrency=2,
        derive_seed=lambda trial: 70 + trial,
        folds_seed=1,
    )
    return replace(plan, **changes)


def trial_in(disk: Disk, number: int = 0) -> Path:
    return disk.folder / "trials" / f"{number:04d}"


# What is written


def test_a_finished_stage_leaves_its_trials_results_and_histories(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    run = tune(make_plan(), Trainer(), disk.journal())
    assert read_trials(disk.folder) == [trial.describe() for trial in run.trials]
    assert count_trials(read_trials(disk.folder)) == {
        "complete": sum(trial.state == "complete" for trial in run.trials),
        "pruned": sum(trial.state == "pruned" for trial in run.trials),
        "failed": 0,
        "running": 0,
    }
    for trial in run.trials:
        folder = trial_in(disk, trial.number)
        rounds = range(1, len(trial.rungs) + 1)
        assert {path.name for path in folder.iterdir()} == {
            "trial.json",
            *(f"round-{n}.json" for n in rounds),
            *(f"round-{n}.csv" for n in rounds),
        }
        for n, rung in zip(rounds, trial.rungs, strict=True):
            assert read_json(folder / f"round-{n}.json") == {
                "params": trial.params,
                "epochs": rung.epochs,
                "loss": rung.loss,
                "std": None,
                "accuracy": 0.9,
                "seconds": rung.seconds,
                "failure": None,
                "files": {f"round-{n}.csv": hash_file(folder / f"round-{n}.csv")},
            }
            history = read_history(folder / f"round-{n}.csv")
            assert len(history) == int(rung.epochs)
            assert history[-1]["epoch"] == int(rung.epochs)
    study = optuna.load_study(study_name="tuned", storage=f"sqlite:///{disk.trials_db}")
    assert [t.params for t in study.trials] == [trial.params for trial in run.trials]
    assert study.best_trial.number == run.best.number


def test_folds_have_a_history_each(tmp_path: Path) -> None:
    disk = Disk(tmp_path, num_folds=2)
    plan = make_plan(num_folds=2, brackets=plan_full(1, 3.0))
    run = tune(plan, Trainer(), disk.journal())
    assert {path.name for path in trial_in(disk).iterdir()} == {
        "trial.json",
        "round-1.json",
        "round-1-fold-1.csv",
        "round-1-fold-2.csv",
    }
    record = read_json(trial_in(disk) / "round-1.json")
    assert record["std"] == run.trials[0].rungs[0].std
    assert record["std"] == pytest.approx(1 / 7 / 2**0.5)


def test_a_failure_is_kept_with_its_reason_and_no_history(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    plan = make_plan(first=({"size": 64, "layers": 2},), brackets=plan_full(2, 1.0))
    tune(plan, Trainer(), disk.journal())
    assert {path.name for path in trial_in(disk).iterdir()} == {"trial.json", "round-1.json"}
    trial = read_trials(disk.folder)[0]
    assert (trial["state"], trial["loss"], trial["failure"]) == ("failed", None, "it diverged")
    assert count_trials(read_trials(disk.folder))["failed"] == 1
    assert disk.states() == ["FAIL", "COMPLETE"]


def test_a_trial_under_way_is_there_and_running(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    seen: list[dict[str, int]] = []

    def look(number: int) -> None:
        seen.append(count_trials(read_trials(disk.folder)))

    plan = make_plan(brackets=plan_full(3, 1.0))
    tune(plan, Trainer(look), disk.journal())
    nothing = {"complete": 0, "pruned": 0, "failed": 0, "running": 3}
    # All were proposed at once; each is over as soon as its last round is.
    assert seen == [{**nothing, "complete": n, "running": 3 - n} for n in range(3)]
    assert count_trials(read_trials(disk.folder)) == {**nothing, "complete": 3, "running": 0}


def test_a_stage_that_has_not_begun_has_no_trials(tmp_path: Path) -> None:
    assert read_trials(tmp_path / "absent") == []
    assert count_trials([]) == {"complete": 0, "pruned": 0, "failed": 0, "running": 0}


def test_checkpoints_go_as_soon_as_nothing_can_need_them(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    seen: list[list[str]] = []

    def look(number: int) -> None:
        seen.append(disk.checkpoints())

    # Four trials, two of them go on, one of these to the end.
    plan = make_plan(brackets=plan_hyperband(4, 2)[:1])
    run = tune(plan, Trainer(look), disk.journal())
    second = sorted(t.number for t in run.trials if len(t.rungs) > 1)
    third = run.best.number
    assert seen[4] == [f"{n:04d}/round-1-fold-1.npz" for n in second]  # The others are pruned.
    assert seen[6] == [f"{third:04d}/round-2-fold-1.npz"]
    assert disk.checkpoints() == []


# What is found again


def test_a_result_is_found_as_it_was_recorded(tmp_path: Path) -> None:
    journal = Disk(tmp_path).journal()
    trial = Trial(3, 1, {"size": 16, "layers": 2}, seed=9)
    assert journal.find(trial, 0) is None
    result = RungResult(0.25, 0.1 + 0.2, 1e-17, 2 / 3, 1.5, None)
    journal.record(trial, 0, result, [fitted(0.3)])
    failure = RungResult(1.0, None, None, None, 0.0, "TrainingError: 'NaN' \u2014 a\nb")
    journal.record(trial, 1, failure, [None])
    again = Disk(tmp_path).journal()
    assert again.find(trial, 0) == result
    assert again.find(trial, 1) == failure
    assert again.find(trial, 2) is None
    assert again.find(replace(trial, number=4), 0) is None


def test_a_result_of_other_params_is_refused_with_what_to_do(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    trial = Trial(0, 0, {"size": 16, "layers": 2}, seed=9)
    disk.journal().record(trial, 0, RungResult(1, 0.5, None, 0.9, 1), [fitted(0.5)])
    other = replace(trial, params={"size": 16, "layers": 3})
    with pytest.raises(RunFolderError, match="recorded for other params") as caught:
        disk.journal().find(other, 0)
    assert str(trial_in(disk) / "round-1.json") in str(caught.value)
    assert f"Move {disk.folder} away" in str(caught.value)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    trial = Trial(0, 0, {"size": 16, "layers": 2}, seed=9)
    disk.journal().record(trial, 0, RungResult(1, 0.5, None, 0.9, 1), [fitted(0.5)])
    path = trial_in(disk) / "round-1.json"
    path.write_text(path.read_text(encoding="utf-8")[:20], encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"round-1\.json cannot be read as JSON"):
        disk.journal().find(trial, 0)


# Killed at any instant


class DyingDatabase(TrialsDatabase):
    """The process ends before, or right after, the n-th change of a trial."""

    def __init__(self, disk: Disk, write: int, *, before: bool) -> None:
        super().__init__(disk.trials_db, "tuned", SPACE)
        self.left = write
        self.before = before

    def write(self, trial: Trial) -> None:
        self.left -= 1
        if self.left < 0 and self.before:
            raise Killed
        super().write(trial)
        if self.left < 0:
            raise Killed


PLANS = {
    "hyperband": make_plan(brackets=plan_hyperband(4, 2)[:2]),
    "halving": make_plan(brackets=plan_successive_halving(4, 0.5, 2, 4), promotion="restart"),
    "folds": make_plan(
        sampler=find_sampler("grid"), brackets=plan_full(3, 2.0), num_folds=2, first=()
    ),
}


@pytest.mark.parametrize("kind", PLANS)
def test_killed_between_any_two_writes_the_folder_and_the_database_end_up_the_same(
    kind: str, tmp_path: Path
) -> None:
    plan = PLANS[kind]
    whole = Disk(tmp_path / "whole", plan.num_folds)
    fits = Trainer()
    expected = tune(plan, fits, whole.journal())
    for kill in range(2, 60, 5):
        disk = Disk(tmp_path / str(kill), plan.num_folds)
        try:
            tune(plan, Trainer(), disk.journal(DyingDatabase(disk, kill, before=kill % 2 == 0)))
        except Killed:
            pass
        else:
            break
        recorded = {
            f"{path.parent.name.lstrip('0') or 0}/{int(path.stem[6:]) - 1}/{fold}"
            for path in disk.folder.glob("trials/*/round-*.json")
            for fold in range(plan.num_folds)
        }
        fresh = Trainer()
        run = tune(plan, fresh, disk.journal())
        assert [t.describe() for t in run.trials] == [t.describe() for t in expected.trials]
        assert run.best.number == expected.best.number
        assert sorted(fresh.keys) == sorted(set(fits.keys) - recorded)
        assert read_trials(disk.folder) == read_trials(whole.folder)
        assert disk.states() == whole.states()
        assert disk.checkpoints() == []
    assert kill > 6


@pytest.mark.parametrize(
    ("brackets", "folds"),
    [
        (plan_hyperband(27, 3), 1),
        (plan_successive_halving(40, 1.0, 9.0, 3), 1),
        (plan_successive_halving(12, 1.0, 4.0, 2), 3),
        (plan_full(50, 1.0), 1),
    ],
)
def test_never_more_checkpoints_stand_than_are_forecast(
    brackets: tuple[Bracket, ...], folds: int, tmp_path: Path
) -> None:
    disk = Disk(tmp_path, num_folds=folds)
    space = SearchSpace({"size": Int(1, 4000), "layers": Int(3, 9)})
    standing: list[int] = []
    plan = make_plan(brackets=brackets, num_folds=folds, space=space, first=())
    trainer = Trainer(lambda number: standing.append(len(disk.checkpoints())))
    tune(plan, trainer, disk.journal(TrialsDatabase(disk.trials_db, "tuned", space)))
    assert not disk.checkpoints()
    # One fit runs at a time here: of two workers' four, one.
    most = count_checkpoints(brackets, folds, workers=2)
    assert most - 5 - folds <= max(standing) <= most - 3
    assert max(standing) < 0.6 * folds * brackets[0].rungs[0].num_trials
