"""Study files of every kind: made from the schema, and changed at random."""

from __future__ import annotations

import copy
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.errors import StudyError
from burnish.study.parse import parse_study
from burnish.study.schema import FinalStage, TuneStage

from . import sample

NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,20}\Z").filter(
    lambda name: name not in {"study", "data", "training"}
)
TRAINING = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.integers(1, 65536),
        "max_epochs": st.one_of(st.integers(1, 100), st.floats(0.1, 100)),
        "patience": st.integers(1, 10**6),
        "learning_rate_schedule": st.sampled_from(["constant", "one-cycle"]),
        "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    },
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": st.floats(1e-5, 0.1),
        "rotation_range": st.floats(0, 0.4),
        "num_hidden_layers": st.integers(0, 16),
    },
)
SPACES = st.fixed_dictionaries(
    {"hidden_layer_size": st.lists(st.integers(1, 8192), min_size=1, max_size=60, unique=True)},
    optional={
        "dropout_rate": st.just({"low": 0.0, "high": 0.5, "step": 0.1}),
        "zoom_range": st.just({"low": 0.0, "high": 0.2}),
        "height_shift_range": st.just([0.0, 0.1]),
    },
)


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    """Contents of valid study files."""
    data: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"source": "digits", "split": {"train": 0.8, "val": 0.2}},
                {"path": "photos", "size": [24, 32], "color": "grey", "on_bad_image": "skip"},
                {"path": "/a b/ü\n", "format": "csv", "group": "writer", "size": "auto"},
            ]
        )
    )
    stages: list[dict[str, Any]] = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        stage: dict[str, Any] = {"name": name, "training": draw(TRAINING)}
        has_base, is_tuned = draw(st.tuples(st.booleans(), st.booleans()))
        stage |= {"base": stages[0]["name"]} if stages and has_base else {"model": "fnn"}
        if is_tuned:
            stage |= {"kind": "tune", "space": draw(SPACES), "trials": draw(st.integers(1, 99))}
        else:
            stage |= {"kind": "train", "params": draw(PARAMS), "seeds": draw(st.integers(1, 100))}
        stages.append(stage)
    described = {"name": draw(NAMES), "seed": draw(st.integers(0, 2**63 - 1))}
    described["description"] = draw(st.text(st.characters(exclude_categories=["Cs"])))
    return {"study": described, "data": data, "training": draw(TRAINING), "stage": stages}


@settings(max_examples=sample(60, 600), deadline=None, derandomize=True)
@given(studies())
def test_a_study_made_from_the_schema_is_taken_and_means_the_same_once_written(
    content: dict[str, Any],
) -> None:
    """Row "bad input": what is valid is read, and goes through the run folder unchanged."""
    text = tomli_w.dumps(content)
    study, same = parse_study(text, "made.toml")
    assert same == text
    again, written = parse_study(text, "made.toml", [f"study.seed={study.seed}"])
    assert again == study
    assert parse_study(written, "study.toml")[0] == study
    for stage in study.stages:
        assert not isinstance(stage, FinalStage)
        assert study.settings(stage).max_epochs > 0
        assert set(study.planned_params(stage)) >= {"learning_rate"}
        if isinstance(stage, TuneStage):
            assert study.brackets(stage)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**2000), 2**2000),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.dates(),
    st.datetimes(),
    st.sampled_from(["~nobody-at-all/x", "a\0b", "../x", "nan", "x" * 5000, "\x1b[2J"]),
)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in nested tables and lists."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [p for key, held in value.items() for p in places(held, (*path, key))]
    elif isinstance(value, list):
        found += [p for i, held in enumerate(value) for p in places(held, (*path, i))]
    return found


@settings(
    max_examples=sample(150, 1200),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), content=studies(), number=st.integers(1, 3))
def test_a_changed_study_is_taken_or_refused_by_name(
    data: st.DataObject, content: dict[str, Any], number: int
) -> None:
    """Row "bad input": every error is a StudyError that names the key, and can be printed."""
    content = copy.deepcopy(content)  # What it is made of is used again.
    changed: list[str] = []
    for _ in range(number):
        path = data.draw(st.sampled_from(places(content)))
        parent: Any = content
        for key in path[:-1]:
            parent = parent[key]
        how = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove":
            del parent[path[-1]]
        elif how == "add" and isinstance(parent, dict):
            key = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
            parent[key] = data.draw(VALUES)
            changed.append(key)
        else:
            parent[path[-1]] = data.draw(VALUES)
        changed += [str(part) for part in path if isinstance(part, str)]
        if not places(content):
            break
    text = tomli_w.dumps(content)
    try:
        study, _ = parse_study(text, "made.toml")
    except StudyError as error:
        message = str(error)
        assert message.startswith("made.toml")
        assert len(message) < 2000
        # Of one change the error names the place: a key of it, or what stands beside it.
        assert number > 1 or any(
            word.strip() in message or repr(word) in message for word in [*changed, "stage", "data"]
        )
    else:
        assert parse_study(text, "again")[0] == study or "nan" in text


def assert_says_something(error: StudyError) -> None:
    assert str(error)
    assert len(str(error)) < 2000


@settings(max_examples=sample(60, 300), deadline=None, derandomize=True)
@given(st.text(max_size=200), st.lists(st.text(max_size=40), max_size=3))
def test_any_text_and_any_override_are_refused_in_our_own_words(
    text: str, overrides: list[str]
) -> None:
    """Row "bad input": whatever stands in the file or on the command line."""
    for given_text in (text, '[study]\nname = "s"\n' + text):
        try:
            parse_study(given_text, "made.toml", overrides)
        except StudyError as error:
            assert_says_something(error)
