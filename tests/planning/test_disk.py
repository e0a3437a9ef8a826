from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

import pytest

from burnish.backend import keras, release_models
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.models import build_model, count_weights, default_params, find_family
from burnish.planning.disk import find_largest, forecast_disk
from burnish.space import Value
from burnish.study.parse import parse_study
from burnish.study.text import shipped_studies
from burnish.tuning.watchdog import measure_memory

STUDY = """
[study]
name = "sizes"
[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }
[training]
max_epochs = 2
[[stage]]
name = "fnn"
kind = "tune"
model = "fnn"
trials = 4
[stage.space]
num_hidden_layers = [1, 2, 3]
hidden_layer_size = { low = 16, high = 64, step = 16 }
dropout_rate = { low = 0.1, high = 0.5, step = 0.1 }
activation = ["relu", "tanh"]
[[stage]]
name = "on"
kind = "train"
base = "fnn"
[[stage]]
name = "cnn"
kind = "tune"
model = "cnn"
trials = 4
[stage.space]
num_conv_layers = [1, 2]
num_filters_first_layer = [4, 8]
num_filters_sub_layers = [4, 16]
kernel_size = [3, 5]
dense_layer_size = [16, 32]
[[stage]]
name = "final"
kind = "final"
"""


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("fnn", {"hidden_layer_size": 32, "dropout_rate": 0.5}),
        ("cnn", {"batch_normalization": True}),
        ("cnn", {"num_conv_layers": 2, "kernel_size": 5}),
    ],
)
def test_weights_are_counted_as_the_model_has_them(model: str, params: Mapping[str, Value]) -> None:
    family = find_family(model)
    full = {**default_params(family), **params}
    built = build_model(family, full, (28, 28, 1), 10, training=False)
    assert count_weights(family, full, (28, 28, 1), 10) == built.count_params()
    release_models()


def test_the_largest_network_is_counted_in_no_memory_and_leaves_nothing() -> None:
    family = find_family("fnn")
    full = {**default_params(family), "num_hidden_layers": 16, "hidden_layer_size": 8192}
    before = measure_memory(os.getpid()) or 0
    assert count_weights(family, full, (28, 28, 1), 10) > 1_000_000_000  # Four gigabytes.
    assert (measure_memory(os.getpid()) or 0) - before < 100_000_000
    # What Keras makes next is not given theirs.
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    assert dense.count_params() == 8


def test_what_does_not_fit_the_images_has_no_weights_to_count() -> None:
    family = find_family("cnn")
    full = {**default_params(family), "num_conv_layers": 6}
    with pytest.raises(StudyError):
        count_weights(family, full, (8, 8, 1), 10)


def test_the_largest_network_of_a_stage_is_found() -> None:
    study, _ = parse_study(STUDY, "the test's study")
    found = find_largest(study, (8, 8, 1), 10)
    for stage in study.stages:
        if stage.kind != "tune":
            continue
        space, counts = stage.search_space(), []
        start = study.initial_params(stage, {})
        shaping = [n for n in space.ranges if n not in ("dropout_rate", "activation")]
        for point in itertools.product(*(space.ranges[n].values() for n in shaping)):
            params = {**start, **dict(zip(shaping, point, strict=True))}
            try:
                counts.append(count_weights(study.family(stage), params, (8, 8, 1), 10))
            except StudyError:
                continue
        assert found[stage.name] == max(counts)
    assert found["on"] == found["fnn"]  # It may inherit the largest.


def test_more_of_anything_takes_more_disk(digits: Dataset) -> None:
    def peak(*changes: str, workers: int = 1) -> int:
        study, _ = parse_study(STUDY, "the test's study", changes)
        return forecast_disk(study, digits, 359, workers).peak

    least = peak()
    assert least < peak("on.seeds=3")
    assert least < peak("fnn.trials=9")
    assert least < peak("cnn.training.max_epochs=500")
    assert least < peak("on.params.hidden_layer_size=4096")
    assert least < peak(workers=8)


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_study_that_ships_needs_little_disk(name: str, digits: Dataset) -> None:
    study, _ = parse_study(shipped_studies()[name], name)
    assert 1_000_000 < forecast_disk(study, digits, 359, 2).peak < 500_000_000
