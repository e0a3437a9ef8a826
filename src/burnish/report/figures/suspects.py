"""Validation images whose label is likely wrong; it lies beside the page."""

from __future__ import annotations

from burnish.report.analysis.final import FinalFacts
from burnish.report.drawing.hard_images import draw_hard
from burnish.report.figures.figure import Drawing, Figure


def _draw(facts: FinalFacts) -> Drawing:
    hard = facts.hard
    assert hard is not None
    figure = draw_hard(
        hard,
        facts,
        hard.suspects,
        title="Labels that are likely wrong",
        subtitle=f"{{num}} of {len(hard.doubtful):,} validation images; label → suggested label",
    )
    return Drawing(figure, form="beside")


SUSPECTS = Figure[FinalFacts](
    name="suspects",
    section="final",
    applies=lambda facts: facts.hard is not None and len(facts.hard.suspects) > 0,
    caption=lambda _: "",
    draw=_draw,
)
