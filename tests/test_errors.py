from __future__ import annotations

import inspect
import re

import pytest

from burnish import errors
from burnish.errors import (
    BundleError,
    BurnishError,
    DataError,
    DataNotFoundError,
    ExportError,
    ImageError,
    RunBusyError,
    RunFolderError,
    StudyError,
    TrainingError,
    describe_exception,
    name_what_exists,
)


def test_every_error_is_a_burnish_error_and_stands_in_the_tree_of_the_docstring() -> None:
    classes = {
        name
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, Exception)
    }
    assert all(issubclass(getattr(errors, name), BurnishError) for name in classes)
    assert set(re.findall(r"\b[A-Z]\w+Error\b", errors.__doc__ or "")) == classes


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (StudyError, BurnishError),
        (DataError, BurnishError),
        (DataNotFoundError, DataError),
        (ImageError, DataError),
        (RunFolderError, BurnishError),
        (RunBusyError, RunFolderError),
        (TrainingError, BurnishError),
        (BundleError, BurnishError),
        (ExportError, BundleError),
    ],
)
def test_the_tree_is_as_drawn(error: type[Exception], parent: type[Exception]) -> None:
    assert error.__bases__ == (parent,)


def test_an_unknown_name_is_answered_with_the_likely_one_and_all_that_exist() -> None:
    message = name_what_exists("source", "mnits", ("mnist", "digits"))
    assert message == "unknown source 'mnits'; did you mean 'mnist'? There are: digits, mnist"


def test_a_name_that_is_like_none_gets_no_guess() -> None:
    message = name_what_exists("source", "zzz", iter(["mnist", "digits"]))
    assert message == "unknown source 'zzz'. There are: digits, mnist"


def test_what_was_raised_is_told_with_its_place_and_what_was_meant_without() -> None:
    said = []
    for error in (KeyError("a"), TrainingError("the loss is nan"), ZeroDivisionError()):
        try:
            raise error
        except Exception as caught:
            said.append(re.sub(r"\d+", "N", describe_exception(caught)))
    here = "(test_errors.py, line N, in test_what_was_raised_is_told_with_its_place_and_"
    assert said[0].startswith(f"KeyError: 'a' {here}")
    assert said[1] == "TrainingError: the loss is nan"
    assert said[2].startswith(f"ZeroDivisionError {here}")
