"""The public names: there, lazy, typed, and in the reference."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import burnish

ROOT = Path(__file__).parents[2]

IMPORT = """
import sys
import burnish
assert {"run", "load", "ImageClassifier"} <= set(dir(burnish))
print(sorted({"numpy", "tensorflow", "keras", "pydantic", "rich", "sklearn"} & set(sys.modules)))
print(len([name for name in sys.modules if name.startswith("burnish")]))
"""


def test_import_loads_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n2\n"  # The package itself, and its version.


def test_import_takes_under_a_tenth_of_a_second() -> None:
    """Of processor time, which other programs do not take."""
    program = "import time; t = time.process_time(); import burnish; print(time.process_time() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.1


@pytest.mark.parametrize("name", burnish.__all__)
def test_each_public_name_is_there_and_in_the_reference(name: str) -> None:
    assert getattr(burnish, name) is not None
    if name != "__version__":
        pages = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
        assert re.search(rf"^::: burnish\.(\w+\.)*{name}$", pages, re.MULTILINE), name


def test_what_type_checkers_see_is_what_is_imported() -> None:
    tree = ast.parse((ROOT / "src/burnish/__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == burnish._PLACES
    assert set(seen) | {"__version__"} == set(burnish.__all__)
    for name, place in seen.items():
        assert getattr(importlib.import_module(str(place)), str(name)) is getattr(
            burnish, str(name)
        )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        burnish.trian  # noqa: B018
