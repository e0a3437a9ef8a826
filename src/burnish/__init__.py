"""Staged tuning studies for image classifiers.

model = burnish.load("runs/mnist")
labels, probabilities = model.predict(["three.png"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.bundle.model import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what a finished model needs when it is asked for, and not before."""
    if name == "load":
        from burnish.bundle.model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
