"""What a worker does with one task, wherever the worker is."""

from __future__ import annotations

from collections.abc import Callable

from burnish.data import Dataset
from burnish.data.folds import take_fold
from burnish.errors import RunFolderError, describe_exception
from burnish.training import Progress, fit, freeze, imitate
from burnish.training.probe import measure_cost
from burnish.tuning.executor import FitTask, Fold, Outcome

Folds = dict[tuple[str, Fold], Dataset]
"""Folds by the fingerprint of what they were cut from."""


def run_task(
    task: FitTask,
    whole: Dataset,
    folds: Folds,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Fit, or probe, in this process; whatever a fit dies of is a fact about its params.

    Parameters
    ----------
    task
        What to do.
    whole
        The data that folds are cut from.
    folds
        Those that this process has cut before; a new one is added.
    on_progress
        Called while a fit goes on. What it raises for want of a listener (a broken pipe, a
        connection that was reset) comes through.

    Raises
    ------
    RunFolderError
        If a checkpoint cannot be read or written; it says nothing about the params.
    """
    try:
        dataset = (imitate if task.probe else freeze)(task.request, whole)
        if task.fold is not None:
            dataset = _find_fold(dataset, task.fold, folds)
        if task.probe:
            return Outcome(task.key, None, None, measure_cost(task.request, dataset))
        return Outcome(task.key, fit(task.request, dataset, on_progress), None)
    except (BrokenPipeError, ConnectionResetError, RunFolderError):
        raise
    except Exception as error:
        return Outcome(task.key, None, describe_exception(error))


def _find_fold(dataset: Dataset, fold: Fold, folds: Folds) -> Dataset:
    key = dataset.fingerprint, fold
    if key not in folds:
        folds[key] = take_fold(dataset, fold.num_folds, fold.index, fold.seed)
    return folds[key]
