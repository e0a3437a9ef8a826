"""The cache of decoded images."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Find ``load_images`` for scripts from when this was a module that had it."""
    if name == "load_images":
        from burnish.data.load import load_images

        return load_images
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
