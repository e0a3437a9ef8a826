"""What a study file must hold beyond the types of its keys: bases, spaces, schedules, points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from burnish.data import SOURCES
from burnish.errors import StudyError, name_what_exists, shorten
from burnish.models import check_params, find_family, limits_of
from burnish.space import Float, parse_range
from burnish.study.data_paths import find_data
from burnish.study.explain import validate
from burnish.study.schema import (
    STAGE_KINDS,
    DataSection,
    FinalStage,
    FittingStage,
    Stage,
    StudySection,
    TrainingSection,
    TuneStage,
)
from burnish.study.study import Study
from burnish.study.text import quote
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import SCHEDULES


def check_study(content: dict[str, Any]) -> Study:
    """Check what a study file holds, table by table and as a whole; see `parse_study`."""
    known: dict[str, type[BaseModel]] = {
        "study": StudySection,
        "data": DataSection,
        "training": TrainingSection,
    }
    for key in content:
        if key not in {*known, "stage"}:
            raise StudyError(name_what_exists("table", key, [*known, "stage"]))
    for key in ("study", "data"):
        if key not in content:
            raise StudyError(f"the table [{key}] is missing")
    sections = {
        key: validate(schema, content.get(key, {}), f"[{key}]") for key, schema in known.items()
    }
    tables = content.get("stage", [])
    if not isinstance(tables, list) or not tables:
        raise StudyError("there is no stage: a study needs at least one [[stage]] table")
    stages = tuple(_check_stage(table, number) for number, table in enumerate(tables, start=1))
    study = Study.model_validate({**sections, "stages": stages})
    _check_data(study.data)
    _check_chain(study)
    return study


def _check_data(data: DataSection) -> None:
    if (data.source is None) == (data.path is None):
        raise StudyError(
            "[data] needs either 'source' (one of " + ", ".join(SOURCES.names()) + ") or 'path' "
            "(a folder or file of your own images)"
        )
    if data.path is not None:
        find_data(data.path)
        data.reading()
    if isinstance(data.range, list) and data.range[0] >= data.range[1]:
        raise StudyError(
            f"[data] range = {data.range}: expected the values that become black and white, the "
            "lower first, such as [0, 4095]"
        )
    if data.source is not None:
        if data.source not in SOURCES:
            raise StudyError("[data] " + name_what_exists("source", data.source, SOURCES.names()))
        for name in ("train", "val"):
            if getattr(data.split, name) is None:
                raise StudyError(
                    f"[data]: the key 'split.{name}' is missing: a number of images, or a fraction"
                )
        if data.reading():
            raise StudyError(
                f"[data] {', '.join(data.reading())}: belongs to images with a 'path'; "
                f"the source '{data.source}' is read in one way only"
            )


def _check_stage(table: Any, number: int) -> Stage:
    if not isinstance(table, dict):
        raise StudyError(f"stage {number} is not a table: write [[stage]] above its keys")
    where = f"stage '{quote(table['name'])}'" if "name" in table else f"stage {number}"
    kind = table.get("kind")
    if kind is None:
        raise StudyError(f"{where}: the key 'kind' is missing: one of {', '.join(STAGE_KINDS)}")
    if not isinstance(kind, str) or kind not in STAGE_KINDS:
        raise StudyError(f"{where}: " + name_what_exists("kind", str(kind), STAGE_KINDS))
    stage: Stage = validate(STAGE_KINDS[kind], table, where)
    return stage


def _check_chain(study: Study) -> None:
    before: dict[str, Stage] = {}
    for number, stage in enumerate(study.stages, start=1):
        where = f"stage '{stage.name}'"
        if stage.name in before:
            raise StudyError(f"{where} is there twice: every stage needs a name of its own")
        if stage.name in {"study", "data", "training"}:
            raise StudyError(f"{where}: that name is a table's; choose another")
        if isinstance(stage, FinalStage):
            if number != len(study.stages):
                raise StudyError(f"{where} is final and must be the last stage")
            if not before:
                raise StudyError(f"{where} has no stage before it to choose from")
        else:
            _check_base(study, stage, before)
            try:
                check_params(study.family(stage), stage.params)
            except StudyError as error:
                raise StudyError(f"{where}, params: {error}") from error
            if isinstance(stage, TuneStage):
                _check_tuning(study, stage)
            _check_start(study, stage, before)
        before[stage.name] = stage


def _check_tuning(study: Study, stage: TuneStage) -> None:
    """Refuse a tuning stage whose space, sampler or schedule cannot be used."""
    where = f"stage '{stage.name}'"
    if not stage.space:
        raise StudyError(f"{where}: its space is empty: name at least one hyperparameter")
    limits = limits_of(study.family(stage)).ranges
    for name, given in stage.space.items():
        if name not in limits:
            unknown = name_what_exists("hyperparameter", name, limits)
            raise StudyError(f"{where}, space of model '{study.family(stage).name}': {unknown}")
        if name in stage.params:
            raise StudyError(f"{where}: {name} stands in params and in space; take one away")
        try:
            r = parse_range(given)
        except ValueError as error:
            raise StudyError(f"{where}, space: {name}: {shorten(str(error))}") from error
        countless = isinstance(r, Float) and r.step is None
        for value in (given["low"], given["high"]) if countless else r.values():
            if value not in limits[name]:
                shown = quote(repr(value))
                raise StudyError(
                    f"{where}, space: {name} = {shown} is out of range: expected {limits[name]}"
                )
    try:
        sampler = find_sampler(stage.sampler)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error
    if stage.max_mflops is not None and not study.searches_structure(stage):
        raise StudyError(
            f"{where}: max_mflops leaves out large networks, and nothing in its space changes the "
            "network; take it away, or set it where the structure is searched"
        )
    if sampler.exhaustive and stage.search_space().size is None:
        raise StudyError(f"{where}: a {sampler.name} needs ranges with steps, or lists of options")
    _check_schedule(study, stage)
    _check_points(study, stage)


def _check_points(study: Study, stage: TuneStage) -> None:
    """Refuse a point to be tried first that does not lie in the stage's space."""
    points, ranges = stage.points_to_evaluate, stage.search_space().ranges
    where = f"stage '{stage.name}', points_to_evaluate"
    for point in points:
        if not point:
            raise StudyError(f"{where}: a point that names nothing; take it away")
        for name, value in point.items():
            if name not in ranges:
                raise StudyError(
                    f"{where}: " + name_what_exists("range of its space", name, ranges)
                )
            if value not in ranges[name]:
                shown = quote(repr(value))
                raise StudyError(
                    f"{where}: {name} = {shown} is out of its space: expected {ranges[name]}"
                )


def _check_schedule(study: Study, stage: TuneStage) -> None:
    where = f"stage '{stage.name}'"
    try:
        schedule = SCHEDULES.find(stage.schedule.name)
    except StudyError as error:
        raise StudyError(f"{where}, schedule.name: {error}") from error
    misuse = schedule.explain_misuse(study.schedule_options(stage))
    if misuse is not None:
        raise StudyError(f"{where}: {misuse}")


def _check_start(study: Study, stage: FittingStage, before: Mapping[str, Stage]) -> None:
    """Refuse weights that a stage cannot start from, as far as the study file shows it."""
    if stage.start_from is None:
        return
    where = f"stage '{stage.name}', start_from"
    if stage.start_from not in before:
        raise StudyError(
            f"{where}: " + name_what_exists("stage before it", stage.start_from, before)
        )
    start = before[stage.start_from]
    if isinstance(start, FinalStage) or study.family(start) is not study.family(stage):
        raise StudyError(
            f"{where}: '{stage.start_from}' is no '{study.family(stage).name}', whose weights it "
            "could be given"
        )
    searched = isinstance(start, TuneStage) and study.searches_structure(start)
    if not searched and study.knows_structure(start) and study.knows_structure(stage):
        why = study.explain_start(stage, study.planned_params(start), study.planned_params(stage))
        if why is not None:
            raise StudyError(f"{where}: {why}")


def _check_base(study: Study, stage: FittingStage, before: Mapping[str, Stage]) -> None:
    where = f"stage '{stage.name}'"
    if stage.model is None and stage.base is None:
        raise StudyError(f"{where} needs a 'model' (a family) or a 'base' (an earlier stage)")
    if stage.model is not None:
        try:
            find_family(stage.model)
        except StudyError as error:
            raise StudyError(f"{where}: {error}") from error
    if stage.base is None:
        if stage.gate == "must_beat_base":
            raise StudyError(f"{where}: gate = 'must_beat_base' needs a 'base' to beat")
        return
    if stage.base not in before:
        later = any(other.name == stage.base for other in study.stages)
        if later:
            raise StudyError(f"{where}: its base '{stage.base}' must come before it")
        if not before:
            raise StudyError(f"{where}: its base '{stage.base}' must be a stage before it")
        raise StudyError(f"{where}: " + name_what_exists("base stage", stage.base, before))
    base = before[stage.base]
    assert not isinstance(base, FinalStage)
    if stage.model is not None and study.family(base).name != stage.model:
        raise StudyError(
            f"{where}: model '{stage.model}' cannot take params from its base '{base.name}', "
            f"which is a '{study.family(base).name}'"
        )
