"""Test images that are wrong with the most confidence; it lies beside the page."""

from __future__ import annotations

from burnish.report.analysis.final import FinalFacts
from burnish.report.drawing.images import draw_images, name_probability
from burnish.report.figures.figure import Drawing, Figure


def _draw(facts: FinalFacts) -> Drawing:
    kept, names = facts.kept, facts.class_names
    return Drawing(
        draw_images(
            facts.wrong_images,
            [names[label] for label in kept.labels[facts.wrong]],
            [names[label] for label in kept.predicted[facts.wrong]],
            [name_probability(float(p)) for p in facts.wrong_probabilities],
            title="Wrong with the most confidence",
            source=facts.source,
            subtitle=f"{{num}} of {int((~kept.right).sum()):,} wrong test images; "
            "true → predicted, p = its probability",
        ),
        form="beside",
    )


MISTAKES = Figure[FinalFacts](
    name="mistakes",
    section="final",
    applies=lambda facts: len(facts.wrong) > 0,
    caption=lambda _: "",
    draw=_draw,
)
