"""``max_mflops``: what it counts, what it leaves out, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from burnish.backend import keras
from burnish.data import Dataset, Split
from burnish.errors import StudyError
from burnish.models import count_operations, default_params, find_family, sum_operations
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.stages.network_limit import count_mflops, limit_networks, refuse_small_limit
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.training import FitRequest
from burnish.training.probe import measure_cost

from ..study import read_result

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ALONE = """
[study]
name = "limited"

[data]
source = "digits"
split = { train = 300, val = 150, test = 150 }

[training]
batch_size = 100
max_epochs = 1

[[stage]]
name = "search"
kind = "tune"
model = "cnn"
params = { num_conv_layers = 1, subsample_type = "2x2pool", dense_layer_size = 16 }
sampler = "random"
trials = 10
max_mflops = 0.05
schedule = { name = "full", max_epochs = 0.5 }
refit = { max_epochs = 1 }
[stage.space]
num_filters_sub_layers = [4, 8]
num_filters_first_layer = [4, 8, 16, 32]
dropout_rate = [0.1, 0.3]

[[stage]]
name = "final"
kind = "final"
"""

FINAL = '[[stage]]\nname = "final"'

STUDY = ALONE.replace(
    FINAL,
    """[[stage]]
name = "after"
kind = "tune"
base = "search"
trials = 2
[stage.space]
dropout_rate = [0.1, 0.2]

"""
    + FINAL,
)


def parse(*overrides: str) -> tuple[Study, TuneStage]:
    study, _ = parse_study(STUDY, "the test's study", overrides)
    stage = study.stage("search")
    assert isinstance(stage, TuneStage)
    return study, stage


def test_operations_are_two_for_each_weight_at_each_position() -> None:
    family = find_family("cnn")
    params = {
        **default_params(family),
        "num_conv_layers": 2,
        "num_filters_first_layer": 4,
        "num_filters_sub_layers": 6,
        "kernel_size": 3,
        "dense_layer_size": 5,
    }
    first, second = 28 * 28 * 9 * 1 * 4, 14 * 14 * 9 * 4 * 6
    dense = 7 * 7 * 6 * 5 + 5 * 10
    assert count_operations(family, params, (28, 28, 1), 10) == 2 * (first + second + dense)


def test_operations_of_other_kernels_and_of_models_in_models_are_counted() -> None:
    inner = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.DepthwiseConv2D(3)])
    model = keras.Sequential(
        [keras.Input((6, 6, 3)), inner, keras.layers.SeparableConv2D(7, 2), keras.layers.Flatten()]
    )
    depthwise = 4 * 4 * 3 * 3 * 3
    separable = 3 * 3 * (2 * 2 * 3 + 3 * 7)
    assert sum_operations(model) == 2 * (depthwise + separable)


def test_what_cannot_be_counted_says_so() -> None:
    any_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    model = keras.Sequential(
        [keras.Input((6, 6, 3)), any_size, keras.layers.GlobalAveragePooling2D()], name="whole"
    )
    with pytest.raises(StudyError, match=r"operations of '.*' cannot be counted: of its layer"):
        sum_operations(model)


def enlarge(split: Split) -> Split:
    """The first 200 images, four times as high and wide."""
    return Split(split.images[:200].repeat(4, axis=1).repeat(4, axis=2), split.labels[:200])


def test_networks_that_take_images_of_any_size_are_probed_and_not_limited(
    digits: Dataset,
) -> None:
    text = STUDY.replace('"cnn"', '"pretrained"')
    text = text.replace(
        text[text.index("params = {") : text.index("\nsampler")],
        'params = { backbone = "mobilenet-v3-small", weights = "none" }',
    )
    text = text[: text.index("[stage.space]")] + "[stage.space]\nnum_trainable_blocks = [0, 1]\n"
    study, _ = parse_study(text, "pretrained")
    stage = study.stage("search")
    assert isinstance(stage, TuneStage)
    large = replace(
        digits,
        train=enlarge(digits.train),
        val=enlarge(digits.val),
        input=replace(digits.input, height=32, width=32),
    )
    with pytest.raises(StudyError, match=r"max_mflops = 0\.05: .* cannot be counted"):
        refuse_small_limit(study, stage, study.initial_params(stage, {}), large)
    request = FitRequest("pretrained", study.initial_params(stage, {}), study.settings(stage), 0)
    assert measure_cost(request, large).mflops == 0


def test_a_search_leaves_out_what_takes_more(digits: Dataset, tmp_path: Path) -> None:
    study, stage = parse()
    params = study.initial_params(stage, {})
    mflops = {
        size: count_mflops(study.family(stage), {**params, "num_filters_first_layer": size}, digits)
        for size in (4, 8, 16, 32)
    }
    allows = limit_networks(study, stage, params, digits)
    admitted = {size for size in mflops if allows({"num_filters_first_layer": size})}
    assert admitted == {size for size, count in mflops.items() if count <= 0.05} == {4, 8, 16}

    study, text = parse_study(ALONE, "the test's study")
    run = RunFolder(tmp_path / "run")
    run_study(study, text, run, workers=1)
    result = read_result(run, "search")
    assert result["max_mflops"] == 0.05
    trials = result["trials"]
    assert len(trials) == 10
    assert {trial["params"]["num_filters_first_layer"] for trial in trials} == admitted


def test_where_all_that_is_admitted_was_tried_the_search_ends(
    digits: Dataset, tmp_path: Path
) -> None:
    study, text = parse_study(ALONE, "s", ["search.max_mflops=0.01", "search.sampler='grid'"])
    run = RunFolder(tmp_path / "run")
    run_study(study, text, run, workers=1)
    trials = read_result(run, "search")["trials"]
    # 4 filters alone, with 2 x 2 other values.
    assert len(trials) == 4
    assert {trial["params"]["num_filters_first_layer"] for trial in trials} == {4}


def test_a_limit_that_leaves_nothing_is_refused_before_anything_is_fitted(
    digits: Dataset, tmp_path: Path
) -> None:
    study, text = parse_study(STUDY, "s", ["search.max_mflops=0.001"])
    with pytest.raises(
        StudyError,
        match=r"stage 'search': max_mflops = 0.001 leaves no network .* takes 0\.0\d+ million",
    ):
        run_study(study, text, RunFolder(tmp_path / "run"), workers=1)
    assert not (tmp_path / "run" / "stages").exists()


def test_what_does_not_fit_the_images_is_the_reason_that_is_given(digits: Dataset) -> None:
    study, stage = parse("search.space.num_conv_layers=[7, 8]", "search.params={}")
    with pytest.raises(StudyError, match=r"max_mflops = 0\.05: num_conv_layers = 8 does not fit"):
        refuse_small_limit(study, stage, study.initial_params(stage, {}), digits)


def test_the_smallest_of_a_large_space_is_looked_for_among_its_extremes(digits: Dataset) -> None:
    sizes = "{low=1, high=1000}"
    study, stage = parse(f"search.space.num_filters_first_layer={sizes}", "search.max_mflops=0.01")
    params = study.initial_params(stage, {})
    refuse_small_limit(study, stage, params, digits)
    study, stage = parse(f"search.space.num_filters_first_layer={sizes}", "search.max_mflops=1e-3")
    with pytest.raises(StudyError, match="leaves no network"):
        refuse_small_limit(study, stage, params, digits)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.max_mflops=0", r"max_mflops = 0: expected a number greater than 0"),
        ("search.max_mflops='1'", r"max_mflops = '1': expected a number"),
        ("after.max_mflops=1", r"nothing in its space changes the network"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(override: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parse(override)


def test_what_a_search_before_it_decides_is_not_refused_by_a_guess() -> None:
    study, stage = parse()
    after = study.stage("after")
    assert isinstance(after, TuneStage)
    assert study.knows_structure(stage)
    assert not study.knows_structure(after)
    assert study.searches_structure(stage)
    assert not study.searches_structure(after)
