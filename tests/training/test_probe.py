from __future__ import annotations

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.models import default_params, find_family
from burnish.training import FitRequest, TrainingSettings
from burnish.training.probe import measure_cost


def ask(model: str, **params: float) -> FitRequest:
    full = {**default_params(find_family(model)), **params}
    return FitRequest(model, full, TrainingSettings(batch_size=32, max_epochs=5), 1)


def test_a_probe_of_a_network_tells_what_it_takes(digits: Dataset) -> None:
    cost = measure_cost(ask("fnn", num_hidden_layers=1, hidden_layer_size=32), digits)
    assert cost.num_parameters == 64 * 32 + 32 + 32 * 10 + 10
    assert cost.mflops == pytest.approx(2 * (64 * 32 + 32 * 10) / 1e6)
    assert 0 < cost.step_seconds < cost.start_seconds


def test_a_probe_of_dense_layers_on_features_tells_what_they_take() -> None:
    generator = np.random.default_rng(1)
    labels = (np.arange(60) % 2).astype(np.int32)
    train = Split(generator.random((180, 1, 1, 20)).astype(np.float16), np.repeat(labels, 3))
    val = Split(generator.random((60, 1, 1, 20)).astype(np.float16), labels)
    data = Dataset("made", train, val, ("a", "b"), "made", views=3, frozen="made")
    cost = measure_cost(ask("pretrained", hidden_units=8), data)
    assert cost.num_parameters == 20 * 8 + 8 + 8 * 2 + 2
    assert cost.mflops == 0, "what goes before is not counted"
    assert 0 < cost.step_seconds < 0.01
    assert cost.start_seconds > 0
