"""Stages that start from the weights of an earlier one: what is refused, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from burnish.data import Dataset, Split
from burnish.errors import StudyError
from burnish.stages.fit_requests import (
    SeedStream,
    fingerprint_stage,
    fingerprint_trials,
    make_request,
)
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study

STUDY = """
[study]
name = "photographs"

[data]
path = "photographs"
split = { val = 0.2, test = 0.2 }

[[stage]]
name = "small"
kind = "train"
model = "fnn"

[[stage]]
name = "head"
kind = "train"
model = "pretrained"
params = { hidden_units = 8, learning_rate = 0.003 }

[[stage]]
name = "blocks"
kind = "train"
base = "head"
start_from = "head"
params = { num_trainable_blocks = 2, learning_rate = 0.001 }

[[stage]]
name = "search"
kind = "tune"
base = "head"
start_from = "blocks"
params = { num_trainable_blocks = 4 }
space = { learning_rate = { low = 1e-4, high = 1e-3, log = true } }
trials = 2

[[stage]]
name = "final"
kind = "final"
"""
HEAD = 'base = "head"\nstart_from = "head"'


def parse(text: str = STUDY, *overrides: str) -> Study:
    return parse_study(text, "the test's study", overrides)[0]


def test_a_stage_names_the_one_that_it_starts_from() -> None:
    study = parse()
    assert [getattr(stage, "start_from", None) for stage in study.stages] == [
        None, None, "head", "blocks", None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            STUDY.replace('start_from = "head"', 'start_from = "haed"'),
            [],
            "stage 'blocks', start_from: unknown stage before it 'haed'; did you mean 'head'",
        ),
        (
            STUDY.replace('start_from = "head"', 'start_from = "search"'),
            [],
            "stage 'blocks', start_from: unknown stage before it 'search'",
        ),
        (
            STUDY.replace('start_from = "head"', 'start_from = "blocks"'),
            [],
            "stage 'blocks', start_from: unknown stage before it 'blocks'",
        ),
        (
            STUDY.replace('start_from = "head"', 'start_from = "small"'),
            [],
            "stage 'blocks', start_from: 'small' is no 'pretrained', whose weights it could be",
        ),
        (
            STUDY,
            ["blocks.params.hidden_units=16"],
            "stage 'blocks', start_from: the model of 'head' has hidden_units = 8, not 16",
        ),
        (
            STUDY,
            ["search.params.num_trainable_blocks=1"],
            "stage 'search', start_from: the model of 'blocks' has trained its last 2 blocks, of "
            "which only 1 would stay open; set num_trainable_blocks = 2, or more",
        ),
        (
            STUDY.replace("params = { num_trainable_blocks = 4 }\n", ""),
            ["search.space={ num_trainable_blocks = { low = 1, high = 4 } }"],
            "the model of 'blocks' has trained its last 2 blocks, of which only 1 would stay open",
        ),
        (
            STUDY,
            ["search.space={ hidden_units = [8, 16] }"],
            "the model of 'blocks' has hidden_units = 8, not 16",
        ),
    ],
)
def test_a_start_that_cannot_be_is_refused_with_the_study(
    text: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        parse(text, *overrides)
    assert message in str(caught.value)


def test_a_search_may_be_of_all_networks_that_can_start() -> None:
    text = STUDY.replace("params = { num_trainable_blocks = 4 }\n", "")
    study = parse(text, "search.space={ num_trainable_blocks = { low = 2, high = 4 } }")
    stage = study.stage("search")
    assert isinstance(stage, TuneStage)
    # The base's own number of blocks, 0, is none of the space, and stands in nobody's way.
    request = make_request(
        study, stage, make_results(study), study.settings(stage), SeedStream.OWN_FIT, None
    )
    assert request.start is not None
    assert request.start.fingerprint == "blocks 1"


def test_a_family_without_a_say_starts_from_the_same_network_alone() -> None:
    text = STUDY.replace(
        '[[stage]]\nname = "head"',
        '[[stage]]\nname = "again"\nkind = "train"\nbase = "small"\nstart_from = "small"\n'
        'params = { dropout_rate = 0.5, hidden_layer_size = 64 }\n\n[[stage]]\nname = "head"',
    )
    parse(text.replace(", hidden_layer_size = 64", ""))
    with pytest.raises(StudyError, match=r"stage 'again', start_from: the model of 'small' is of"):
        parse(text.replace("64", "32"))


def make_results(study: Study, **fingerprints: str) -> dict[str, dict[str, Any]]:
    """Make up what stages gave: their planned params."""
    results = {}
    for name in ("small", "head", "blocks"):
        stage = study.stage(name)
        assert stage.kind == "train"
        params = study.planned_params(stage)
        results[name] = {"params": params, "fingerprint": fingerprints.get(name, f"{name} 1")}
    return results


def test_what_a_search_found_is_asked_when_its_result_is_there() -> None:
    study = parse()
    stage = study.stage("search")
    assert isinstance(stage, TuneStage)
    results = make_results(study)
    results["blocks"]["params"]["hidden_units"] = 9
    with pytest.raises(StudyError, match=r"'search', start_from: the model of 'blocks' has hidden"):
        make_request(study, stage, results, study.settings(stage), SeedStream.OWN_FIT, None)


@pytest.fixture
def data() -> Dataset:
    split = Split(np.zeros((4, 64, 64, 3), np.uint8), np.array([0, 1, 0, 1], np.int32))
    return Dataset("black", split, split, ("a", "b"), "black")


def test_the_start_is_part_of_the_fingerprints(data: Dataset) -> None:
    study = parse()
    stages = [study.stage("blocks"), study.stage("search")]

    def take(study: Study, results: dict[str, dict[str, Any]]) -> list[str]:
        found = [fingerprint_stage(study, study.stage(s.name), results, data, 1) for s in stages]
        search = study.stage("search")
        assert isinstance(search, TuneStage)
        return [*found, fingerprint_trials(study, search, results, data)]

    results = make_results(study)
    given = take(study, results)
    assert take(study, results) == given
    refitted = take(study, make_results(study, blocks="blocks 2"))
    assert refitted[0] == given[0]
    assert refitted[1] != given[1]
    assert refitted[2] != given[2]
    without = parse(
        STUDY.replace('start_from = "blocks"\n', "").replace('start_from = "head"\n', "")
    )
    assert not set(take(without, results)) & set(given)
