"""A promoted trial goes on from its checkpoint as if it had never stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.data import Dataset
from burnish.errors import RunFolderError
from burnish.models import default_params, find_family
from burnish.training import Epoch, FitRequest, FitResult, TrainingSettings, fit
from burnish.training.learning_rate import learning_rates

AUGMENTED_CNN: dict[str, Any] = {
    "num_filters_first_layer": 4,
    "num_filters_sub_layers": 4,
    "dense_layer_size": 16,
    "batch_normalization": True,
    "dropout_rate": 0.3,
    "l2_strength": 0.0001,
    "rotation_range": 0.03,
    "width_shift_range": 0.1,
}
"""Moving statistics, dropout, a penalty, augmentation: all that carries state or chance."""


def ask(
    path: Path,
    name: str,
    epochs: float,
    resume_from: str | None = None,
    params: dict[str, Any] | None = None,
    **changes: Any,
) -> FitRequest:
    model = changes.pop("model", "fnn")
    settings = TrainingSettings(
        **{"batch_size": 64, "max_epochs": epochs, "patience": 100, **changes}
    )
    full = {**default_params(find_family(model)), "learning_rate": 0.003, **(params or {})}
    smaller = None if resume_from is None else path / f"{resume_from}.npz"
    return FitRequest(model, full, settings, 3, path / f"{name}.npz", smaller)


def final_state(path: Path, name: str) -> list[bytes]:
    """Every variable of the model and the optimizer after the last step."""
    with np.load(path / f"{name}.npz", allow_pickle=False) as arrays:
        names = sorted(n for n in arrays.files if n.startswith("variable_"))
        return [arrays[n].tobytes() for n in names]


def without_seconds(result: FitResult) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in result.history]


@pytest.mark.parametrize(
    ("model", "params"),
    [("fnn", {"dropout_rate": 0.3}), ("cnn", AUGMENTED_CNN)],
    ids=["dropout", "augmentation"],
)
def test_a_fit_of_2_epochs_continued_to_5_is_one_of_5(
    model: str, params: dict[str, Any], digits: Dataset, tmp_path: Path
) -> None:
    whole = fit(ask(tmp_path, "whole", 5, params=params, model=model), digits)
    first = fit(ask(tmp_path, "first", 2, params=params, model=model), digits)
    continued = fit(ask(tmp_path, "more", 5, "first", params=params, model=model), digits)
    assert first.epochs == 2
    assert without_seconds(continued) == without_seconds(whole)
    assert final_state(tmp_path, "more") == final_state(tmp_path, "whole")
    for weight, expected in zip(continued.weights, whole.weights, strict=True):
        assert weight.tobytes() == expected.tobytes()
    assert continued.best_epoch == whole.best_epoch
    # Its seconds count those before it too, and its first epochs are those of the first.
    assert continued.seconds > first.seconds
    assert continued.history[:2] == first.history


def test_budgets_of_parts_of_an_epoch_continue_in_its_middle(
    digits: Dataset, tmp_path: Path
) -> None:
    whole = fit(ask(tmp_path, "whole", 1.5), digits)
    first = fit(ask(tmp_path, "first", 0.5), digits)
    continued = fit(ask(tmp_path, "more", 1.5, "first"), digits)
    steps = math.ceil(1078 / 64)
    assert [epoch.epoch * steps for epoch in first.history] == [round(0.5 * steps)]
    assert [epoch.epoch for epoch in whole.history] == [1.0, round(1.5 * steps) / steps]
    # It was looked at once more on the way; the steps are the same.
    assert [e.epoch for e in continued.history] == [
        first.history[0].epoch,
        *(e.epoch for e in whole.history),
    ]
    assert final_state(tmp_path, "more") == final_state(tmp_path, "whole")
    assert continued.history[-1].val_loss == whole.history[-1].val_loss


def test_a_fit_that_had_stopped_early_stays_stopped(digits: Dataset, tmp_path: Path) -> None:
    restless = {"learning_rate": 0.05}
    changes: dict[str, Any] = {"params": restless, "patience": 1}
    whole = fit(ask(tmp_path, "whole", 30, **changes), digits)
    assert whole.stopped_early
    fit(ask(tmp_path, "first", 20, **changes), digits)
    continued = fit(ask(tmp_path, "more", 30, "first", **changes), digits)
    assert continued.epochs == whole.epochs < 20
    assert continued.stopped_early
    assert continued.best_epoch == whole.best_epoch


def test_one_cycle_continued_is_a_fresh_cycle_over_what_is_added(
    digits: Dataset, tmp_path: Path
) -> None:
    one_cycle: dict[str, Any] = {"learning_rate_schedule": "one-cycle"}
    fit(ask(tmp_path, "first", 2, **one_cycle), digits)
    continued = fit(ask(tmp_path, "more", 5, "first", **one_cycle), digits)
    steps = math.ceil(1078 / 64)
    ends = [steps, 2 * steps]
    first = [
        float(learning_rates("one-cycle", 0.003, [(0, 2 * steps, 100)])[end - 1]) for end in ends
    ]
    ends = [steps, 2 * steps, 3 * steps]
    second = [
        float(learning_rates("one-cycle", 0.003, [(0, 3 * steps, 100)])[end - 1]) for end in ends
    ]
    assert [epoch.learning_rate for epoch in continued.history] == first + second
    # Down at the end of the first cycle, up again, down to the end.
    rates = [epoch.learning_rate for epoch in continued.history]
    assert rates[1] < rates[0]
    assert rates[2] > rates[1]
    assert rates[4] < rates[3] < rates[2]


def test_a_continued_fit_that_was_killed_goes_on_from_its_own_checkpoint(
    digits: Dataset, tmp_path: Path
) -> None:
    one_cycle: dict[str, Any] = {"learning_rate_schedule": "one-cycle"}
    fit(ask(tmp_path, "first", 1, **one_cycle), digits)
    whole = fit(ask(tmp_path, "whole", 3, "first", **one_cycle), digits)

    class Killed(BaseException):
        pass

    def kill(progress: Any) -> None:
        if progress.last is not None and progress.last.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(ask(tmp_path, "more", 3, "first", **one_cycle), digits, kill)
    (tmp_path / "first.npz").unlink()  # It is not needed any more.
    continued = fit(ask(tmp_path, "more", 3, "first", **one_cycle), digits)
    assert without_seconds(continued) == without_seconds(whole)
    assert final_state(tmp_path, "more") == final_state(tmp_path, "whole")


def test_only_the_same_fit_with_a_smaller_budget_can_be_gone_on_from(
    digits: Dataset, tmp_path: Path
) -> None:
    first = ask(tmp_path, "first", 1)
    fit(first, digits)
    more = ask(tmp_path, "more", 2, "first")
    others = (
        replace(more, params={**more.params, "dropout_rate": 0.4}),
        replace(more, settings=replace(more.settings, max_epochs=0.5)),
    )
    for other in others:
        with pytest.raises(RunFolderError, match="is not a checkpoint of this fit") as caught:
            fit(other, digits)
        assert str(other.resume_from) in str(caught.value)
    assert fit(more, digits).epochs == 2


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_where_the_smaller_budget_is_lost_the_fit_starts_afresh_to_the_same_bits(
    digits: Dataset, tmp_path: Path, damage: str
) -> None:
    whole = fit(ask(tmp_path, "whole", 2), digits)
    fit(ask(tmp_path, "first", 1), digits)
    first = tmp_path / "first.npz"
    if damage == "missing":
        first.unlink()
    else:
        first.write_bytes(first.read_bytes()[: 0 if damage == "empty" else 1000])
    assert without_seconds(fit(ask(tmp_path, "more", 2, "first"), digits)) == without_seconds(whole)
    assert (tmp_path / "first.npz.damaged").exists() == (damage != "missing")


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_rounds_before_that_are_lost_are_gone_through_again_to_the_same_bits(
    digits: Dataset, tmp_path: Path, schedule: str
) -> None:
    """Budgets that end within an epoch, where the fit is looked at once more than in one go."""
    changes: dict[str, Any] = {"learning_rate_schedule": schedule}
    fit(ask(tmp_path, "first", 0.5, **changes), digits)
    fit(ask(tmp_path, "second", 1.5, "first", **changes), digits)
    whole = fit(ask(tmp_path, "third", 3, "second", **changes), digits)
    request = ask(tmp_path, "again", 3, "lost", **changes)
    again = fit(replace(request, budgets_before=(0.5, 1.5)), digits)
    assert [epoch.epoch for epoch in again.history] == [epoch.epoch for epoch in whole.history]
    assert without_seconds(again) == without_seconds(whole)
    assert final_state(tmp_path, "again") == final_state(tmp_path, "third")


def test_a_cycle_cannot_begin_where_a_lost_smaller_budget_ended(
    digits: Dataset, tmp_path: Path
) -> None:
    """From its start the fit would be another one: the error says what makes the same again."""
    request = ask(tmp_path, "more", 2, "absent", learning_rate_schedule="one-cycle")
    with pytest.raises(RunFolderError, match=r"absent\.npz is missing or damaged") as caught:
        fit(request, digits)
    assert f"Delete the folder {tmp_path}" in str(caught.value)
