"""``burnish.Study``: read, changed, refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import burnish
from burnish.errors import StudyError

from .studies import TINY, write_digits


def test_a_study_is_read_by_name_and_by_path(here: Path) -> None:
    study = burnish.Study.from_toml("digits")
    assert (study.name, study.seed) == ("digits", 42)
    assert study.stages[0] == "fnn"
    assert study.stages[-1] == "final"
    written = study.write("mine.toml")
    assert burnish.Study.from_toml(written) == study
    with pytest.raises(StudyError, match=r"mine\.toml exists already"):
        study.write(written)


def test_values_are_changed_as_set_changes_them() -> None:
    study = burnish.Study.from_dict(TINY)
    space = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    changed = study.with_values(
        {
            "search.space": space,
            "search.sampler": "random",
            "search.trials": np.int64(3),
            "study.description": 'quoted "so" = yes',
        }
    )
    content = changed.as_dict()
    assert content["stage"][0]["space"] == space
    assert content["stage"][0]["trials"] == 3
    assert content["study"]["description"] == 'quoted "so" = yes'
    assert study.as_dict()["stage"][0]["sampler"] == "grid"  # The first stays as it was.
    assert study.with_values(["study.seed=7"]).seed == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"serach.trials": 3}, "did you mean 'search'"),
        ({"search.params.learning_rate": "fast"}, "learning_rate"),
        ({"search.trials": None}, "a study file cannot hold a NoneType"),
        ({"a=b": 1}, "without an '='"),
    ],
)
def test_values_that_cannot_be_used_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        burnish.Study.from_dict(TINY).with_values(values)


def test_a_study_that_is_none_is_refused(here: Path) -> None:
    with pytest.raises(StudyError, match="did you mean 'digits'"):
        burnish.Study.from_toml("digts")
    with pytest.raises(StudyError, match=r"Study\.of_images"):
        burnish.Study.from_toml(write_digits(here / "photos", 20))
    with pytest.raises(StudyError, match="text, numbers, lists and tables"):
        burnish.Study.from_dict({**TINY, "study": {"name": object()}})


def test_images_get_the_study_that_init_writes(here: Path) -> None:
    photos = write_digits(here / "photos")
    study = burnish.Study.of_images("photos", on_bad_image="skip")
    assert study.name == "photos"
    data = study.as_dict()["data"]
    assert (Path(data["path"]), data["on_bad_image"]) == (photos, "skip")
    assert study.stages[0] == "head"
    other = burnish.Study.from_dict(TINY).with_images(photos)
    assert other.as_dict()["data"] == burnish.Study.of_images(photos).as_dict()["data"]
    assert other.stages == ("search", "final")
    with pytest.raises(TypeError, match="unknown keyword 'grup'"):
        burnish.Study.of_images("photos", grup="x")  # type: ignore[call-arg]


def test_a_study_can_be_copied_and_compared() -> None:
    study = burnish.Study.from_dict(TINY)
    assert pickle.loads(pickle.dumps(study)) == study == copy.deepcopy(study)
    assert len({study, copy.deepcopy(study)}) == 1
    assert study != study.with_values({"study.seed": 2})
    assert repr(study) == "Study('tiny', 2 stages: search, final)"
