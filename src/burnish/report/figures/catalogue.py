"""The figures of the page, in order. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from typing import Any

from burnish.errors import RunFolderError
from burnish.registry import Registry
from burnish.report.figures.always_wrong import ALWAYS_WRONG
from burnish.report.figures.calibration import CALIBRATION
from burnish.report.figures.comparison import COMPARISON
from burnish.report.figures.confusion import CONFUSION
from burnish.report.figures.curve import CURVE
from burnish.report.figures.figure import Figure
from burnish.report.figures.final_calibration import FINAL_CALIBRATION
from burnish.report.figures.mistakes import MISTAKES
from burnish.report.figures.parallel import PARALLEL
from burnish.report.figures.progress import PROGRESS
from burnish.report.figures.rounds import ROUNDS
from burnish.report.figures.seeds import SEEDS
from burnish.report.figures.slices import SLICES
from burnish.report.figures.stage_yield import YIELD
from burnish.report.figures.suspects import SUSPECTS

FIGURES: Registry[Figure[Any]] = Registry(
    "figure",
    RunFolderError,
    (
        COMPARISON,
        YIELD,
        CURVE,
        SEEDS,
        PROGRESS,
        PARALLEL,
        SLICES,
        ROUNDS,
        CALIBRATION,
        CONFUSION,
        MISTAKES,
        FINAL_CALIBRATION,
        ALWAYS_WRONG,
        SUSPECTS,
    ),
)
