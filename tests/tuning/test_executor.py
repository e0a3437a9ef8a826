from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.data import Dataset
from burnish.data.folds import take_fold
from burnish.models import default_params, find_family
from burnish.training import Epoch, FitRequest, FitResult, Progress, TrainingSettings, fit
from burnish.tuning.executor import ATTEMPTS, FitTask, Fold, LocalExecutor, Outcome

LONG, ENDLESS = 100.0, 1e5
"""Epochs of fits that are to be met while they run: a second or two, and hours."""


def ask(seed: int = 1, checkpoint: Path | None = None, **changes: Any) -> FitRequest:
    params = {**default_params(find_family("fnn")), "learning_rate": 0.01}
    settings = {"batch_size": 64, "max_epochs": 2.0, "patience": 1_000_000}
    for name, value in changes.items():
        (settings if name in settings else params)[name] = value
    return FitRequest("fnn", params, TrainingSettings(**settings), seed, checkpoint)  # type: ignore[arg-type]


DIVERGES = ask(num_hidden_layers=16, dropout_rate=0.0, learning_rate=10.0)
"""Each step moves each weight by 10; 17 layers deep the logits overflow."""


def without_seconds(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in history]


def assert_same(result: FitResult | None, expected: FitResult | None) -> None:
    """Equal to the bit in all but the time it took."""
    assert result is not None
    assert expected is not None
    assert without_seconds(result.history) == without_seconds(expected.history)
    for weight, wanted in zip(result.weights, expected.weights, strict=True):
        assert weight.tobytes() == wanted.tobytes()
    assert replace(result, history=(), weights=(), seconds=0) == replace(
        expected, history=(), weights=(), seconds=0
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Bench:
    """An executor, and what a test does to its workers while they work."""

    def __init__(self, dataset: Dataset, scratch: Path) -> None:
        self.kills: dict[str, int] = {}
        self.killed: list[tuple[str, int]] = []
        self.progress: dict[str, list[Progress]] = {}
        self.executor = LocalExecutor(
            dataset,
            num_workers=1,
            threads=os.cpu_count() or 1,
            scratch=scratch,
            on_progress=self.watch,
        )

    def watch(self, key: str, progress: Progress) -> None:
        """Kill the worker in the middle of a fit, as often as is asked for its key."""
        self.progress.setdefault(key, []).append(progress)
        if self.kills.get(key, 0) and progress.last is not None:
            self.kills[key] -= 1
            (pid,) = self.executor.worker_pids()
            self.killed.append((key, pid))
            os.kill(pid, signal.SIGKILL)

    def run(self, *tasks: FitTask) -> list[Outcome]:
        for task in tasks:
            self.executor.submit(task)
        outcomes = {outcome.key: outcome for outcome in (self.executor.wait() for _ in tasks)}
        return [outcomes[task.key] for task in tasks]


@pytest.fixture(scope="module")
def bench(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One worker for the whole module; a test that kills it leaves the next one to its heir."""
    bench = Bench(digits, tmp_path_factory.mktemp("scratch"))
    yield bench
    bench.executor.close()


@pytest.fixture(scope="module")
def plain(bench: Bench) -> FitResult:
    """A fit of two epochs in a worker; only Ctrl-C has been pressed while it started."""
    bench.executor.submit(FitTask("plain", ask()))
    pids = bench.executor.worker_pids()
    os.kill(pids[0], signal.SIGINT)
    outcome = bench.executor.wait()
    assert outcome.failure is None
    assert outcome.result is not None
    assert bench.executor.worker_pids() == pids  # It heeded nothing.
    return outcome.result


def test_a_worker_gives_what_a_fit_in_this_process_gives(plain: FitResult, digits: Dataset) -> None:
    here = fit(ask(), digits)
    assert plain.epochs == 2
    assert plain.val_loss == pytest.approx(here.val_loss, rel=1e-5)
    assert plain.num_parameters == here.num_parameters
    assert [epoch.epoch for epoch in plain.history] == [epoch.epoch for epoch in here.history]


def test_a_warm_worker_gives_the_same_bits_again(bench: Bench, plain: FitResult) -> None:
    pids = bench.executor.worker_pids()
    other, again = bench.run(FitTask("other", ask(seed=2)), FitTask("again", ask()))
    assert_same(again.result, plain)
    assert other.result is not None
    assert other.result.val_loss != plain.val_loss
    assert bench.executor.worker_pids() == pids


def test_progress_comes_through_with_the_key(bench: Bench, plain: FitResult) -> None:
    told = bench.progress["plain"]
    assert told[0].step == 0
    assert told[-1].step == told[-1].num_steps == 2 * told[-1].steps_per_epoch
    assert [p.last.epoch for p in told if p.last is not None][-1] == 2
    assert told[-1].last is not None
    assert told[-1].last.val_loss == plain.history[-1].val_loss


def test_a_fit_that_fails_gives_its_reason_and_the_worker_lives_on(
    bench: Bench, plain: FitResult
) -> None:
    pids = bench.executor.worker_pids()
    failed, after = bench.run(FitTask("failing", DIVERGES), FitTask("after", ask()))
    assert failed.result is None
    assert failed.failure is not None
    assert failed.failure.startswith("TrainingError: the loss is ")
    assert "learning_rate = 10.0" in failed.failure
    assert_same(after.result, plain)
    assert bench.executor.worker_pids() == pids


def test_ctrl_c_is_the_drivers_business(bench: Bench, plain: FitResult) -> None:
    pids = bench.executor.worker_pids()
    bench.executor.submit(FitTask("interrupted", ask()))
    for _ in range(3):
        os.kill(pids[0], signal.SIGINT)
    assert_same(bench.executor.wait().result, plain)
    assert bench.executor.worker_pids() == pids
    # Here it is as it was before workers were started.
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_fold_is_fitted_on_its_share_of_the_train_split(bench: Bench, digits: Dataset) -> None:
    folds = [Fold(3, index, seed=5) for index in range(2)]
    outcomes = bench.run(*(FitTask(f"fold-{f.index}", ask(), f) for f in folds))
    losses = []
    for fold, outcome in zip(folds, outcomes, strict=True):
        here = fit(ask(), take_fold(digits, 3, fold.index, seed=5))
        assert outcome.result is not None
        assert outcome.result.val_loss == pytest.approx(here.val_loss, rel=1e-5)
        losses.append(outcome.result.val_loss)
    assert losses[0] != losses[1]


def test_idle_workers_give_their_memory_back_and_start_again_when_needed(bench: Bench) -> None:
    assert bench.executor.worker_pids()
    bench.executor.release()
    assert bench.executor.worker_pids() == []
    (outcome,) = bench.run(FitTask("afterwards", ask()))
    assert outcome.result is not None


def test_a_fold_that_cannot_be_cut_is_a_failure_with_its_reason(bench: Bench) -> None:
    (outcome,) = bench.run(FitTask("too-many", ask(), Fold(500, 0, seed=5)))
    assert outcome.failure is not None
    assert "too few for 500 folds" in outcome.failure


def test_a_probe_gives_what_a_fit_costs_and_no_result(bench: Bench) -> None:
    augmented = ask(rotation_range=0.05, hidden_layer_size=256)
    small, large = bench.run(
        FitTask("small", ask(), probe=True), FitTask("large", augmented, probe=True)
    )
    for outcome in (small, large):
        assert outcome.result is None
        assert outcome.failure is None
        assert outcome.cost is not None
        assert 0 < outcome.cost.start_seconds < 60
        assert 0 < outcome.cost.step_seconds < 1
        assert 0 < outcome.cost.validation_seconds < 5
        epochs = [outcome.cost.estimate_seconds(n, 17) for n in (0.5, 1, 2, 10)]
        assert epochs == sorted(epochs)
    assert small.cost is not None
    assert large.cost is not None
    assert small.cost.num_parameters == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert large.cost.num_parameters > small.cost.num_parameters


# Killed workers


def test_a_killed_workers_fit_is_done_again_with_the_same_result(bench: Bench) -> None:
    (unkilled,) = bench.run(FitTask("unkilled", ask(max_epochs=LONG)))
    bench.kills["killed"] = 1
    (outcome,) = bench.run(FitTask("killed", ask(max_epochs=LONG)))
    ((_, pid),) = bench.killed
    assert not is_alive(pid)
    assert bench.executor.worker_pids() != [pid]
    assert outcome.failure is None
    # From its beginning, in a fresh process, to the same bits.
    assert [p.step for p in bench.progress["killed"]].count(0) == 2
    assert_same(outcome.result, unkilled.result)


def test_a_fit_that_kills_its_workers_fails_with_the_signal_and_the_next_one_runs(
    bench: Bench, plain: FitResult, tmp_path: Path
) -> None:
    bench.killed.clear()
    bench.kills["deadly"] = ATTEMPTS
    checkpoint = tmp_path / "checkpoint.npz"
    deadly = FitTask("deadly", ask(max_epochs=ENDLESS, checkpoint=checkpoint))
    failed, after = bench.run(deadly, FitTask("next", ask()))
    assert len({pid for _, pid in bench.killed}) == ATTEMPTS == 2
    assert failed.result is None
    assert failed.failure is not None
    assert "signal 9" in failed.failure
    assert "2 times" in failed.failure
    assert_same(after.result, plain)
    # The second attempt went on from the checkpoint that the first had left.
    steps = [progress.step for progress in bench.progress["deadly"]]
    assert steps[0] == 0
    assert steps.count(0) == 1


def test_an_idle_worker_that_dies_is_replaced_and_workers_are_after_some_fits(
    bench: Bench, plain: FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pid,) = bench.executor.worker_pids()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(pid):  # Who reaps it depends on the system.
        assert time.monotonic() < deadline
        time.sleep(0.01)
    monkeypatch.setattr("burnish.tuning.executor.FITS_PER_WORKER", 2)
    pids = []
    for number in range(3):
        (outcome,) = bench.run(FitTask(f"turn-{number}", ask()))
        assert_same(outcome.result, plain)
        pids += bench.executor.worker_pids()
    assert pid not in pids
    assert pids[0] == pids[1] != pids[2]
    assert not is_alive(pids[0])


def test_waiting_for_nothing_is_an_error(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="nothing to wait for"):
        bench.executor.wait()


def test_close_stops_a_running_fit_at_once_and_leaves_no_process(
    bench: Bench, plain: FitResult
) -> None:
    (pid,) = bench.executor.worker_pids()
    bench.progress.clear()
    for key in ("running", "queued"):
        bench.executor.submit(FitTask(key, ask(max_epochs=ENDLESS)))
    started = time.monotonic()
    bench.executor.close()
    assert time.monotonic() - started < 5
    assert not is_alive(pid)
    assert bench.executor.worker_pids() == []
    bench.executor.close()  # Twice does no harm.
