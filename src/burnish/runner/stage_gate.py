"""The gate behind a stage that must beat its base."""

from __future__ import annotations

from typing import Any

from burnish.runner.stage_context import StageContext
from burnish.runner.stage_result import StageResult
from burnish.stages.gate import apply_gate
from burnish.study.schema import FinalStage, Stage


def pass_gate(context: StageContext, stage: Stage, result: StageResult) -> dict[str, Any]:
    """Return a stage's result for ``result.json``.

    If the stage must beat its base and does not, the result and the model are its base's.
    """
    given = result.as_dict()
    if isinstance(stage, FinalStage) or stage.base is None or stage.gate != "must_beat_base":
        return given
    base_dir = context.find_stage_dir(stage.base)
    gated = apply_gate(given, context.stage_dir, context.results[stage.base], base_dir)
    if not gated["gate"]["passed"]:
        context.observer.on_note(
            f"stage '{stage.name}' does not beat its base '{stage.base}' by more than "
            "chance: the base's params and model stay"
        )
    return gated
