from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from burnish.errors import TrainingError
from burnish.space import Choice, Params, SearchSpace
from burnish.tuning.executor import FitTask, Fold
from burnish.tuning.samplers import Observation, Point, Sampler, find_sampler, propose_params
from burnish.tuning.schedules import (
    Bracket,
    Rung,
    plan_full,
    plan_hyperband,
    plan_successive_halving,
)
from burnish.tuning.trial import Trial
from burnish.tuning.tuner import TuningPlan, tune

from . import SPACE, Answer, FakeExecutor, Killed, MemoryJournal, describe, make_plan, slope

FEW = SearchSpace({"num_hidden_layers": Choice((1, 2, 3)), "activation": Choice(("relu", "tanh"))})
"""Six points."""


def by_number(losses: Sequence[Answer]) -> Any:
    """Answer by the number of the trial, whatever its params and budget."""
    return lambda task: losses[int(task.key.split("/")[0])]


def listening(heard: list[list[Observation]], adaptive: bool = True) -> Sampler:
    """A sampler that proposes at random, and keeps what it was told."""

    def propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
        heard.append(list(observations))
        return find_sampler("random").propose(space, observations, seed)

    return Sampler("listening", propose, adaptive)


# Proposals


@pytest.mark.parametrize("concurrency", [1, 2, 3])
@pytest.mark.parametrize(
    ("sampler", "brackets"),
    [
        ("tpe", plan_full(18, 4.0)),
        ("tpe", plan_hyperband(9, 3)),
        ("random", plan_hyperband(9, 3)),
        ("tpe", plan_successive_halving(16, 0.25, 4, 4)),
    ],
    ids=["tpe-full", "tpe-hyperband", "random-hyperband", "tpe-halving"],
)
def test_nothing_depends_on_which_fit_ends_first(
    sampler: str, brackets: tuple[Bracket, ...], concurrency: int
) -> None:
    plan = make_plan(sampler=find_sampler(sampler), brackets=brackets, concurrency=concurrency)
    executors = (
        FakeExecutor(order="first"),
        FakeExecutor(order="last"),
        FakeExecutor(order="random", seed=1),
        FakeExecutor(order="random", seed=2),
    )
    runs = [tune(plan, executor, MemoryJournal()) for executor in executors]
    for run in runs[1:]:
        assert describe(run.trials) == describe(runs[0].trials)
        assert run.best.number == runs[0].best.number


def test_an_adaptive_sampler_knows_all_but_the_trials_under_way() -> None:
    heard: list[list[Observation]] = []
    plan = make_plan(sampler=listening(heard), brackets=plan_full(9, 4.0), concurrency=3)
    executor = FakeExecutor(order="last")
    tune(plan, executor, MemoryJournal())
    for number, observations in enumerate(heard):
        assert len(observations) == number
        known = [o.loss is not None for o in observations]
        # The last two run, even where they have ended; the third from the end was waited for.
        assert known == [True] * max(0, number - 2) + [False] * min(2, number)
        assert [o.running for o in observations] == [not k for k in known]
    assert executor.most_waiting == 3


def test_a_sampler_that_learns_nothing_need_not_wait() -> None:
    executor = FakeExecutor()
    tune(make_plan(brackets=plan_full(8, 4.0), concurrency=2), executor, MemoryJournal())
    assert executor.most_waiting == 8


def test_brackets_run_side_by_side_where_nothing_is_learnt_from_them() -> None:
    brackets = plan_hyperband(9, 3)
    assert [b.rungs[0].num_trials for b in brackets] == [9, 5, 3]
    first_rounds = {f"{number}/0/0" for number in range(9 + 5 + 3)}
    together, learning = FakeExecutor(), FakeExecutor()
    run = tune(make_plan(brackets=brackets), together, MemoryJournal())
    tune(make_plan(brackets=brackets, sampler=listening([])), learning, MemoryJournal())
    keys = [task.key for task in together.submitted]
    assert set(keys[: len(first_rounds)]) == first_rounds
    assert together.most_waiting == 9 + 5 + 3
    assert [t.bracket for t in run.trials] == [0] * 9 + [1] * 5 + [2] * 3
    # A sampler that learns hears of the whole first bracket before the second begins.
    asked = [task.key for task in learning.submitted]
    assert asked.index("9/0/0") > max(i for i, key in enumerate(asked) if key.endswith("/2/0"))


def test_a_promoted_trial_is_known_at_each_of_its_budgets() -> None:
    heard: list[list[Observation]] = []
    plan = make_plan(sampler=listening(heard), brackets=plan_hyperband(9, 3), concurrency=1)
    run = tune(plan, FakeExecutor(), MemoryJournal())
    first = [trial for trial in run.trials if trial.bracket == 0]
    observations = heard[len(first)]  # Those of the first trial of the second bracket.
    assert Counter(o.epochs for o in observations) == {1.0: 9, 3.0: 3, 9.0: 1}
    best = min((o for o in observations if o.epochs == 1.0), key=lambda o: o.loss or 0)
    assert best.params in [o.params for o in observations if o.epochs == 9.0]


def test_a_failed_trial_is_known_without_a_loss_and_not_as_running() -> None:
    heard: list[list[Observation]] = []
    plan = make_plan(sampler=listening(heard), brackets=plan_full(3, 4.0), concurrency=1)
    tune(plan, FakeExecutor(by_number(["broken", 0.5, 0.4])), MemoryJournal())
    assert [(o.loss, o.running) for o in heard[2]] == [(None, False), (0.5, False)]


def test_the_bases_params_are_the_first_trial() -> None:
    first: Params = {
        "num_hidden_layers": 2,
        "hidden_layer_size": 64,
        "activation": "tanh",
        "dropout_rate": 0.2,
        "learning_rate": 0.00123,
    }
    for sampler in ("random", "tpe"):
        with_base = tune(
            make_plan(first=(first,), sampler=find_sampler(sampler)),
            FakeExecutor(),
            MemoryJournal(),
        )
        without = tune(make_plan(sampler=find_sampler(sampler)), FakeExecutor(), MemoryJournal())
        assert with_base.trials[0].params == first
        assert without.trials[0].params != first
        assert len(with_base.trials) == len(without.trials) == 8


def test_a_grid_that_begins_with_the_bases_params_still_takes_each_point_once() -> None:
    first: Params = {"num_hidden_layers": 2, "activation": "tanh"}
    plan = make_plan(
        space=FEW, sampler=find_sampler("grid"), first=(first,), brackets=plan_full(6, 4.0)
    )
    params = [
        trial.params
        for trial in tune(plan, FakeExecutor(by_number([0.1] * 6)), MemoryJournal()).trials
    ]
    points = list(FEW.points())
    assert params == [first, *(point for point in points if point != first)]


def test_an_exhausted_space_ends_the_search_cleanly() -> None:
    for brackets in (plan_full(50, 4.0), plan_hyperband(9, 3)):
        for sampler in ("random", "tpe", "grid"):
            plan = make_plan(space=FEW, sampler=find_sampler(sampler), brackets=brackets)
            losses = [0.5, 0.4, 0.3, 0.2, 0.6, 0.7]
            run = tune(plan, FakeExecutor(by_number(losses)), MemoryJournal())
            assert len(run.trials) == 6
            assert len({tuple(trial.params.items()) for trial in run.trials}) == 6
            assert run.best.number == 3
            assert all(trial.state != "running" for trial in run.trials)


# What is asked of the executor


def test_a_fit_is_asked_for_with_everything_that_it_needs() -> None:
    executor = FakeExecutor()
    plan = make_plan(brackets=plan_successive_halving(4, 1, 4, 4))
    run = tune(plan, executor, MemoryJournal())
    for trial in run.trials:
        task = executor.submitted[trial.number]
        assert task.key == f"{trial.number}/0/0"
        assert task.fold is None
        assert not task.probe
        request = task.request
        assert request.model == "fnn"
        assert request.params == {"l2_strength": 0.0, **trial.params}
        assert request.settings == replace(plan.settings, max_epochs=1)
        assert request.seed == trial.seed == 1000 + trial.number
        assert str(request.checkpoint) == f"trial-{trial.number}-round-0-fold-0"
        assert request.resume_from is None
    (promoted,) = executor.submitted[4:]
    number = run.best.number
    assert promoted.key == f"{number}/1/0"
    assert promoted.request.settings.max_epochs == 4
    assert promoted.request.seed == 1000 + number
    assert str(promoted.request.checkpoint) == f"trial-{number}-round-1-fold-0"
    assert str(promoted.request.resume_from) == f"trial-{number}-round-0-fold-0"


def test_a_restarted_trial_keeps_no_checkpoints() -> None:
    executor = FakeExecutor()
    plan = make_plan(brackets=plan_successive_halving(4, 1, 4, 4), promotion="restart")
    tune(plan, executor, MemoryJournal())
    assert len(executor.submitted) == 5
    for task in executor.submitted:
        assert task.request.checkpoint is None
        assert task.request.resume_from is None


def test_every_trial_is_fitted_on_the_same_folds() -> None:
    executor, journal = FakeExecutor(order="random"), MemoryJournal()
    tune(make_plan(num_folds=3, brackets=plan_full(4, 2.0)), executor, journal)
    assert [task.key for task in executor.submitted] == [
        f"{trial}/0/{fold}" for trial in range(4) for fold in range(3)
    ]
    for number, task in enumerate(executor.submitted):
        assert task.fold == Fold(3, number % 3, seed=999)
        assert str(task.request.checkpoint) == f"trial-{number // 3}-round-0-fold-{number % 3}"
    # The folds of a trial differ in their data alone.
    assert len({task.request.seed for task in executor.submitted[:3]}) == 1
    assert journal.fits == {(number, 0): 3 for number in range(4)}


# Results


def test_a_trials_loss_is_the_mean_over_its_folds_with_its_deviation() -> None:
    def answer(task: FitTask) -> Answer:
        assert task.fold is not None
        return 0.5 + task.fold.index / 10 + int(task.key.split("/")[0])

    plan = make_plan(num_folds=3, brackets=plan_full(2, 2.0))
    run = tune(plan, FakeExecutor(answer, "random"), MemoryJournal())
    for trial in run.trials:
        (rung,) = trial.rungs
        assert rung.loss is not None
        assert rung.loss == pytest.approx(0.6 + trial.number)
        assert rung.std == pytest.approx(0.1)
        assert rung.accuracy == pytest.approx(1 - rung.loss / 10)
        assert rung.seconds == pytest.approx(0.75)
        assert trial.describe()["std"] == rung.std


def test_a_trial_without_folds_has_no_deviation() -> None:
    run = tune(make_plan(), FakeExecutor(), MemoryJournal())
    assert all(trial.describe()["std"] is None for trial in run.trials)


def test_the_lowest_losses_are_promoted_and_of_equals_the_first() -> None:
    losses = [0.4, 0.2, 0.3, 0.2, 0.1, 0.2, 0.9, 0.8, 0.7]
    executor = FakeExecutor(by_number(losses), "last")
    plan = make_plan(brackets=(Bracket((Rung(9, 1), Rung(3, 3), Rung(1, 9))),))
    run = tune(plan, executor, MemoryJournal())
    assert [task.key for task in executor.submitted[9:]] == ["1/1/0", "3/1/0", "4/1/0", "4/2/0"]
    assert [trial.state for trial in run.trials] == [
        "complete" if n == 4 else "pruned" for n in range(9)
    ]
    assert [len(trial.rungs) for trial in run.trials] == [1, 2, 1, 2, 3, 1, 1, 1, 1]
    assert [trial.describe()["epochs"] for trial in run.trials][:5] == [1, 3, 1, 3, 9]
    assert run.best.number == 4


def test_of_equal_complete_trials_the_first_wins() -> None:
    run = tune(
        make_plan(), FakeExecutor(by_number([0.5, 0.3, 0.4, 0.3, 0.3, 1, 1, 1])), MemoryJournal()
    )
    assert run.best.number == 1


def test_a_trial_that_was_trained_longest_wins_over_a_lower_loss_of_less_training() -> None:
    def answer(task: FitTask) -> Answer:
        number, rung, _ = (int(part) for part in task.key.split("/"))
        return [0.3, 0.1, 0.2, 0.15][number] + rung  # It gets worse with training.

    plan = make_plan(brackets=(Bracket((Rung(4, 1), Rung(1, 4))),))
    run = tune(plan, FakeExecutor(answer), MemoryJournal())
    assert run.best.number == 1
    assert run.best.loss == 1.1


def test_a_failure_is_recorded_with_its_reason_and_the_rest_goes_on() -> None:
    losses: list[Answer] = ["it diverged", 0.4, 0.3, "signal 9"]
    journal = MemoryJournal()
    plan = make_plan(brackets=(Bracket((Rung(4, 1), Rung(3, 3))),))
    run = tune(plan, FakeExecutor(by_number(losses)), journal)
    assert [trial.state for trial in run.trials] == ["failed", "complete", "complete", "failed"]
    assert [trial.describe()["failure"] for trial in run.trials] == [
        "it diverged",
        None,
        None,
        "signal 9",
    ]
    assert run.trials[0].loss is None
    assert journal.results[0, 0].failure == "it diverged"
    assert (0, 1) not in journal.results
    assert run.best.number == 2


def test_one_failed_fold_fails_its_trial() -> None:
    def answer(task: FitTask) -> Answer:
        assert task.fold is not None
        return "no memory" if (task.key[0], task.fold.index) == ("1", 1) else slope(task)

    plan = make_plan(num_folds=3, brackets=plan_full(3, 2.0))
    run = tune(plan, FakeExecutor(answer, "random"), MemoryJournal())
    assert [trial.state for trial in run.trials] == ["complete", "failed", "complete"]
    assert run.trials[1].describe()["failure"] == "no memory"
    assert run.best.number != 1


def test_a_trial_that_fails_after_its_promotion_never_wins() -> None:
    def answer(task: FitTask) -> Answer:
        number, rung, _ = (int(part) for part in task.key.split("/"))
        if number == 2 and rung == 1:
            return "it diverged"
        return [0.3, 0.2, 0.01, 0.4][number]

    plan = make_plan(brackets=(Bracket((Rung(4, 1), Rung(2, 2), Rung(1, 4))),))
    run = tune(plan, FakeExecutor(answer), MemoryJournal())
    assert [trial.state for trial in run.trials] == ["pruned", "complete", "failed", "pruned"]
    assert run.best.number == 1
    failed = run.trials[2].describe()
    assert failed["loss"] is None
    assert [rung["loss"] for rung in failed["rungs"]] == [0.01, None]


def test_where_every_promoted_trial_fails_the_best_of_the_others_wins() -> None:
    def answer(task: FitTask) -> Answer:
        number, rung, _ = (int(part) for part in task.key.split("/"))
        return "it diverged" if rung else [0.1, 0.2, 0.4, 0.3][number]

    plan = make_plan(brackets=(Bracket((Rung(4, 1), Rung(2, 4))),))
    run = tune(plan, FakeExecutor(answer), MemoryJournal())
    assert [trial.state for trial in run.trials] == ["failed", "failed", "pruned", "pruned"]
    assert run.best.number == 3


def test_where_nothing_succeeded_the_error_names_every_reason_once() -> None:
    reasons = ["it diverged", "signal 9", "it diverged", "no memory"]
    plan = make_plan(brackets=plan_hyperband(3, 3)[:1] + plan_full(1, 3.0))
    with pytest.raises(
        TrainingError, match="none of 4 trials succeeded: it diverged; no memory; signal 9"
    ):
        tune(plan, FakeExecutor(by_number(reasons)), MemoryJournal())


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_a_failure_and_never_wins(loss: float) -> None:
    plan = make_plan(brackets=plan_full(3, 1.0))
    result = tune(plan, FakeExecutor(by_number([loss, 0.5, 0.4])), MemoryJournal())
    first = result.trials[0].describe()
    assert (first["state"], first["loss"]) == ("failed", None)
    assert first["failure"] == f"its loss is [{loss}]"
    assert result.best.number == 2


def test_a_trial_is_over_as_soon_as_that_is_known() -> None:
    seen: list[list[str]] = []
    brackets = (Bracket((Rung(4, 1), Rung(2, 4))),)
    plan = make_plan(brackets=brackets, concurrency=1)
    journal = MemoryJournal()

    def look(trial: Trial, best: Trial | None) -> None:
        latest = {number: state for number, state, _ in journal.states}
        seen.append([latest[number] for number in sorted(latest)])

    tune(plan, FakeExecutor(by_number([0.4, 0.2, 0.3, 0.1])), journal, look)
    going, out, done = "running", "pruned", "complete"
    # Two go on: the first is out when two better ones are known, and so is the third.
    assert seen[2:] == [
        [out, going, going, going],
        [out, going, out, going],
        [out, done, out, going],
        [out, done, out, done],
    ]


def test_seconds_of_a_continued_trial_are_counted_once() -> None:
    # The fake fits say 0.25 s each; a fit that goes on counts what went before too.
    brackets = (Bracket((Rung(2, 1), Rung(1, 4))),)
    for promotion, expected in (("continue", 0.25), ("restart", 0.5)):
        run = tune(
            make_plan(brackets=brackets, promotion=promotion), FakeExecutor(), MemoryJournal()
        )
        assert run.best.describe()["seconds"] == pytest.approx(expected)


def test_whoever_watches_hears_of_every_round_and_of_the_best_so_far() -> None:
    heard: list[tuple[int, float | None, int | None]] = []

    def listen(trial: Trial, best: Trial | None) -> None:
        heard.append((trial.number, trial.loss, None if best is None else best.number))

    losses: list[Answer] = ["broken", 0.5, 0.3, 0.4]
    plan = make_plan(brackets=(Bracket((Rung(4, 1), Rung(1, 4))),), concurrency=1)
    tune(plan, FakeExecutor(by_number(losses)), MemoryJournal(), listen)
    assert heard == [(0, None, None), (1, 0.5, 1), (2, 0.3, 2), (3, 0.4, 2), (2, 0.3, 2)]


def test_the_journal_hears_of_every_change_of_a_trial() -> None:
    journal = MemoryJournal()
    plan = make_plan(brackets=(Bracket((Rung(2, 1), Rung(1, 4))),))
    tune(plan, FakeExecutor(by_number([0.2, 0.1])), journal)
    changes = {
        n: [(state, rungs) for number, state, rungs in journal.states if number == n]
        for n in (0, 1)
    }
    assert changes == {
        0: [("running", 0), ("running", 1), ("pruned", 1)],
        1: [("running", 0), ("running", 1), ("running", 2), ("complete", 2)],
    }


# Killed and gone on


@dataclass(frozen=True)
class Interrupted:
    """What an interrupted search and the one that went on from it gave."""

    trials: list[dict[str, Any]]
    best: int
    done_before: list[str]
    submitted_after: list[str]
    recorded_before: set[tuple[int, int]]


def interrupt(plan: TuningPlan, kill_after: int, answer: Any = slope) -> Interrupted:
    journal = MemoryJournal()
    dying = FakeExecutor(answer, "random", seed=1, kill_after=kill_after)
    with pytest.raises(Killed):
        tune(plan, dying, journal)
    recorded = set(journal.results)
    fresh = FakeExecutor(answer, "last")
    run = tune(plan, fresh, journal)
    return Interrupted(
        describe(run.trials),
        run.best.number,
        dying.done,
        [task.key for task in fresh.submitted],
        recorded,
    )


KINDS: dict[str, dict[str, Any]] = {
    "random-hyperband": {"brackets": plan_hyperband(9, 3)},
    "tpe-halving": {
        "sampler": find_sampler("tpe"),
        "brackets": plan_successive_halving(14, 0.25, 4, 4),
        "promotion": "restart",
        "concurrency": 3,
    },
    "grid-folds": {
        "space": SearchSpace(
            {
                "num_hidden_layers": Choice((1, 2)),
                "dropout_rate": Choice((0.1, 0.2, 0.3)),
                "learning_rate": Choice((0.001, 0.003)),
            }
        ),
        "fixed": {"hidden_layer_size": 64},
        "sampler": find_sampler("grid"),
        "brackets": plan_full(12, 3.0),
        "num_folds": 3,
    },
}


def sometimes_failing(task: FitTask) -> Answer:
    return "it diverged" if task.key.startswith(("3/0", "5/1")) else slope(task)


@pytest.mark.parametrize("answer", [slope, sometimes_failing])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_any_result_it_goes_on_to_the_same_and_repeats_nothing(
    kind: str, answer: Any
) -> None:
    plan = make_plan(**KINDS[kind])
    whole = FakeExecutor(answer)
    journal = MemoryJournal()
    uninterrupted = tune(plan, whole, journal)
    expected = describe(uninterrupted.trials)
    keys = [task.key for task in whole.submitted]
    records = set()
    for kill_after in range(len(keys)):
        went_on = interrupt(plan, kill_after, answer)
        records.add(len(went_on.recorded_before))
        assert went_on.trials == expected
        assert went_on.best == uninterrupted.best.number
        recorded = {
            f"{trial}/{rung}/{fold}"
            for trial, rung in went_on.recorded_before
            for fold in range(plan.num_folds)
        }
        # What was recorded is not done again; with the rest it makes the whole, each once.
        assert recorded <= set(went_on.done_before)
        assert Counter(went_on.submitted_after) == Counter(keys) - Counter(recorded)
    # There was a kill before any result, a kill before the last, and many in between.
    assert {0, len(journal.results) - 1} <= records
    assert len(records) > len(journal.results) / 3


def test_a_search_that_was_done_is_replayed_without_a_single_fit() -> None:
    plan, journal = make_plan(brackets=plan_hyperband(9, 3)), MemoryJournal()
    first = tune(plan, FakeExecutor(), journal)
    executor = FakeExecutor()
    again = tune(plan, executor, journal)
    assert executor.submitted == []
    assert describe(again.trials) == describe(first.trials)
    assert again.best.number == first.best.number


def test_a_search_that_failed_altogether_fails_again_without_a_fit() -> None:
    plan, journal = make_plan(brackets=plan_full(2, 3.0)), MemoryJournal()
    for executor in (FakeExecutor(lambda task: "no memory"), FakeExecutor()):
        with pytest.raises(TrainingError, match="none of 2 trials succeeded: no memory"):
            tune(plan, executor, journal)
    assert executor.submitted == []


def test_the_best_of_random_proposals_is_no_worse_than_any_other() -> None:
    run = tune(make_plan(brackets=plan_full(20, 4.0)), FakeExecutor(), MemoryJournal())
    losses = [trial.loss for trial in run.trials if trial.loss is not None]
    assert run.best.loss == min(losses)
    assert statistics.fmean(losses) > min(losses)
    for trial in run.trials:
        assert trial.params in SPACE
        seen = [Observation(t.params, t.loss, 4.0) for t in run.trials[: trial.number]]
        assert trial.params == propose_params(find_sampler("random"), SPACE, seen, trial.seed)


def test_a_result_is_recorded_as_soon_as_it_is_there_whichever_is_waited_for() -> None:
    # Trial 0 takes so long that all others end before it, and then the process ends.
    plan, journal = make_plan(brackets=plan_full(6, 3.0)), MemoryJournal()
    with pytest.raises(Killed):
        tune(plan, FakeExecutor(order="last", kill_after=5), journal)
    assert set(journal.results) == {(number, 0) for number in range(1, 6)}
    executor = FakeExecutor()
    tune(plan, executor, journal)
    assert [task.key for task in executor.submitted] == ["0/0/0"]


def test_no_trial_begins_that_would_end_too_late() -> None:
    plan = make_plan(sampler=find_sampler("tpe"), brackets=plan_full(30, 4.0), concurrency=2)
    whole = tune(plan, FakeExecutor(), MemoryJournal())
    # Each trial says that it took a quarter of a second, and two run at a time.
    late = tune(replace(plan, max_seconds=1.6), FakeExecutor(), MemoryJournal())
    assert len(late.trials) == 12
    assert describe(late.trials) == describe(whole.trials[:12]), "what a shorter search would give"
    exact = tune(replace(plan, brackets=plan_full(12, 4.0)), FakeExecutor(), MemoryJournal())
    assert describe(late.trials) == describe(exact.trials)


def test_a_search_that_is_late_from_the_start_still_finds_something() -> None:
    plan = make_plan(sampler=find_sampler("tpe"), brackets=plan_full(30, 4.0), concurrency=2)
    answers: list[Answer] = ["it broke", "it broke", *[0.5] * 28]
    found = tune(replace(plan, max_seconds=0.01), FakeExecutor(by_number(answers)), MemoryJournal())
    assert found.best.number == 2
    assert len(found.trials) <= 4
