"""Validation images that every stage got wrong; it lies beside the page."""

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
        hard.always_wrong,
        title="Wrong in every stage",
        subtitle=f"{{num}} of {hard.num_always_wrong:,} validation images; "
        "label → said by the final model",
    )
    return Drawing(figure, form="beside")


ALWAYS_WRONG = Figure[FinalFacts](
    name="always-wrong",
    section="final",
    applies=lambda facts: facts.hard is not None and len(facts.hard.always_wrong) > 0,
    caption=lambda _: "",
    draw=_draw,
)
