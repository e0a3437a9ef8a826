"""The calibration of the final model on the test images."""

from __future__ import annotations

from burnish.report.analysis.final import FinalFacts
from burnish.report.drawing.calibration import calibration_titles, draw_calibration
from burnish.report.figures.figure import Drawing, Figure


def _draw(facts: FinalFacts) -> Drawing:
    found = facts.calibrated
    assert found is not None
    return Drawing(
        draw_calibration(
            found.calibration,
            found.recalibrated,
            found.temperature,
            title="Calibration of the final model, test split",
            source=facts.source,
        ),
        f"Accuracy against confidence of the final model on the test images of {facts.source}.",
        calibration_titles(found.calibration, found.recalibrated),
    )


FINAL_CALIBRATION = Figure[FinalFacts](
    name="final-calibration",
    section="final",
    applies=lambda facts: facts.calibrated is not None,
    caption=lambda _: (
        "How often test images are right that the model is so sure of. On the dotted line "
        "confidence is honest."
    ),
    draw=_draw,
    shape="half",
    file="calibration",
)
