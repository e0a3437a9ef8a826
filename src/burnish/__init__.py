"""From a labelled set of images to the best classifier that the minutes can buy.

run = burnish.run("photos", minutes=10)
run.test.accuracy, run.test.interval
labels, probabilities = run.model.predict(["new.jpg"])

Importing it loads nothing else: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from burnish.version import __version__

if TYPE_CHECKING:
    from burnish.api.check import check as check
    from burnish.api.classifier import ImageClassifier as ImageClassifier
    from burnish.api.compare import compare as compare
    from burnish.api.finish import finish as finish
    from burnish.api.plan import plan as plan
    from burnish.api.result import Run as Run
    from burnish.api.result import open as open
    from burnish.api.run import run as run
    from burnish.api.study import Study as Study
    from burnish.bundle.model import load as load

_PLACES = {
    "ImageClassifier": "burnish.api.classifier",
    "Run": "burnish.api.result",
    "Study": "burnish.api.study",
    "check": "burnish.api.check",
    "compare": "burnish.api.compare",
    "finish": "burnish.api.finish",
    "load": "burnish.bundle.model",
    "open": "burnish.api.result",
    "plan": "burnish.api.plan",
    "run": "burnish.api.run",
}
"""In which module each public name is defined."""

__all__ = [
    "ImageClassifier",
    "Run",
    "Study",
    "__version__",
    "check",
    "compare",
    "finish",
    "load",
    "open",
    "plan",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what a public name stands for when it is first used."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(place), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
