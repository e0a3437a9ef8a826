"""Trials in Optuna's own storage, so that Optuna's tools open a run as it is.

The run folder's files are the record that a run goes on from; the database is
written beside them, by one process, and made to agree with them on the way. A study
does not end because it cannot be written; a damaged one is set aside and begun anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import sqlalchemy.exc

from burnish.errors import RunFolderError
from burnish.files import make_folder
from burnish.space import Choice, Float, Range, SearchSpace, Text
from burnish.tuning.trial import RungResult, Trial

_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class TrialsDatabase:
    """One tuning stage in ``trials.db``; Optuna calls it a study.

    Parameters
    ----------
    path
        The database, shared by all stages of a run.
    stage
        Name of the stage.
    space
        What varies.
    on_note
        Told, once, where the database cannot be written.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        space: SearchSpace,
        on_note: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._path = path
        self._stage = stage
        self._space = space
        self._on_note = on_note
        self._told = False
        self._open_study: _OpenStudy | None = None
        self._seen: dict[int, Trial] = {}
        self._behind: set[int] = set()

    def write(self, trial: Trial) -> None:
        """Bring the database's trial of this number up to date, with those it is behind with."""
        self._seen[trial.number] = trial
        self._behind.add(trial.number)
        error = self._catch_up()
        if error is not None and _is_damaged(error):
            kept = set_aside(self._path)
            self._behind = set(self._seen)
            self._on_note(f"{self._path} is damaged: kept as {kept.name}, and begun anew")
            error = self._catch_up()
        if error is not None and not self._told:
            self._told = True
            self._on_note(
                f"{self._path} cannot be written ({_explain(error)}): Optuna's tools may not "
                f"see all trials of '{self._stage}'; the study itself does not need it"
            )

    def _catch_up(self) -> Exception | None:
        """Write what the database is behind with; give what came in between.

        What could not be written is tried again with the next trial. A trial's number is
        its place in the database: in order, without gaps.
        """
        try:
            for number in sorted(self._behind):
                if self._open_study is None:
                    self._open_study = _OpenStudy(self._path, self._stage, self._space)
                self._open_study.write(self._seen[number])
                self._behind.remove(number)
        except _errors() as error:
            self._open_study = None
            return error
        return None


class _OpenStudy:
    """Optuna's study of a stage, in an open database."""

    def __init__(self, path: Path, stage: str, space: SearchSpace) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        make_folder(path.parent)
        self._study = optuna.create_study(
            storage=write_address(path),
            study_name=stage,
            sampler=optuna.samplers.RandomSampler(),  # It is never asked for a value.
            direction="minimize",
            load_if_exists=True,
        )
        self._distributions = {name: _describe_range(r) for name, r in space.ranges.items()}
        self._known = {t.number: t for t in self._study.get_trials(deepcopy=False)}

    def write(self, trial: Trial) -> None:
        """Bring the database's trial of this number up to date."""
        known = self._known.get(trial.number)
        if known is not None and known.state.is_finished():
            return
        if known is None:
            # Added whole rather than enqueued and asked for: a crash leaves all of it or nothing.
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.RUNNING,
                    params=trial.params,
                    distributions=self._distributions,
                    user_attrs={"bracket": trial.bracket},
                )
            )
            known = self._study.get_trials(deepcopy=False)[trial.number]
        asked = optuna.trial.Trial(self._study, known._trial_id)
        reported = known.intermediate_values
        for step, rung in enumerate(trial.rungs, start=1):
            if rung.loss is not None and step not in reported:
                asked.report(rung.loss, step)
                asked.set_user_attr(f"epochs of round {step}", rung.epochs)
        failure = trial.rungs[-1].failure if trial.rungs else None
        if failure is not None:
            asked.set_user_attr("failure", failure[:2000])
        if trial.state in _STATES:
            state = optuna.trial.TrialState[_STATES[trial.state]]
            value = trial.loss if state == optuna.trial.TrialState.COMPLETE else None
            self._study.tell(asked, value, state=state)
        self._known[trial.number] = self._study.get_trials(deepcopy=False)[trial.number]


def restore_stage(
    path: Path,
    stage: str,
    space: SearchSpace,
    described: Sequence[Mapping[str, Any]],
    on_note: Callable[[str], None] = lambda message: None,
) -> None:
    """Write the trials of a stage that has ended into a database that does not have them.

    Parameters
    ----------
    path, stage, space, on_note
        See :class:`TrialsDatabase`.
    described
        Trials as :meth:`burnish.tuning.trial.Trial.describe` gives them.
    """
    database = TrialsDatabase(path, stage, space, on_note)
    for trial in described:
        failures = [None] * (len(trial["rungs"]) - 1) + [trial["failure"]]
        rungs = [
            RungResult(rung["epochs"], rung["loss"], None, None, 0.0, failure)
            for rung, failure in zip(trial["rungs"], failures, strict=False)
        ]
        number, bracket = trial["number"], trial["bracket"]
        database.write(Trial(number, bracket, trial["params"], 0, rungs, trial["state"]))


def forget_stage(path: Path, stage: str) -> None:
    """Remove a stage whose settings have changed from the database, if it is there.

    Raises
    ------
    RunFolderError
        If the database cannot be written. A damaged one is set aside.
    """
    if not path.exists():
        return
    storage = write_address(path)
    try:
        if stage in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=stage, storage=storage)
    except _errors() as error:
        if _is_damaged(error):
            set_aside(path)
            return
        raise RunFolderError(
            f"cannot write {path}: {_explain(error)}. Nothing recorded is lost; free the disk, "
            "fix the permission or close what holds the file, then give the same command again."
        ) from error


def set_aside(path: Path) -> Path:
    """Rename a damaged database, with what SQLite keeps beside it; say what it is called now."""
    kept = path.with_name(f"{path.name}.damaged")
    for suffix in ("-journal", ""):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(path.with_name(kept.name + suffix))
    return kept


def _errors() -> tuple[type[Exception], ...]:
    """What Optuna raises where its database cannot be read or written."""
    return (OSError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


def _is_damaged(error: Exception) -> bool:
    """Whether SQLite found the file to be no database, rather than the disk to be full."""
    reason = str(_find_cause(error))
    return "malformed" in reason or "not a database" in reason


def _find_cause(error: BaseException) -> BaseException:
    """The error of SQLite below those of SQLAlchemy and Optuna."""
    while error.__cause__ is not None:
        error = error.__cause__
    return getattr(error, "orig", None) or error


def _explain(error: Exception) -> str:
    return str(_find_cause(error)).splitlines()[0]


def measure_importances(
    space: SearchSpace, trials: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, float]:
    """How much of the losses' variance each hyperparameter explains, summing to one.

    fANOVA (Hutter et al. 2014), Optuna's, over the first round of every trial, since
    losses at different budgets cannot be compared. Empty where there are fewer than
    four trials, only one hyperparameter varied, or all losses are the same.

    Parameters
    ----------
    space
        What varied.
    trials
        Trials as :meth:`burnish.tuning.trial.Trial.describe` gives them.
    seed
        Of the random forest.
    """
    scored = [t for t in trials if t["rungs"] and t["rungs"][0]["loss"] is not None]
    bracket = scored[0]["bracket"] if scored else 0
    scored = [t for t in scored if t["bracket"] == bracket]
    varied = {n: r for n, r in space.ranges.items() if len({t["params"][n] for t in scored}) > 1}
    losses = {t["rungs"][0]["loss"] for t in scored}
    if len(scored) < 4 or len(varied) < 2 or len(losses) < 2:
        return {}
    distributions = {name: _describe_range(r) for name, r in varied.items()}
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler())
    for t in scored:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: t["params"][name] for name in varied},
                distributions=distributions,
                value=t["rungs"][0]["loss"],
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def write_address(path: Path) -> str:
    """Return a database's address, as SQLAlchemy writes and reads it.

    Parameters
    ----------
    path
        Of any name: signs that mean something in an address are escaped.
    """
    return sqlalchemy.URL.create("sqlite", database=str(path.absolute())).render_as_string()


def _describe_range(r: Range) -> optuna.distributions.BaseDistribution:
    d = optuna.distributions

    if isinstance(r, Choice | Text):
        return d.CategoricalDistribution(r.values())
    if isinstance(r, Float):
        # Optuna wants the highest value that the steps reach.
        high = r.high if r.step is None else r.values()[-1]
        return d.FloatDistribution(r.low, high, log=r.log, step=r.step)
    high = r.high if r.log else r.values()[-1]
    return d.IntDistribution(r.low, int(high), log=r.log, step=r.step)
