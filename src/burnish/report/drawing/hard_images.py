"""Validation images that are hard, in rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from burnish.report.analysis.final import FinalFacts, HardImages
from burnish.report.drawing.images import draw_images
from burnish.report.drawing.style import elide
from burnish.report.formatting import name_image


def draw_hard(
    hard: HardImages, facts: FinalFacts, said: Mapping[int, str], *, title: str, subtitle: str
) -> Figure:
    """Draw those images of which something is said, by their numbers."""
    names, judge = facts.class_names, hard.judge
    return draw_images(
        np.stack([hard.images[row] for row in said]),
        [names[judge.labels[row]] for row in said],
        list(said.values()),
        [elide(name_image(judge.names, row), 18) for row in said],
        title=title,
        source=facts.source,
        subtitle=subtitle,
    )
