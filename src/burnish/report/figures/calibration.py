"""The calibration of a stage on the validation images."""

from __future__ import annotations

from burnish.report.analysis.facts import StageFacts
from burnish.report.drawing.calibration import calibration_titles, draw_calibration
from burnish.report.drawing.style import elide
from burnish.report.figures.figure import Drawing, Figure


def _draw(facts: StageFacts) -> Drawing:
    judged = facts.evidence
    assert judged is not None
    return Drawing(
        draw_calibration(
            judged.calibration,
            judged.recalibrated,
            judged.temperature,
            title=f"Calibration of {elide(facts.name, 22)}, validation",
            source=facts.source,
        ),
        f"Accuracy against confidence of {facts.name} on the validation images of {facts.source}.",
        calibration_titles(judged.calibration, judged.recalibrated),
    )


CALIBRATION = Figure[StageFacts](
    name="calibration",
    section="stage",
    applies=lambda facts: facts.evidence is not None,
    caption=lambda _: (
        "How often images are right that the model is so sure of. On the dotted line confidence "
        "is honest. The temperature divides the logits (Guo et al. 2017); it was fitted on these "
        "same images, so its error here is optimistic."
    ),
    draw=_draw,
    shape="half",
)
