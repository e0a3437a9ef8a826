from __future__ import annotations

import numpy as np
import pytest

from burnish.augmentation import Augmentation
from burnish.data import Dataset, Split
from burnish.training import FitRequest, TrainingSettings
from burnish.training.draws import EpochDraws, derive_dropout_seed, derive_weights_seed


def make_draws(views: int, num_images: int = 40, seed: int = 1) -> EpochDraws:
    rows = np.zeros((num_images * views, 1, 1, 2), np.float16)
    labels = np.repeat(np.arange(num_images) % 2, views).astype(np.int32)
    train = Split(rows, labels)
    data = Dataset("made", train, train, ("a", "b"), "made", views=views, frozen="made")
    request = FitRequest("fnn", {}, TrainingSettings(batch_size=8), seed)
    return EpochDraws(request, data, Augmentation({}))


@pytest.mark.parametrize("views", [1, 4])
def test_each_image_is_chosen_once_an_epoch(views: int) -> None:
    draws = make_draws(views)
    assert draws.steps_per_epoch == 5
    for epoch in range(5):
        order = draws.order(epoch)
        assert order.shape == (5, 8)
        assert order.dtype == np.int32
        assert sorted(order.ravel() // views) == list(range(40))


def test_views_vary_by_epoch_and_image_and_all_are_chosen() -> None:
    draws = make_draws(4)
    chosen = np.empty((200, 40), int)
    for epoch in range(200):
        order = draws.order(epoch).ravel()
        chosen[epoch, order // 4] = order % 4
    counts = np.stack([(chosen == view).sum(axis=0) for view in range(4)])
    assert counts.min() > 20
    assert counts.max() < 85
    assert np.bincount(chosen.ravel()) / chosen.size == pytest.approx([0.25] * 4, abs=0.02)
    assert len({tuple(epoch) for epoch in chosen}) == 200


def test_views_leave_the_order_of_images_what_it_is() -> None:
    for epoch in range(3):
        many, one = make_draws(4).order(epoch), make_draws(1).order(epoch)
        np.testing.assert_array_equal(many // 4, one)


def test_the_last_batch_is_filled_up_with_the_first_rows_of_the_epoch() -> None:
    order = make_draws(3, num_images=37).order(2).ravel()
    assert sorted(order[:37] // 3) == list(range(37))
    np.testing.assert_array_equal(order[37:], order[:3])


def test_draws_follow_from_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(make_draws(4).order(7), make_draws(4).order(7))
    assert not np.array_equal(make_draws(4).order(7), make_draws(4).order(8))
    assert not np.array_equal(make_draws(4).order(7), make_draws(4, seed=2).order(7))
    assert derive_dropout_seed(1) != derive_weights_seed(1) != derive_weights_seed(2)
    assert derive_dropout_seed(1) != derive_dropout_seed(2)
