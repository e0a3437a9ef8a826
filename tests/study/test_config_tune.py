from __future__ import annotations

import pytest

from burnish.errors import StudyError
from burnish.models import default_params, find_family
from burnish.space import Choice, Float, Int, SearchSpace
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.study.text import shipped_studies
from burnish.training import TrainingSettings
from burnish.tuning.schedules import Bracket, Rung, plan_full, plan_hyperband
from burnish.tuning.schedules.schedule import NUM_TRIALS

STUDY = """
[study]
name = "example"

[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }

[training]
batch_size = 64
max_epochs = 20

[[stage]]
name = "first"
kind = "train"
model = "fnn"
params = { dropout_rate = 0.25 }

[[stage]]
name = "tuned"
kind = "tune"
base = "first"
sampler = "random"
[stage.space]
num_hidden_layers = [1, 2, 3]
learning_rate = { low = 0.0001, high = 0.01, log = true }

[[stage]]
name = "last"
kind = "final"
"""


def parse(*overrides: str, text: str = STUDY) -> Study:
    return parse_study(text, "example.toml", overrides)[0]


def tuned(study: Study) -> TuneStage:
    stage = study.stage("tuned")
    assert isinstance(stage, TuneStage)
    return stage


def message_of(*overrides: str, text: str = STUDY) -> str:
    """The message with which a study is refused: one line, that says where."""
    with pytest.raises(StudyError) as caught:
        parse(*overrides, text=text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("example.toml: stage 'tuned'")
    return message


def brackets(*overrides: str) -> tuple[Bracket, ...]:
    study = parse(*overrides)
    return study.brackets(tuned(study))


# What is right


def test_a_small_tuning_stage_gets_the_documented_defaults() -> None:
    study = parse("tuned.sampler='tpe'", "tuned.base='first'")
    stage = tuned(study)
    assert study.family(stage).name == "fnn"
    assert study.settings(stage) == TrainingSettings(batch_size=64, max_epochs=20)
    assert study.refit_settings(stage) == study.settings(stage)
    assert study.brackets(stage) == plan_full(NUM_TRIALS, 20)
    assert study.promotion(stage) == "continue"
    assert stage.folds is None
    without = STUDY.replace('sampler = "random"\n', "")
    assert tuned(parse(text=without)).sampler == "tpe"


def test_ranges_are_lists_of_options_and_tables() -> None:
    stage = tuned(
        parse(
            "tuned.space.hidden_layer_size={ low = 16, high = 64, step = 16 }",
            "tuned.space.activation=['relu', 'tanh']",
            "tuned.space.dropout_rate={ low = 0, high = 0.5, step = 0.05 }",
            "tuned.space.l2_strength={ low = 0.0, high = 0.01 }",
        )
    )
    assert stage.search_space() == SearchSpace(
        {
            "num_hidden_layers": Choice((1, 2, 3)),
            "learning_rate": Float(0.0001, 0.01, log=True),
            "hidden_layer_size": Int(16, 64, step=16),
            "activation": Choice(("relu", "tanh")),
            "dropout_rate": Float(0.0, 0.5, step=0.05),
            "l2_strength": Float(0.0, 0.01),
        }
    )
    whole = tuned(parse("tuned.space.hidden_layer_size={ low = 16, high = 512, log = true }"))
    assert whole.search_space().ranges["hidden_layer_size"] == Int(16, 512, log=True)


def test_a_space_has_the_order_of_the_text_that_is_kept() -> None:
    # Samplers draw one value after the other: another order would be another search.
    space = "learning_rate = { low = 0.0001, high = 0.01, log = true }\n"
    text = STUDY.replace(space, "").replace("num_hidden_layers = [1, 2, 3]\n", space)
    text = text.replace(space, space + "num_hidden_layers = [1, 2, 3]\n")
    given = parse_study(text, "given")[0].stage("tuned")
    study, kept = parse_study(text, "given", ["first.params.dropout_rate=0.5"])
    again, _ = parse_study(kept, "kept")
    orders = []
    for stage in (given, study.stage("tuned"), again.stage("tuned")):
        assert isinstance(stage, TuneStage)
        orders.append(list(stage.search_space().ranges))
    assert orders[0] == ["learning_rate", "num_hidden_layers"]
    assert orders[1] == orders[2]


def test_a_refit_has_settings_of_its_own() -> None:
    study = parse(
        "tuned.training.patience=3",
        "tuned.training.max_epochs=10",
        "tuned.refit={ patience = 10, max_epochs = 40 }",
    )
    assert study.settings(tuned(study)) == TrainingSettings(64, 10, 3)
    assert study.refit_settings(tuned(study)) == TrainingSettings(64, 40, 10)


def test_schedules_take_their_epochs_from_the_stages_training_or_their_own() -> None:
    assert brackets("tuned.training.max_epochs=7", "tuned.trials=4") == plan_full(4, 7)
    assert brackets("tuned.schedule={ max_epochs = 0.5 }") == plan_full(30, 0.5)
    hyperband = "tuned.schedule={ name = 'hyperband', max_epochs = 9 }"
    assert brackets(hyperband) == plan_hyperband(9, 3)
    assert brackets(hyperband, "tuned.schedule.factor=2") == plan_hyperband(9, 2)
    halving = "tuned.schedule={ name = 'successive-halving', min_epochs = 0.25, factor = 4 }"
    assert brackets(halving, "tuned.training.max_epochs=4", "tuned.trials=30") == (
        Bracket((Rung(30, 0.25), Rung(8, 1.0), Rung(2, 4))),
    )


def test_a_grid_has_as_many_trials_as_combinations_or_fewer() -> None:
    grid = ["tuned.sampler='grid'", "tuned.space.learning_rate=[0.001, 0.01]"]
    assert brackets(*grid) == plan_full(6, 20)
    assert brackets(*grid, "tuned.trials=4") == plan_full(4, 20)
    assert brackets(*grid, "tuned.trials=400") == plan_full(6, 20)


def test_one_cycle_trials_restart_unless_told_to_continue() -> None:
    def promotion(*overrides: str) -> str:
        study = parse(*overrides)
        return study.promotion(tuned(study))

    one_cycle = "tuned.training.learning_rate_schedule='one-cycle'"
    assert promotion(one_cycle) == "restart"
    assert promotion(one_cycle, "tuned.schedule.promotion='continue'") == "continue"
    assert promotion("tuned.schedule.promotion='restart'") == "restart"


def test_planned_params_stand_in_the_middle_of_what_is_searched() -> None:
    study = parse("tuned.space.l2_strength={ low = 0.0, high = 0.01 }")
    planned = study.planned_params(tuned(study))
    assert planned == {
        **default_params(find_family("fnn")),
        "dropout_rate": 0.25,
        "num_hidden_layers": 2,
        "learning_rate": pytest.approx(0.001),
        "l2_strength": 0.005,
    }


def test_a_tuning_stage_can_be_a_base() -> None:
    text = STUDY.replace(
        '[[stage]]\nname = "last"',
        '[[stage]]\nname = "next"\nkind = "train"\nbase = "tuned"\n\n[[stage]]\nname = "last"',
    )
    study = parse(text=text)
    following = study.stage("next")
    assert not isinstance(following, TuneStage)
    assert following.kind == "train"
    best = {"tuned": {"num_hidden_layers": 3, "learning_rate": 0.002}}
    assert study.initial_params(following, best)["num_hidden_layers"] == 3


def test_every_tuning_stage_that_ships_has_its_base_in_its_space_or_says_why() -> None:
    for name, text in shipped_studies().items():
        study, _ = parse_study(text, name)
        for stage in study.stages:
            if isinstance(stage, TuneStage):
                assert study.brackets(stage)
                assert set(stage.search_space().ranges) <= set(study.planned_params(stage))


# What is wrong


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        # The space.
        ("tuned.space={}", ["its space is empty", "at least one hyperparameter"]),
        ("tuned.space=3", ["space = 3", "expected a table"]),
        (
            "tuned.space.hiden_layer_size=[1]",
            ["space", "'hiden_layer_size'", "did you mean 'hidden_layer_size'", "'fnn'"],
        ),
        ("tuned.space.kernel_size=[3]", ["space", "'kernel_size'", "model 'fnn'", "dropout_rate"]),
        ("tuned.space.batch_size=[32]", ["space", "'batch_size'", "model 'fnn'"]),
        ("tuned.space.dropout_rate=[0.1, 0.99]", ["dropout_rate = 0.99", "0 to 0.95"]),
        ("tuned.space.dropout_rate={ low = -0.1, high = 0.5 }", ["dropout_rate = -0.1", "0 to"]),
        ("tuned.space.dropout_rate={ low = 0.1, high = 1 }", ["dropout_rate = 1", "0 to 0.95"]),
        ("tuned.space.activation=['relu', 'rleu']", ["activation = 'rleu'", "relu", "tanh"]),
        ("tuned.space.activation={ low = 1, high = 2 }", ["activation = 1", 'one of "relu"']),
        ("tuned.space.num_hidden_layers=[1.5]", ["num_hidden_layers = 1.5", "whole number"]),
        ("tuned.space.num_hidden_layers={ low = 1.0, high = 3.0 }", ["num_hidden_layers = 1.0"]),
        ("tuned.space.num_hidden_layers=[]", ["num_hidden_layers", "at least one option"]),
        ("tuned.space.num_hidden_layers=[1, 1]", ["num_hidden_layers", "given twice"]),
        ("tuned.space.learning_rate={ low = 0.001 }", ["learning_rate", "'low' and 'high'"]),
        (
            "tuned.space.learning_rate={ min = 0.001, max = 0.1 }",
            ["learning_rate", "unknown key 'max'", "low", "high", "step", "log"],
        ),
        (
            "tuned.space.learning_rate={ low = 0.1, high = 0.01 }",
            ["learning_rate", "low 0.1 lies above high 0.01"],
        ),
        (
            "tuned.space.learning_rate={ low = 0.001, high = 0.1, step = 0 }",
            ["learning_rate", "step must be positive, not 0"],
        ),
        (
            "tuned.space.learning_rate={ low = 0.001, high = 0.1, step = 0.01, log = true }",
            ["learning_rate", "logarithmic", "no step"],
        ),
        (
            "tuned.space.l2_strength={ low = 0.0, high = 0.1, log = true }",
            ["l2_strength", "logarithmic", "low > 0"],
        ),
        ("tuned.space.l2_strength={ low = 0.0, high = nan }", ["l2_strength", "finite"]),
        (
            "tuned.space.learning_rate={ low = 0.001, high = 0.1, log = 1 }",
            ["learning_rate", "log = 1", "true or false"],
        ),
        ("tuned.space.learning_rate={ low = true, high = 2 }", ["learning_rate", "low = True"]),
        (
            "tuned.space.learning_rate={ low = '1', high = '2' }",
            ["learning_rate: low = '1': expected a number"],
        ),
        (
            "tuned.space.learning_rate=0.001",
            ["space: learning_rate: 0.001", "expected a list of options, or a table"],
        ),
        ("tuned.space.learning_rate=[[0.001]]", ["learning_rate: [0.001] is no option"]),
        ("tuned.space.learning_rate=[2020-01-01]", ["learning_rate", "is no option"]),
        (
            "tuned.params={ learning_rate = 0.001 }",
            ["learning_rate", "in params and in space", "take one away"],
        ),
        # The sampler, trials and folds.
        ("tuned.sampler='tpee'", ["unknown sampler 'tpee'", "did you mean 'tpe'", "grid"]),
        ("tuned.sampler=3", ["sampler = 3", "text"]),
        ("tuned.sampler='grid'", ["a grid needs ranges with steps, or lists of options"]),
        ("tuned.trials=0", ["trials = 0", "1"]),
        ("tuned.trials=2.5", ["trials = 2.5", "whole number"]),
        ("tuned.folds=1", ["folds = 1", "2"]),
        ("tuned.folds=true", ["folds = True", "whole number"]),
        # The schedule.
        ("tuned.schedule='hyperband'", ["schedule = 'hyperband'", "a table"]),
        ("tuned.schedule.name='hyperbnd'", ["schedule.name", "'hyperbnd'", "hyperband"]),
        ("tuned.schedule.epochs=3", ["'schedule'", "unknown key 'epochs'", "max_epochs"]),
        ("tuned.schedule.max_epochs=0", ["schedule.max_epochs = 0", "greater than 0"]),
        ("tuned.schedule={ name = 'hyperband', factor = 1 }", ["schedule.factor = 1", "2"]),
        ("tuned.schedule={ name = 'hyperband', max_epochs = 0.5 }", ["hyperband", "at least 1"]),
        ("tuned.schedule={ name = 'successive-halving' }", ["needs schedule.min_epochs"]),
        (
            "tuned.schedule={ name = 'successive-halving', min_epochs = 21 }",
            ["min_epochs 21 is above 20"],
        ),
        (
            "tuned.schedule={ name = 'successive-halving', min_epochs = 2, max_epochs = 1.5 }",
            ["min_epochs 2 is above 1.5"],
        ),
        (
            "tuned.schedule={ name = 'hyperband', min_epochs = 1 }",
            ["min_epochs belongs to successive-halving alone"],
        ),
        ("tuned.schedule={ min_epochs = 1 }", ["min_epochs belongs to successive-halving alone"]),
        ("tuned.schedule={ factor = 3 }", ["factor belongs to hyperband and successive-halving"]),
        ("tuned.schedule.promotion='resume'", ["schedule.promotion = 'resume'", "continue"]),
        # The rest.
        ("tuned.refit={ epochs = 3 }", ["'refit'", "unknown key 'epochs'", "max_epochs"]),
        ("tuned.refit={ patience = 0 }", ["refit.patience = 0", "1"]),
        ("tuned.refit=3", ["refit = 3", "a table"]),
        ("tuned.smapler='tpe'", ["unknown key 'smapler'", "did you mean 'sampler'"]),
        ("tuned.model='cnn'", ["model 'cnn'", "base 'first'", "is a 'fnn'"]),
    ],
)
def test_a_wrong_tuning_stage_is_refused_with_what_where_and_what_would_do(
    override: str, parts: list[str]
) -> None:
    message = message_of(override)
    for part in parts:
        assert part in message


def test_hyperband_sets_its_number_of_trials_itself() -> None:
    message = message_of("tuned.schedule={ name = 'hyperband' }", "tuned.trials=10")
    assert "hyperband sets the number of trials" in message
    assert "take 'trials' away" in message


def test_every_value_of_a_range_must_be_allowed_not_its_ends_alone() -> None:
    # Kernels have odd sizes; a whole range of them holds even ones too.
    text = STUDY.replace('model = "fnn"', 'model = "cnn"').replace(
        "num_hidden_layers = [1, 2, 3]\n", ""
    )
    parse("tuned.space.kernel_size={ low = 3, high = 7, step = 2 }", text=text)
    message = message_of("tuned.space.kernel_size={ low = 3, high = 7 }", text=text)
    assert "kernel_size = 4 is out of range" in message
    assert "1 to 15, step 2" in message


def test_a_tuning_stage_without_a_space_is_refused() -> None:
    start, end = STUDY.index("[stage.space]"), STUDY.index('[[stage]]\nname = "last"')
    assert "the key 'space' is missing" in message_of(text=STUDY[:start] + STUDY[end:])


def test_the_gaussian_process_without_torch_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'burnish[gp]'" in message_of("tuned.sampler='gp'")
