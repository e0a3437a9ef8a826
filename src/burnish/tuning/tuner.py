"""The tuner: sampler x schedule over an executor, with every result recorded.

The loop is a replay: it proposes trials in order, and for each fit asks the journal
first. What stands there is not done again; so a stage that was killed goes on to
the proposals and the winner of an uninterrupted one. For that to hold, nothing may
depend on which of several running trials ends first: trial ``n`` is proposed when
trial ``n - concurrency`` and all before it are known, and those after it count as
running, whether they have ended or not. A sampler that does not learn has nothing to
wait for: its brackets run side by side.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from burnish.errors import TrainingError
from burnish.space import SearchSpace, Value
from burnish.training import FitRequest, Start, TrainingSettings
from burnish.tuning.executor import Executor, FitTask, Fold, Outcome, Resources
from burnish.tuning.samplers import Allows, Observation, Point, Sampler, propose_params
from burnish.tuning.schedules import Bracket, Promotion, Rung
from burnish.tuning.trial import Journal, RungResult, Trial, TrialState


@dataclass(frozen=True)
class TuningPlan:
    """What a tuning stage does.

    Attributes
    ----------
    model, fixed, settings
        Family, params that do not vary, and training settings of every trial.
    space, sampler, brackets, promotion
        What varies, who proposes, the rounds, and whether a promoted trial goes on
        from its checkpoint or starts again with the larger budget.
    num_folds
        Folds of a trial; 1 trains on the train split and scores on val.
    first
        Params of the first trials (the base's best, points that a study names), each once.
    concurrency
        How many trials may be under way when the next is proposed.
    derive_seed
        From a trial's number to its seed.
    folds_seed
        Seed of the cut into folds, the same for all trials.
    resources
        What each fit is given on a cluster.
    allows
        Which points of the space may be tried.
    start
        Weights that every fit starts from, instead of random or pretrained ones.
    max_seconds
        After so many seconds, those of earlier attempts included, no further trial begins, once one
        has succeeded. A sampler that does not learn submits its trials at once: it is not ended.
    """

    model: str
    fixed: Mapping[str, Value]
    settings: TrainingSettings
    space: SearchSpace
    sampler: Sampler
    brackets: tuple[Bracket, ...]
    promotion: Promotion
    num_folds: int
    first: tuple[Point, ...]
    concurrency: int
    derive_seed: Callable[[int], int]
    folds_seed: int
    resources: Resources = field(default_factory=Resources)
    allows: Allows = lambda point: True
    start: Start | None = None
    max_seconds: float | None = None


@dataclass(frozen=True)
class TuningResult:
    """Every trial, and the best one."""

    trials: tuple[Trial, ...]
    best: Trial


def tune(
    plan: TuningPlan,
    executor: Executor,
    journal: Journal,
    on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
) -> TuningResult:
    """Run a tuning stage.

    Parameters
    ----------
    plan
        What to do.
    executor
        Where fits run.
    journal
        Where results are kept.
    on_trial
        Called with each trial that has finished a round, and the best so far.

    Raises
    ------
    TrainingError
        If no trial succeeded; the message gives the reasons.
    """
    return _Tuner(plan, executor, journal, on_trial).run()


@dataclass
class _Round:
    """The round that a bracket is in.

    Attributes
    ----------
    bracket, index
        The bracket, and which of its rounds it is.
    trials, awaited
        Those of the round, and those of them whose result has not been taken yet.
    """

    bracket: Bracket
    index: int = 0
    trials: list[Trial] = field(default_factory=list)
    awaited: list[Trial] = field(default_factory=list)


class _Tuner:
    def __init__(
        self,
        plan: TuningPlan,
        executor: Executor,
        journal: Journal,
        on_trial: Callable[[Trial, Trial | None], None],
    ) -> None:
        self.plan = plan
        self.executor = executor
        self.journal = journal
        self.on_trial = on_trial
        self.trials: list[Trial] = []
        self.outcomes: dict[str, Outcome] = {}
        self.began = time.monotonic()

    def run(self) -> TuningResult:
        rounds = []
        for number, bracket in enumerate(self.plan.brackets):
            rounds.append(self._begin(number, bracket))
            if self.plan.sampler.adaptive:
                # It learns from this bracket before it proposes for the next.
                self._finish([rounds.pop()])
        self._finish(rounds)
        best = self.best()
        if not self.trials:
            raise TrainingError(
                "no point of its space may be tried: max_mflops leaves out all that were drawn"
            )
        if best is None:
            reasons = sorted({str(t.rungs[-1].failure) for t in self.trials if t.rungs})
            raise TrainingError(
                f"none of {len(self.trials)} trials succeeded: {'; '.join(reasons)}"
            )
        return TuningResult(tuple(self.trials), best)

    def best(self) -> Trial | None:
        """The lowest loss among trials that were trained longest; the first of equals."""
        scored = [t for t in self.trials if t.loss is not None and t.state != "failed"]
        complete = [t for t in scored if t.state == "complete"]
        return min(complete or scored, key=lambda t: (_loss(t), t.number), default=None)

    def _begin(self, number: int, bracket: Bracket) -> _Round:
        """Propose and submit the trials of a bracket's first round."""
        rung = bracket.rungs[0]
        begun = _Round(bracket)
        for _ in range(rung.num_trials):
            if self.plan.sampler.adaptive:
                while len(begun.awaited) >= self.plan.concurrency:
                    self._collect(begun)
                if self._is_late():
                    break
            trial = self._propose(number)
            if trial is None:
                break
            begun.trials.append(trial)
            begun.awaited.append(trial)
            self._submit(trial, 0, rung)
        return begun

    def _is_late(self) -> bool:
        """Whether another trial would be likely to end after the time that is given."""
        if self.plan.max_seconds is None or self.best() is None:
            return False
        known = [sum(r.seconds for r in t.rungs) for t in self.trials if t.rungs]
        # What the journal knows from an earlier attempt took its time then.
        taken = max(time.monotonic() - self.began, sum(known) / self.plan.concurrency)
        return taken + statistics.fmean(known) > self.plan.max_seconds

    def _finish(self, rounds: Sequence[_Round]) -> None:
        """Take brackets to their ends, side by side.

        While one waits for the last trials of a round, the others keep the workers busy.
        What a trial gives does not depend on which ends first.
        """
        going = list(rounds)
        while True:
            going = [present for present in going if self._advance(present)]
            if not going:
                return
            self._record(self.executor.wait())

    def _advance(self, present: _Round) -> bool:
        """Take what has been recorded, and begin the next round after the last of them.

        Gives whether the bracket has anything left to wait for.
        """
        while True:
            for trial in tuple(present.awaited):
                result = self.journal.find(trial, present.index)
                if result is not None:
                    self._take(present, trial, result)
            if present.awaited:
                return True
            present.index += 1
            if present.index == len(present.bracket.rungs):
                return False
            present.trials = [t for t in present.trials if t.state == "running"]
            present.awaited = list(present.trials)
            for trial in present.trials:
                self._submit(trial, present.index, present.bracket.rungs[present.index])

    def _settle(self, present: _Round) -> None:
        """End the trials of a round that will not go on, as soon as that is known.

        After the last round that is all of them. Before, whoever has as many better ones
        above it as are promoted; those still to come cannot change that. A trial that is
        over needs its checkpoint no longer: so few of them stand at any moment.
        """
        index, rungs = present.index, present.bracket.rungs
        known = [t for t in present.trials if t.state == "running" and len(t.rungs) > index]
        if index + 1 == len(rungs):
            for trial in known:
                self._end(trial, "complete")
            return
        known.sort(key=lambda t: (_loss(t), t.number))
        for trial in known[rungs[index + 1].num_trials :]:
            self._end(trial, "pruned")

    def _propose(self, bracket: int) -> Trial | None:
        number = len(self.trials)
        seed = self.plan.derive_seed(number)
        if number < len(self.plan.first):
            point: Point | None = self.plan.first[number]
        else:
            observations = [o for t in self.trials for o in _observe(t)]
            point = propose_params(
                self.plan.sampler, self.plan.space, observations, seed, self.plan.allows
            )
        if point is None:
            return None
        trial = Trial(number, bracket, point, seed)
        self.trials.append(trial)
        self.journal.trial_changed(trial)
        return trial

    def _submit(self, trial: Trial, index: int, rung: Rung) -> None:
        if self.journal.find(trial, index) is not None:
            return
        settings = replace(self.plan.settings, max_epochs=rung.epochs)
        goes_on = self.plan.promotion == "continue"
        before = tuple(r.epochs for r in self.plan.brackets[trial.bracket].rungs[:index])
        for fold in range(self.plan.num_folds):
            request = FitRequest(
                model=self.plan.model,
                params={**self.plan.fixed, **trial.params},
                settings=settings,
                seed=trial.seed,
                checkpoint=self.journal.checkpoint(trial, index, fold) if goes_on else None,
                resume_from=self.journal.checkpoint(trial, index - 1, fold)
                if goes_on and index > 0
                else None,
                budgets_before=before if goes_on else (),
                start=self.plan.start,
            )
            # The folds of a stage are the same for all its trials.
            cut = Fold(self.plan.num_folds, fold, self.plan.folds_seed)
            task = FitTask(
                _key(trial, index, fold),
                request,
                cut if self.plan.num_folds > 1 else None,
                resources=self.plan.resources,
            )
            self.executor.submit(task)

    def _collect(self, present: _Round) -> None:
        """Wait until the first awaited trial of a round has its result, and take it."""
        trial = present.awaited[0]
        result = self.journal.find(trial, present.index)
        while result is None:
            self._record(self.executor.wait())
            result = self.journal.find(trial, present.index)
        self._take(present, trial, result)

    def _take(self, present: _Round, trial: Trial, result: RungResult) -> None:
        """Add a round's result to its trial."""
        present.awaited.remove(trial)
        trial.rungs.append(result)
        if result.loss is None:
            self._end(trial, "failed")
        else:
            self.journal.trial_changed(trial)
        self._settle(present)
        self.on_trial(trial, self.best())

    def _record(self, outcome: Outcome) -> None:
        """Record a round as soon as its last fit has ended, whichever round is waited for."""
        self.outcomes[outcome.key] = outcome
        number, index, _ = (int(part) for part in outcome.key.split("/"))
        trial = self.trials[number]
        keys = [_key(trial, index, fold) for fold in range(self.plan.num_folds)]
        if any(key not in self.outcomes for key in keys):
            return
        outcomes = [self.outcomes.pop(key) for key in keys]
        rung = self.plan.brackets[trial.bracket].rungs[index]
        result = _summarise(rung, outcomes)
        if self.plan.promotion == "continue":
            # A fit that goes on counts the seconds before it too.
            before = sum(r.seconds for r in trial.rungs)
            result = replace(result, seconds=max(0.0, result.seconds - before))
        self.journal.record(trial, index, result, [o.result for o in outcomes])

    def _end(self, trial: Trial, state: TrialState) -> None:
        trial.state = state
        self.journal.trial_changed(trial)


def _loss(trial: Trial) -> float:
    assert trial.loss is not None
    return trial.loss


def _observe(trial: Trial) -> list[Observation]:
    """What a trial's rounds gave, at each budget."""
    if not trial.rungs:
        return [Observation(trial.params, None, 0.0, running=True)]
    return [Observation(trial.params, rung.loss, rung.epochs) for rung in trial.rungs]


def _key(trial: Trial, rung: int, fold: int) -> str:
    return f"{trial.number}/{rung}/{fold}"


def _summarise(rung: Rung, outcomes: Sequence[Outcome]) -> RungResult:
    results = [o.result for o in outcomes if o.result is not None]
    seconds = sum(r.seconds for r in results)
    failures = [o.failure for o in outcomes if o.failure is not None]
    if failures:
        return RungResult(rung.epochs, None, None, None, seconds, failures[0])
    losses = [r.val_loss for r in results]
    if not all(math.isfinite(loss) for loss in losses):
        # An executor from outside may hand on what a fit of ours refuses.
        return RungResult(rung.epochs, None, None, None, seconds, f"its loss is {losses}")
    return RungResult(
        rung.epochs,
        statistics.fmean(losses),
        statistics.stdev(losses) if len(losses) > 1 else None,
        statistics.fmean(r.val_accuracy for r in results),
        seconds,
    )
