"""The notebooks of the documents: executed in a kernel, and without outputs in the repository."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", DOCS / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks = _load()


def test_every_notebook_is_listed() -> None:
    assert sorted(path.name for path in DOCS.glob("*.ipynb")) == sorted(notebooks.NOTEBOOKS)


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_outputs_are_stripped(name: str) -> None:
    for cell in json.loads((DOCS / name).read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell["metadata"]


def test_the_tour_ends_with_a_served_model() -> None:
    """It takes half a minute, unless 'make docs' has executed the notebook: a kernel runs all."""
    text, pictures = notebooks.write_markdown(notebooks.execute("tour.ipynb"), "tour")
    assert "nothing is wrong" in text
    assert "on photos: done." in text
    assert "<th>learning_rate</th>" in text
    assert "'temple'" in text  # What the server answers.
    assert "photos.onnx" in text
    assert [name for name in pictures if f"![]({name})" in text] == ["tour-0.png"]


def test_the_published_study_is_reproduced_on_digits() -> None:
    """It takes half a minute, as above: seven stages are run."""
    text, pictures = notebooks.write_markdown(notebooks.execute("study.ipynb"), "study")
    assert "<td>0.0836</td>" in text
    for stage in ("fnn-tuned", "cnn-tuned", "augmented", "learning-rate", "final"):
        assert f"<th>{stage}</th>" in text
    assert "TestResult(accuracy=0.9" in text
    assert len(pictures) == 4
