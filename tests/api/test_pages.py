"""docs/python.md: every example with ``>>>`` is run, in order, in a folder with photos."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

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
