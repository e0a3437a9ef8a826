"""Examples with ``>>>``: those of docs/python.md, in a folder with photos, and of docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import burnish.api

from .studies import write_digits

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_every_example_of_the_page_works(here: Path) -> None:
    """It takes some seconds: two studies are run, and one is planned."""
    write_digits(here / "photos")
    text = PAGE.read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(text, {}, "python.md", str(PAGE), 0)
    assert len(examples.examples) > 25
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)
    assert not said, "".join(said)


MODULES = [
    "burnish.study.text",
    *(f"burnish.api.{m.name}" for m in pkgutil.iter_modules(burnish.api.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_work(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 6
