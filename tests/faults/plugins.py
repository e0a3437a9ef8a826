"""A user's own program: a family that goes wrong in every way, in a study of its trials.

    python plugins.py STUDY RUN

Worker processes import this file again, as they do with any program that starts them; so
they know the family too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from burnish.backend import keras
from burnish.models import FAMILIES
from burnish.models.family import Family, Layers
from burnish.models.layers import LayerFactory
from burnish.runfolder.store import RunFolder
from burnish.runner.run import run_study
from burnish.space import Choice, Params, SearchSpace
from burnish.study.parse import load_study

WAYS = (
    "fine",
    "raises",
    "not buildable",
    "nan",
    "nan in validation",
    "huge",
    "overflows",
    "quits",
    "exits",
)


def build(params: Params, factory: LayerFactory) -> Layers:
    """A small network, or what ``way`` asks for."""
    way = params["way"]
    layers: Layers = [factory.flatten(), factory.dense(16), factory.activation("relu")]
    if way == "raises":
        raise LookupError("no such layer")
    if way == "quits":
        sys.exit(3)
    if way == "exits":
        return [*layers, ExitsInTraining()]
    if way == "not buildable":
        return [keras.layers.Conv2D(4, 99, padding="valid")]
    if way == "nan":
        return [*layers, _times(float("nan"))]
    if way == "nan in validation":
        return [*layers, NanInUse()]
    if way == "huge":
        return [*layers, _times(1e15)]
    if way == "overflows":
        # The loss is finite, and the square of its gradient is not.
        return [*layers, _times(1e30)]
    return layers


class NanInUse(keras.layers.Layer):  # type: ignore[misc]
    """Does nothing while it is trained, and then gives NaN."""

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the input, or NaN."""
        return x if training else x * float("nan")


class ExitsInTraining(keras.layers.Layer):  # type: ignore[misc]
    """Takes its process along as soon as it is trained, as a crash does."""

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the input."""
        if training:
            os._exit(3)
        return x


def _times(factor: float) -> Any:
    return lambda x: x * factor


FAMILY = Family(
    name="wayward",
    description="goes wrong as it is told",
    defaults={"way": "fine"},
    limits=SearchSpace({"way": Choice(WAYS)}),
    build=build,
    convolutional=False,
    explain_misfit=lambda params, shape: None,
)
if __name__ in ("__main__", "__mp_main__"):  # In the program and its workers, not in doctests.
    FAMILIES.register(FAMILY)


def main() -> None:
    """Run the study, with one worker."""
    study, text = load_study(sys.argv[1], [])
    run_study(study, text, RunFolder(Path(sys.argv[2])), workers=1)


if __name__ == "__main__":
    main()
