"""What every executor must do, as a check to call in its own tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from burnish.data import Dataset
from burnish.data.folds import take_fold
from burnish.models import default_params, find_family
from burnish.training import FitRequest, FitResult, TrainingSettings, fit
from burnish.tuning.executor import Executor, FitTask, Fold, Outcome

FAILS = "failing"


def check_executor(make: Callable[[Dataset], Executor], dataset: Dataset, folder: Path) -> Executor:
    """Run small fits and check that an executor keeps the contract.

    Parameters
    ----------
    make
        Makes the executor for a data set; it is called once.
    dataset
        A small one: fits are of some epochs of a small network.
    folder
        Where checkpoints go; the machine that calls this must see what lies there.

    Returns
    -------
    Executor
        It, closed.

    Raises
    ------
    AssertionError
        If it does not keep the contract; the message says in what.
    """
    executor = make(dataset)
    try:
        _check_fits(executor, dataset)
        _check_checkpoints(executor, folder)
        _check_waiting_for_nothing(executor)
        for number in range(3):
            executor.submit(FitTask(f"endless-{number}", _ask(epochs=100_000)))
    finally:
        executor.close()
    executor.close()  # Twice does no harm.
    return executor


def _check_fits(executor: Executor, dataset: Dataset) -> None:
    fold = Fold(3, 1, seed=5)
    diverging = _ask(num_hidden_layers=16, dropout_rate=0.0, learning_rate=10.0)
    outcomes = _run(
        executor,
        FitTask("plain", _ask()),
        FitTask("other", _ask(seed=2)),
        FitTask("again", _ask()),
        FitTask(FAILS, diverging),
        FitTask("fold", _ask(), fold),
        FitTask("probe", _ask(), probe=True),
    )
    plain, other, again = (_result(outcomes[key]) for key in ("plain", "other", "again"))
    _require(_bits(plain) == _bits(again), "the same task gives the same bits twice")
    _require(_bits(plain) != _bits(other), "another seed gives another result")
    here = fit(_ask(), dataset)
    _require(_is_near(plain, here), "a fit gives what it gives in this process")
    failed = outcomes[FAILS]
    _require(
        failed.result is None and (failed.failure or "").startswith("TrainingError: the loss is "),
        f"a fit that fails gives its reason and no result; found {failed}",
    )
    here = fit(_ask(), take_fold(dataset, fold.num_folds, fold.index, fold.seed))
    _require(_is_near(_result(outcomes["fold"]), here), "a fold is fitted on its share of train")
    probed = outcomes["probe"]
    _require(
        probed.cost is not None and probed.result is None and probed.failure is None,
        f"a probe gives a cost and nothing else; found {probed}",
    )


def _check_checkpoints(executor: Executor, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first, second = folder / "round-1-fold-1.npz", folder / "round-2-fold-1.npz"
    begun = _ask(epochs=2, checkpoint=first)
    outcomes = _run(executor, FitTask("begun", begun), FitTask("whole", _ask(epochs=4)))
    _result(outcomes["begun"])
    _require(first.exists(), "a fit's checkpoint is there when its outcome is")
    goes_on = replace(_ask(epochs=4, checkpoint=second), resume_from=first)
    resumed = _result(_run(executor, FitTask("resumed", goes_on))["resumed"])
    _require(
        _bits(resumed) == _bits(_result(outcomes["whole"])),
        "a fit that goes on from a checkpoint ends with the bits of one that never paused",
    )
    _require(second.exists(), "a fit that goes on keeps a checkpoint of its own")
    again = _result(_run(executor, FitTask("finished", goes_on))["finished"])
    _require(_bits(again) == _bits(resumed), "a fit whose own checkpoint is there goes on from it")
    left = sorted(path.name for path in folder.iterdir())
    _require(left == [first.name, second.name], f"nothing else is left beside them; found {left}")


def _check_waiting_for_nothing(executor: Executor) -> None:
    try:
        executor.wait()
    except RuntimeError:
        return
    _require(False, "waiting where no task is queued or running is a RuntimeError")


def _ask(
    seed: int = 1, epochs: float = 2, checkpoint: Path | None = None, **changes: float
) -> FitRequest:
    params = {**default_params(find_family("fnn")), "learning_rate": 0.01, **changes}
    settings = TrainingSettings(batch_size=64, max_epochs=epochs, patience=1000)
    return FitRequest("fnn", params, settings, seed, checkpoint)


def _run(executor: Executor, *tasks: FitTask) -> dict[str, Outcome]:
    for task in tasks:
        executor.submit(task)
    outcomes = [executor.wait() for _ in tasks]
    keys = sorted(outcome.key for outcome in outcomes)
    _require(
        keys == sorted(task.key for task in tasks),
        f"every task gives one outcome under its key; found {keys}",
    )
    return {outcome.key: outcome for outcome in outcomes}


def _result(outcome: Outcome) -> FitResult:
    _require(outcome.result is not None, f"{outcome.key} gives a result; found {outcome}")
    assert outcome.result is not None
    return outcome.result


def _bits(result: FitResult) -> tuple[object, ...]:
    """All of a result but the time that it took."""
    history = tuple(replace(epoch, seconds=0.0) for epoch in result.history)
    return (history, result.best_epoch, *(weight.tobytes() for weight in result.weights))


def _is_near(result: FitResult, here: FitResult) -> bool:
    """Equal but for the order in which threads add."""
    return abs(result.val_loss - here.val_loss) <= 1e-4 * here.val_loss


def _require(holds: bool, contract: str) -> None:
    # Not an assert statement: those are gone under python -O.
    if not holds:
        raise AssertionError(contract)
