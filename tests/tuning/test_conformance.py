from __future__ import annotations

from pathlib import Path

import pytest

from burnish.data import Dataset
from burnish.tuning.conformance import check_executor
from burnish.tuning.executor import Executor, FitTask, LocalExecutor, Outcome


def test_worker_processes_keep_the_contract(digits: Dataset, tmp_path: Path) -> None:
    def make(dataset: Dataset) -> Executor:
        return LocalExecutor(dataset, num_workers=1, threads=1, scratch=tmp_path / "scratch")

    executor = check_executor(make, digits, tmp_path / "checkpoints")
    assert isinstance(executor, LocalExecutor)
    assert executor.worker_pids() == []


class Forgetful:
    """Gives every outcome a second time."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.closed = 0

    def submit(self, task: FitTask) -> None:
        self.keys.append(task.key)

    def wait(self) -> Outcome:
        return Outcome(self.keys[0], None, "it was forgotten")

    def close(self) -> None:
        self.closed += 1


def test_an_executor_that_doubles_an_outcome_is_found_out(digits: Dataset, tmp_path: Path) -> None:
    forgetful = Forgetful()
    with pytest.raises(AssertionError, match="every task gives one outcome under its key"):
        check_executor(lambda dataset: forgetful, digits, tmp_path)
    assert forgetful.closed == 1
