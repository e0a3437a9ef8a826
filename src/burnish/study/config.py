"""From a study file to a :class:`Study`, strictly.

A study file is TOML. An unknown key, name or kind, a value out of range or a
stage that is not there is an error that says what was given, where, and what
exists, before anything is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from burnish.data import SplitSizes, source_names
from burnish.errors import StudyError, name_what_exists
from burnish.models import check_params, default_params, find_family
from burnish.models.family import Family
from burnish.space import Value
from burnish.training import TrainingSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
Schema = TypeVar("Schema", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(_Strict):
    """The table ``[study]``."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    objective: Literal["val_loss"] = "val_loss"
    description: str = ""


class SplitSection(_Strict):
    """Sizes of the splits: numbers of images, or fractions of them."""

    train: Annotated[int | float, Field(gt=0)]
    val: Annotated[int | float, Field(gt=0)]
    test: Annotated[int | float, Field(gt=0)] | None = None

    def sizes(self) -> SplitSizes:
        """Give what :func:`burnish.data.prepare` takes."""
        return SplitSizes(self.train, self.val, self.test)


class DataSection(_Strict):
    """The table ``[data]``."""

    source: str
    split: SplitSection


class TrainingSection(_Strict):
    """The table ``[training]``, and ``training`` of a stage, whose values go before."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    max_epochs: Annotated[int | float, Field(gt=0, le=100_000)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    learning_rate_schedule: Literal["constant", "one-cycle"] | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None


class TrainStage(_Strict):
    """A stage that fits one configuration."""

    kind: Literal["train"]
    name: Name
    model: str | None = None
    base: str | None = None
    params: dict[str, int | float | str | bool] = {}
    training: TrainingSection = TrainingSection()


class FinalStage(_Strict):
    """The last stage: the lowest validation loss of all, then the test split, once."""

    kind: Literal["final"]
    name: Name


STAGE_KINDS: dict[str, type[TrainStage] | type[FinalStage]] = {
    "train": TrainStage,
    "final": FinalStage,
}

Stage = TrainStage | FinalStage


class Study(_Strict):
    """A whole study, checked: every stage's model exists, its base goes before it."""

    study: StudySection
    data: DataSection
    training: TrainingSection = TrainingSection()
    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def seed(self) -> int:
        """Seed that every random choice derives from."""
        return self.study.seed

    def stage(self, name: str) -> Stage:
        """Give a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def family(self, stage: TrainStage) -> Family:
        """Give the model family of a stage: its own, or its base's."""
        if stage.model is not None:
            return find_family(stage.model)
        base = self.stage(stage.base or "")
        assert isinstance(base, TrainStage)
        return self.family(base)

    def settings(self, stage: TrainStage) -> TrainingSettings:
        """Give a stage's training settings: its own, then the study's, then the defaults."""
        own = stage.training.model_dump(exclude_none=True)
        return TrainingSettings(**{**self.training.model_dump(exclude_none=True), **own})

    def initial_params(
        self, stage: TrainStage, best: Mapping[str, Mapping[str, Value]]
    ) -> dict[str, Value]:
        """Give a stage's params: the family's defaults, its base's best, its own.

        Parameters
        ----------
        stage
            Which stage.
        best
            The best params of the stages before it, by stage name.
        """
        inherited = best[stage.base] if stage.base is not None else {}
        return {**default_params(self.family(stage)), **inherited, **stage.params}

    def planned_params(self, stage: TrainStage) -> dict[str, Value]:
        """Give a stage's params as far as the study file alone determines them."""
        base = self.stage(stage.base) if stage.base is not None else None
        best = {base.name: self.planned_params(base)} if isinstance(base, TrainStage) else {}
        return self.initial_params(stage, best)


def shipped_studies() -> dict[str, str]:
    """Texts of the studies that ship with burnish, by name."""
    folder = resources.files("burnish.study") / "studies"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda f: f.name
    )
    return {file.name.removesuffix(".toml"): file.read_text(encoding="utf-8") for file in files}


def read_study_text(study: str) -> tuple[str, str]:
    """Find a study by the name of one that ships, or by the path of a file.

    Returns
    -------
    The TOML text, and where it comes from, for messages.

    Raises
    ------
    StudyError
        If there is neither.
    """
    shipped = shipped_studies()
    if study in shipped:
        return shipped[study], f"the study '{study}'"
    path = Path(study)
    if path.suffix == ".toml" or path.exists():
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(
                f"cannot read the study file {path}: {getattr(error, 'strerror', None) or error}"
            ) from error
    raise StudyError(
        name_what_exists("study", study, shipped) + "; or give the path of a .toml file"
    )


def parse_study(text: str, where: str, overrides: Sequence[str] = ()) -> tuple[Study, str]:
    """Parse and check a study.

    Parameters
    ----------
    text
        TOML.
    where
        Where it comes from, for messages.
    overrides
        Values given as ``key=value`` (see :func:`apply_override`).

    Returns
    -------
    The study, and the text that says the same with the overrides in it.

    Raises
    ------
    StudyError
        Says what was given, where, what was expected, and what exists.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{where} is not valid TOML: {error}") from error
    for override in overrides:
        apply_override(content, override)
    if overrides:
        import tomli_w

        text = tomli_w.dumps(content)
    try:
        return _check_study(content), text
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one value in a study's content, in place.

    ``stage.key=value`` sets a key of the stage of that name, ``table.key=value`` one
    of ``study``, ``data`` or ``training``; further dots go into inner tables:
    ``cnn.params.learning_rate=0.002``, ``data.split.train=5000``. Values are TOML;
    what is not counts as a string.

    Raises
    ------
    StudyError
        If it has no ``=``, or the table or stage does not exist.
    """
    key, equals, value_text = override.partition("=")
    head, *inner = key.strip().split(".")
    if not equals or not inner or not all([head, *inner]):
        raise StudyError(
            f"--set {override}: expected stage.key=value, for example cnn.training.max_epochs=3"
        )
    try:
        value: Any = tomllib.loads(f"value = {value_text}")["value"]
    except tomllib.TOMLDecodeError:
        value = value_text.strip()
    stages = content.get("stage", [])
    names = {s["name"]: s for s in stages if isinstance(s, dict) and isinstance(s.get("name"), str)}
    if head in {"study", "data", "training"}:
        table = content.setdefault(head, {})
    elif head in names:
        table = names[head]
    else:
        existing = [*names, "study", "data", "training"]
        raise StudyError(f"--set {override}: " + name_what_exists("stage or table", head, existing))
    for part in inner[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise StudyError(f"--set {override}: '{part}' is a value, not a table")
    table[inner[-1]] = value


def _check_study(content: dict[str, Any]) -> Study:
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
        key: _validate(schema, content.get(key, {}), f"[{key}]") for key, schema in known.items()
    }
    tables = content.get("stage", [])
    if not isinstance(tables, list) or not tables:
        raise StudyError("there is no stage: a study needs at least one [[stage]] table")
    stages = tuple(_check_stage(table, number) for number, table in enumerate(tables, start=1))
    study = Study.model_validate({**sections, "stages": stages})
    if study.data.source not in source_names():
        raise StudyError("[data] " + name_what_exists("source", study.data.source, source_names()))
    _check_chain(study)
    return study


def _check_stage(table: Any, number: int) -> Stage:
    if not isinstance(table, dict):
        raise StudyError(f"stage {number} is not a table: write [[stage]] above its keys")
    where = f"stage '{table.get('name', number)}'"
    kind = table.get("kind")
    if kind is None:
        raise StudyError(f"{where}: the key 'kind' is missing: one of {', '.join(STAGE_KINDS)}")
    if not isinstance(kind, str) or kind not in STAGE_KINDS:
        raise StudyError(f"{where}: " + name_what_exists("kind", str(kind), STAGE_KINDS))
    stage: Stage = _validate(STAGE_KINDS[kind], table, where)
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
        before[stage.name] = stage


def _check_base(study: Study, stage: TrainStage, before: Mapping[str, Stage]) -> None:
    where = f"stage '{stage.name}'"
    if stage.model is None and stage.base is None:
        raise StudyError(f"{where} needs a 'model' (a family) or a 'base' (an earlier stage)")
    if stage.model is not None:
        try:
            find_family(stage.model)
        except StudyError as error:
            raise StudyError(f"{where}: {error}") from error
    if stage.base is None:
        return
    if stage.base not in before:
        later = any(other.name == stage.base for other in study.stages)
        if later:
            raise StudyError(f"{where}: its base '{stage.base}' must come before it")
        existing = list(before) or ["(no stage comes before it)"]
        raise StudyError(f"{where}: " + name_what_exists("base stage", stage.base, existing))
    base = before[stage.base]
    assert isinstance(base, TrainStage)
    if stage.model is not None and study.family(base).name != stage.model:
        raise StudyError(
            f"{where}: model '{stage.model}' cannot take params from its base '{base.name}', "
            f"which is a '{study.family(base).name}'"
        )


def _validate(schema: type[Schema], table: Any, where: str) -> Schema:
    """Validate one table; the first thing that is wrong becomes a readable error."""
    try:
        return schema.model_validate(table)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"] if part not in {"int", "float"}]
        if first["type"] == "extra_forbidden":
            inner = _schema_at(schema, path[:-1])
            existing = inner.model_fields if inner is not None else []
            inside = f" '{'.'.join(path[:-1])}'" if path[:-1] else ""
            raise StudyError(
                f"{where}{inside}: " + name_what_exists("key", path[-1], existing)
            ) from error
        if first["type"] == "missing":
            raise StudyError(f"{where}: the key '{'.'.join(path)}' is missing") from error
        given = first["input"]
        raise StudyError(
            f"{where}: {'.'.join(path) or 'table'} = {given!r}: {_expectation(first)}"
        ) from error


def _expectation(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch":
        return "expected lower-case letters, digits and hyphens, beginning with a letter or digit"
    message = str(error["msg"])
    return (
        "expected " + message[len("Input should be ") :]
        if message.startswith("Input should be ")
        else message
    )


def _schema_at(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    for part in path:
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
