from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from burnish.data import SplitSizes
from burnish.errors import StudyError
from burnish.models import default_params, find_family
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, TrainStage
from burnish.study.study import Study
from burnish.study.text import read_study_text, shipped_studies
from burnish.training import TrainingSettings

HEAD = """
[study]
name = "example"

[data]
source = "digits"
split = { train = 0.6, val = 0.2, test = 0.2 }
"""
FIRST = """
[[stage]]
name = "first"
kind = "train"
model = "cnn"
"""
SECOND = """
[[stage]]
name = "second"
kind = "train"
base = "first"
"""
LAST = """
[[stage]]
name = "last"
kind = "final"
"""
STUDY = HEAD + FIRST + SECOND + LAST


def parse(text: str, *overrides: str) -> Study:
    return parse_study(text, "example.toml", overrides)[0]


def train_stage(study: Study, name: str) -> TrainStage:
    stage = study.stage(name)
    assert isinstance(stage, TrainStage)
    return stage


def message_of(text: str, *overrides: str) -> str:
    """The message with which a study is refused: one line, that says where."""
    with pytest.raises(StudyError) as caught:
        parse(text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(("example.toml", "--set "))
    return message


# What is right


def test_every_study_that_ships_is_valid_and_ends_with_the_test_split() -> None:
    shipped = shipped_studies()
    assert set(shipped) == {"digits", "mnist", "mnist-best", "mnist-classic", "mnist-published"}
    for name, text in shipped.items():
        study, same = parse_study(text, name)
        assert study.name == name
        assert same == text
        assert study.study.description
        assert isinstance(study.stages[-1], FinalStage)


def test_a_small_study_gets_the_documented_defaults() -> None:
    study = parse(STUDY)
    assert study.seed == 42
    assert [stage.name for stage in study.stages] == ["first", "second", "last"]
    assert study.settings(train_stage(study, "first")) == TrainingSettings()
    assert study.family(train_stage(study, "second")).name == "cnn"
    assert study.data.split.sizes() == SplitSizes(0.6, 0.2, 0.2)


def test_settings_of_a_stage_go_before_those_of_the_study() -> None:
    text = STUDY.replace(FIRST, "[training]\nbatch_size = 64\npatience = 2\n" + FIRST).replace(
        SECOND, SECOND + 'training = { patience = 9, learning_rate_schedule = "one-cycle" }\n'
    )
    study = parse(text)
    assert study.settings(train_stage(study, "first")) == TrainingSettings(
        batch_size=64, patience=2
    )
    assert study.settings(train_stage(study, "second")) == TrainingSettings(
        batch_size=64, patience=9, learning_rate_schedule="one-cycle"
    )


def test_params_are_the_defaults_then_the_bases_best_then_the_stages_own() -> None:
    study = parse(
        STUDY.replace(FIRST, FIRST + "params = { kernel_size = 5, dropout_rate = 0.1 }\n").replace(
            SECOND, SECOND + "params = { dropout_rate = 0.2, learning_rate = 0.01 }\n"
        )
    )
    defaults = default_params(find_family("cnn"))
    first, second = train_stage(study, "first"), train_stage(study, "second")
    assert study.initial_params(first, {}) == {**defaults, "kernel_size": 5, "dropout_rate": 0.1}

    # What the base found counts, not what it began with.
    best = {"first": {**defaults, "kernel_size": 7, "dropout_rate": 0.3, "l2_strength": 0.001}}
    assert study.initial_params(second, best) == {
        **defaults,
        "kernel_size": 7,
        "l2_strength": 0.001,
        "dropout_rate": 0.2,
        "learning_rate": 0.01,
    }
    assert study.planned_params(second) == {
        **defaults,
        "kernel_size": 5,
        "dropout_rate": 0.2,
        "learning_rate": 0.01,
    }


def test_a_study_without_a_final_stage_is_allowed() -> None:
    assert [stage.kind for stage in parse(HEAD + FIRST).stages] == ["train"]


# What is wrong


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[study", ["is not valid TOML"]),
        ("a = 1\na = 2", ["is not valid TOML"]),
        (f"a = {'9' * 5000}", ["is not valid TOML"]),
        ("", ["table [study] is missing"]),
        ("[study]\nname = 'x'", ["table [data] is missing"]),
        (HEAD, ["no stage", "[[stage]]"]),
        (HEAD + "[stage]\nname = 'x'", ["no stage", "[[stage]]"]),
        ("stage = 3\n" + HEAD, ["no stage", "[[stage]]"]),
        ("stage = [1]\n" + HEAD, ["stage 1 is not a table", "[[stage]]"]),
        ("study = 3\n[data]", ["[study] = 3", "expected a table"]),
        (STUDY + "[[stages]]", ["unknown table 'stages'", "did you mean 'stage'", "training"]),
        (STUDY.replace('name = "example"', ""), ["[study]", "key 'name' is missing"]),
        (
            STUDY.replace('source = "digits"', ""),
            ["[data]", "either 'source'", "digits, mnist", "'path'"],
        ),
        (STUDY.replace("split = ", "# "), ["[data]", "key 'split.train' is missing"]),
        (STUDY.replace("val = 0.2, ", ""), ["[data]", "key 'split.val' is missing"]),
        (STUDY.replace('name = "first"', ""), ["stage 1:", "key 'name' is missing"]),
        (
            STUDY.replace('kind = "train"', "", 1),
            ["stage 'first'", "key 'kind' is missing", "train", "final"],
        ),
        (STUDY.replace('model = "cnn"', ""), ["stage 'first'", "'model'", "'base'"]),
        (STUDY.replace('"second"', '"first"'), ["stage 'first'", "twice"]),
        (STUDY.replace('"second"', '"data"'), ["stage 'data'", "choose another"]),
        (HEAD + LAST, ["stage 'last'", "no stage before it"]),
        (HEAD + FIRST + LAST + SECOND, ["stage 'last'", "must be the last stage"]),
        (STUDY + LAST.replace("last", "again"), ["stage 'last'", "must be the last stage"]),
        (HEAD + SECOND + FIRST, ["stage 'second'", "base 'first'", "must come before it"]),
        (HEAD + SECOND + LAST, ["stage 'second'", "base 'first'", "must be a stage before it"]),
        (
            STUDY.replace('base = "first"', 'base = "frist"'),
            ["stage 'second'", "base stage 'frist'", "did you mean 'first'"],
        ),
        (STUDY.replace('base = "first"', 'base = "last"'), ["stage 'second'", "before it"]),
        (STUDY.replace('base = "first"', 'base = "second"'), ["stage 'second'", "before it"]),
        (
            STUDY.replace('base = "first"', 'base = "first"\nmodel = "fnn"'),
            ["stage 'second'", "model 'fnn'", "base 'first'", "is a 'cnn'"],
        ),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, parts: list[str]) -> None:
    message = message_of(text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        # Unknown keys and names: what was given, where, what exists.
        ("study.nmae='x'", ["[study]", "'nmae'", "did you mean 'name'", "objective", "seed"]),
        ("data.sources='x'", ["[data]", "'sources'", "did you mean 'source'", "split"]),
        ("data.split.trian=1", ["[data] 'split'", "'trian'", "did you mean 'train'", "val"]),
        ("training.epochs=1", ["[training]", "'epochs'", "did you mean 'max_epochs'", "patience"]),
        ("first.modle='cnn'", ["stage 'first'", "'modle'", "did you mean 'model'", "params"]),
        (
            "first.training.batchsize=1",
            ["stage 'first' 'training'", "'batchsize'", "did you mean 'batch_size'"],
        ),
        ("last.model='cnn'", ["stage 'last'", "'model'", "kind", "name"]),
        ("data.source='mnits'", ["[data]", "source 'mnits'", "did you mean 'mnist'", "digits"]),
        ("first.kind='trian'", ["stage 'first'", "kind 'trian'", "did you mean 'train'", "final"]),
        ("first.kind=3", ["stage 'first'", "kind '3'", "train", "final"]),
        ("first.model='cmn'", ["stage 'first'", "model 'cmn'", "did you mean 'cnn'", "fnn"]),
        (
            "first.params.learning_rat=1",
            ["stage 'first', params", "'learning_rat'", "did you mean 'learning_rate'"],
        ),
        (
            "first.params.hidden_layer_size=64",  # another family's
            ["stage 'first', params", "'cnn'", "'hidden_layer_size'", "dense_layer_size"],
        ),
        # Values out of range, and of other types.
        ("study.name='A b'", ["[study]", "name = 'A b'", "lower-case"]),
        ("study.name=''", ["[study]", "name = ''", "lower-case"]),
        (f"study.name='{'x' * 41}'", ["[study]", "name = 'xxx", "at most 40"]),
        ("study.name=3", ["[study]", "name = 3", "text"]),
        ("study.seed=-1", ["[study]", "seed = -1", "0"]),
        ("study.seed=1.5", ["[study]", "seed = 1.5", "whole number"]),
        ("study.seed=true", ["[study]", "seed = True", "whole number"]),
        ("study.seed=9223372036854775808", ["[study]", "seed = 9223372036854775808", "less than"]),
        ("study.objective='accuracy'", ["[study]", "objective = 'accuracy'", "val_loss"]),
        ("data.source=3", ["[data]", "source = 3", "text"]),
        ("data.split=3", ["[data]", "split = 3", "a table"]),
        ("data.split.train=0", ["[data]", "split.train = 0", "greater than 0"]),
        ("data.split.train='x'", ["[data]", "split.train = 'x'", "expected a number"]),
        ("data.split.val=nan", ["[data]", "split.val = nan", "greater than 0"]),
        ("data.split.test=-0.2", ["[data]", "split.test = -0.2", "greater than 0"]),
        ("training.max_epochs=0", ["[training]", "max_epochs = 0", "greater than 0"]),
        ("training.max_epochs=nan", ["[training]", "max_epochs = nan", "greater than 0"]),
        ("training.max_epochs=inf", ["[training]", "max_epochs = inf", "100000"]),
        ("training.max_epochs=many", ["[training]", "max_epochs = 'many'", "expected a number"]),
        ("training.batch_size=1.5", ["[training]", "batch_size = 1.5", "whole number"]),
        ("training.batch_size=0", ["[training]", "batch_size = 0", "1"]),
        ("training.batch_size=65537", ["[training]", "batch_size = 65537", "65536"]),
        ("training.patience=0", ["[training]", "patience = 0", "1"]),
        ("training.precision='int8'", ["[training]", "precision = 'int8'", "bfloat16"]),
        (
            "first.training.learning_rate_schedule='cosine'",
            ["stage 'first'", "learning_rate_schedule = 'cosine'", "one-cycle"],
        ),
        ("first.training=3", ["stage 'first'", "training = 3", "a table"]),
        ("first.training.patience=0", ["stage 'first'", "training.patience = 0", "1"]),
        ("first.name='First'", ["stage 'First'", "name = 'First'", "lower-case"]),
        ("first.model=3", ["stage 'first'", "model = 3", "text"]),
        ("second.base=3", ["stage 'second'", "base = 3", "text"]),
        ("first.params=3", ["stage 'first'", "params = 3", "a table"]),
        ("first.params.kernel_size=[3]", ["stage 'first'", "params.kernel_size = [3]", "a number"]),
        ("first.params.kernel_size=4", ["stage 'first'", "kernel_size = 4", "1 to 15, step 2"]),
        ("first.params.kernel_size=3.5", ["stage 'first'", "kernel_size = 3.5", "whole number"]),
        ("first.params.kernel_size=true", ["stage 'first'", "kernel_size = True"]),
        ("first.params.dropout_rate=0.96", ["stage 'first'", "dropout_rate = 0.96", "0 to 0.95"]),
        ("first.params.learning_rate=nan", ["stage 'first'", "learning_rate = nan"]),
        ("first.params.learning_rate=0", ["stage 'first'", "learning_rate = 0"]),
        ("first.params.activation='rleu'", ["stage 'first'", "activation = 'rleu'", "relu"]),
        ("first.params.batch_normalization=1", ["stage 'first'", "batch_normalization = 1"]),
        ("second.params.dropout_rate=1", ["stage 'second'", "dropout_rate = 1", "0 to 0.95"]),
    ],
)
def test_a_wrong_value_is_refused_with_what_where_and_what_would_do(
    override: str, parts: list[str]
) -> None:
    message = message_of(STUDY, override)
    for part in parts:
        assert part in message


# Overrides


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("first.training.max_epochs=3", ("training", "max_epochs"), 3),
        ("first.training.max_epochs = 0.5 ", ("training", "max_epochs"), 0.5),
        ("first.params.learning_rate=1e-4", ("params", "learning_rate"), 1e-4),
        ("first.params.batch_normalization=true", ("params", "batch_normalization"), True),
        ("first.params.activation=tanh", ("params", "activation"), "tanh"),
        ("first.params.activation='tanh'", ("params", "activation"), "tanh"),
        ("first.params={ kernel_size = 5 }", ("params", "kernel_size"), 5),
    ],
)
def test_an_override_reaches_a_stages_tables(
    override: str, path: tuple[str, str], value: object
) -> None:
    _, text = parse_study(STUDY, "example.toml", [override])
    first = tomllib.loads(text)["stage"][0]
    assert first[path[0]][path[1]] == value
    assert type(first[path[0]][path[1]]) is type(value)


def test_overrides_reach_the_studys_tables_also_those_that_the_file_leaves_out() -> None:
    study = parse(
        STUDY,
        "study.seed=7",
        "data.split.train=100",
        "data.split.test = 50",
        "training.max_epochs=2",
        "training.precision=float32",
    )
    assert study.seed == 7
    assert (study.data.split.train, study.data.split.test) == (100, 50)
    assert study.settings(train_stage(study, "second")) == TrainingSettings(
        max_epochs=2, precision="float32"
    )


def test_the_last_of_two_overrides_counts_and_a_later_one_sees_an_earlier_ones_name() -> None:
    study = parse(
        STUDY,
        "training.max_epochs=2",
        "training.max_epochs=3",
        "last.name=test",
        "first.name=begin",
        "second.base=begin",
    )
    assert study.training.max_epochs == 3
    assert [stage.name for stage in study.stages] == ["begin", "second", "test"]


@pytest.mark.parametrize("study", sorted(shipped_studies()))
def test_the_text_with_overrides_in_it_is_the_same_study(study: str) -> None:
    overrides = ["training.max_epochs=2", 'study.description=it\'s "short"', "study.seed=1"]
    parsed, text = parse_study(shipped_studies()[study], study, overrides)
    again, same = parse_study(text, "its own text")
    assert again == parsed
    assert same == text
    assert parsed.study.description == 'it\'s "short"'


@pytest.mark.parametrize(
    "override",
    ["", "first", "first=1", "=1", "first.=1", ".first=1", "first..x=1", "first.params.=1"],
)
def test_an_override_of_another_form_is_refused_with_an_example(override: str) -> None:
    message = message_of(STUDY, override)
    assert message.startswith(f"--set {override}: ")
    assert "stage.key=value" in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("frist.params.kernel_size=5", ["'frist'", "did you mean 'first'", "second", "training"]),
        ("stage.name=x", ["stage or table 'stage'", "first"]),
        ("first.name.x=1", ["'name' is a value, not a table"]),
    ],
)
def test_an_override_of_what_is_not_there_is_refused(override: str, parts: list[str]) -> None:
    message = message_of(STUDY, override)
    assert message.startswith(f"--set {override}: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["stage = 3\n", "stage = [1]\n", "[stage]\nx = 1\n", ""])
def test_an_override_of_a_broken_file_is_an_error_of_the_file(text: str) -> None:
    message_of(text, "study.seed=1")
    message_of(text, "data.split.train=1")
    assert "unknown stage" in message_of(text, "first.x=1")


def test_an_override_of_a_table_that_is_a_value_is_refused() -> None:
    assert "'study' is a value, not a table" in message_of("study = 3", "study.seed=1")
    assert "'data' is a value, not a table" in message_of("[[data]]", "data.source='digits'")


# Files


def test_a_study_is_found_by_its_name_before_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").write_text("else", encoding="utf-8")
    text, where = read_study_text("digits")
    assert text == shipped_studies()["digits"]
    assert "digits" in where


def test_a_study_is_read_from_a_path_with_any_ending(tmp_path: Path) -> None:
    for name in ("my study.toml", "study.txt"):
        path = tmp_path / name
        path.write_text(STUDY, encoding="utf-8")
        assert read_study_text(str(path)) == (STUDY, str(path))


def test_an_unknown_study_is_answered_with_those_that_ship() -> None:
    with pytest.raises(StudyError, match="unknown study 'digts'; did you mean 'digits'") as caught:
        read_study_text("digts")
    assert "mnist-published" in str(caught.value)
    assert "path of a .toml file" in str(caught.value)


def test_a_path_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name, reason in (
        ("absent.toml", "No such file"),
        (".", "Is a directory"),
        ("binary.toml", "utf-8"),
        ("x" * 5000, "too long"),
    ):
        with pytest.raises(StudyError, match="cannot read the study file") as caught:
            read_study_text(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)
        assert reason in str(caught.value)


OWN = STUDY.replace('source = "digits"', 'path = "photos"')


def test_the_path_of_ones_own_images_counts_from_the_study_files_folder(tmp_path: Path) -> None:
    study, text = parse_study(OWN, "own.toml", (), tmp_path)
    assert study.data.path == str(tmp_path / "photos")
    # The text says the same from any folder.
    assert parse_study(text, "study.toml")[0] == study
    absolute = OWN.replace('"photos"', f'"{tmp_path}"')
    assert parse_study(absolute, "own.toml", (), Path("elsewhere")) == (
        parse(absolute),
        absolute,
    )


def test_how_own_images_are_read_is_given_on_as_far_as_it_is_set() -> None:
    assert parse(OWN).data.reading() == {}
    study = parse(
        OWN,
        "data.color=grey",
        "data.size=[24, 32]",
        "data.resize=stretch",
        "data.group=patient",
        "data.on_bad_image=skip",
        "data.format=csv",
        "data.labels=deepest",
        "data.masks=keep",
    )
    assert study.data.reading() == {
        "format": "csv",
        "labels": "deepest",
        "masks": "keep",
        "color": "grey",
        "size": (24, 32),
        "resize": "stretch",
        "group": "patient",
        "on_bad_image": "skip",
    }
    assert parse(OWN, "data.size=auto").data.reading() == {"size": "auto"}


def test_how_a_table_is_read_is_part_of_the_study(tmp_path: Path) -> None:
    overrides = [
        "data.image_column=scan",
        "data.label_column=dx",
        "data.image_root=../images",
        "data.class_case=join",
    ]
    study, text = parse_study(OWN, "own.toml", overrides, tmp_path)
    assert study.data.reading() == {
        "image_column": "scan",
        "label_column": "dx",
        "image_root": tmp_path.parent / "images",
        "class_case": "join",
    }
    # The text says the same from any folder.
    assert parse_study(text, "study.toml")[0] == study
    assert "'auto', 'join' or 'keep'" in message_of(OWN, "data.class_case=merge")
    assert "image_root = 'a\\x00'" in message_of(OWN, 'data.image_root="a\\u0000"')
    assert "image_root belongs" in message_of(STUDY, "data.image_root=x").replace(":", "")


def test_splits_that_the_images_bring_along_need_no_size() -> None:
    without = OWN.replace("split = { train = 0.6, val = 0.2, test = 0.2 }", "")
    assert parse(without).data.split.model_dump() == {"train": None, "val": None, "test": None}


def test_class_weights_of_the_data_are_in_the_settings_of_every_fit() -> None:
    study = parse(OWN, "data.class_weight=balanced")
    assert study.settings(train_stage(study, "first")).class_weight == "balanced"
    assert parse(OWN).settings(train_stage(parse(OWN), "second")).class_weight == "none"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["data.path=photos"], ["either 'source'", "or 'path'"]),
        (["data.color=grey"], ["[data] color", "belongs to images with a 'path'", "'digits'"]),
        (["data.class_weight=equal"], ["class_weight = 'equal'", "'none' or 'balanced'"]),
    ],
)
def test_data_that_is_asked_for_in_two_ways_is_refused(
    overrides: list[str], parts: list[str]
) -> None:
    message = message_of(STUDY, *overrides)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("data.size=[24]", ["data", "size", "2"]),
        ("data.size=[0, 24]", ["size", "0"]),
        ("data.size=large", ["size", "large"]),
        ("data.color=red", ["color = 'red'", "grey"]),
    ],
)
def test_sizes_and_colours_that_make_no_sense_are_refused(override: str, parts: list[str]) -> None:
    message = message_of(OWN, override)
    assert all(part in message for part in parts), message
