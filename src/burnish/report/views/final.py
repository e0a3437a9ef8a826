"""The final stage of a run as the page shows it: the test split, and what is hard about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.advice.doubtful_labels import DoubtfulLabel
from burnish.metrics import balanced_accuracy
from burnish.report.analysis.evidence import TestCalibration
from burnish.report.analysis.final import MAX_SHOWN, FinalFacts, HardImages
from burnish.report.drawing.figure_set import FigureSet
from burnish.report.drawing.images import name_probability
from burnish.report.formatting import name_image
from burnish.report.views.gallery import Exhibit, make_exhibit
from burnish.report.views.pictures import PictureView, draw_section
from burnish.report.views.stage import StageView
from burnish.stats.class_rates import ClassRates, rate_classes
from burnish.stats.intervals import Interval


@dataclass(frozen=True)
class HardView:
    """Validation images that every stage got wrong, and those whose label is likely wrong.

    Both galleries hold the images whose pictures the run keeps, `MAX_SHOWN` at most.
    """

    num_stages: int
    has_names: bool
    num_always_wrong: int
    always_wrong: Sequence[Exhibit]
    num_suspects: int
    suspects: Sequence[Exhibit]
    listed: Sequence[DoubtfulLabel]


@dataclass(frozen=True)
class FinalView:
    """The final stage as the page shows it."""

    chosen: str
    chosen_anchor: str
    model: str
    why: str
    accuracy: float
    interval: Interval
    loss: float
    balanced: bool
    balanced_accuracy: float
    num_images: int
    num_correct: int
    classes: Sequence[tuple[str, ClassRates]]
    confusions: Sequence[tuple[str, str, int, float]]
    has_names: bool
    mistakes: Sequence[Exhibit]
    pictures: Mapping[str, PictureView]
    calibrated: TestCalibration | None
    hard: HardView | None


def view_final(facts: FinalFacts, stages: Sequence[StageView], figure_set: FigureSet) -> FinalView:
    """Collect what the page shows of the test split, and draw its pictures."""
    result, test, kept, names = facts.record.result, facts.test, facts.kept, facts.class_names
    anchors = {stage.name: stage.anchor for stage in stages}
    low, high = test["accuracy_interval"]
    return FinalView(
        chosen=facts.chosen,
        chosen_anchor=anchors.get(facts.chosen, "stages"),
        model=str(result.get("model", "")),
        why=_explain_choice(facts.chosen, stages),
        accuracy=float(test["accuracy"]),
        interval=(float(low), float(high)),
        loss=float(test["loss"]),
        balanced=result.get("class_weight") == "balanced",
        balanced_accuracy=balanced_accuracy(kept.probabilities, kept.labels),
        num_images=int(test["num_images"]),
        num_correct=int(test["num_correct"]),
        classes=list(zip(names, rate_classes(facts.counts), strict=True)),
        confusions=facts.confusions,
        has_names=kept.names is not None,
        mistakes=_show_mistakes(facts),
        pictures=draw_section("final", facts, figure_set),
        calibrated=facts.calibrated,
        hard=_view_hard(facts.hard, names) if facts.hard else None,
    )


def _show_mistakes(facts: FinalFacts) -> list[Exhibit]:
    kept, names = facts.kept, facts.class_names
    return [
        make_exhibit(
            image,
            name_image(kept.names, row),
            f"{names[kept.labels[row]]} → {names[kept.predicted[row]]}",
            name_probability(float(p)),
        )
        for image, row, p in zip(
            facts.wrong_images, facts.wrong.tolist(), facts.wrong_probabilities, strict=True
        )
    ]


def _view_hard(hard: HardImages, names: Sequence[str]) -> HardView:
    judge = hard.judge

    def show(said: Mapping[int, str]) -> list[Exhibit]:
        return [
            make_exhibit(
                hard.images[row],
                name_image(judge.names, row),
                f"{names[judge.labels[row]]} → {other}",
            )
            for row, other in said.items()
        ]

    return HardView(
        num_stages=hard.num_stages,
        has_names=judge.names is not None,
        num_always_wrong=hard.num_always_wrong,
        always_wrong=show(hard.always_wrong),
        num_suspects=len(hard.doubtful),
        suspects=show(hard.suspects),
        listed=hard.doubtful[:MAX_SHOWN],
    )


def _explain_choice(chosen: str, stages: Sequence[StageView]) -> str:
    ranked = sorted(stages, key=lambda stage: stage.val_loss)
    if ranked[0].name != chosen:
        return f"The study's own objective chose {chosen}."
    if len(ranked) == 1:
        return f"There was one candidate, {chosen}."
    return (
        f"Of {len(ranked)} stages, {chosen} has the lowest validation loss, "
        f"{ranked[0].val_loss:.4f}; next is {ranked[1].name} with {ranked[1].val_loss:.4f}."
    )
