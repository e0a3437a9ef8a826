"""From a study file to a :class:`Study`, strictly.

A study file is TOML. An unknown key, name or kind, a value out of range or a
stage that is not there is an error that says what was given, where, and what
exists, before anything is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from burnish.data import SplitSizes, source_names
from burnish.data.formats.options import ClassCase, LabelsChoice, MasksChoice
from burnish.errors import StudyError, name_what_exists, shorten
from burnish.models import check_params, default_params, find_family, limits_of
from burnish.models.family import Family
from burnish.sizes import parse_size
from burnish.space import Float, SearchSpace, Value, parse_range
from burnish.study.moved import find_moved
from burnish.study.text import apply_override, read_study_text, shipped_studies, show_value
from burnish.training import TrainingSettings
from burnish.tuning.executor import Resources
from burnish.tuning.samplers import find_sampler
from burnish.tuning.schedules import SCHEDULES, Bracket, Promotion, ScheduleOptions

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
Side = Annotated[int, Field(ge=1, le=4096)]
PixelValue = Annotated[float, Field(allow_inf_nan=False)]
Schema = TypeVar("Schema", bound=BaseModel)


Gate = Literal["lowest_val_loss", "must_beat_base"]
"""What becomes of a stage that does not beat its base: it stands all the same, or the base does."""

MAX_DEPTH = 32
"""Tables and lists within each other; a study needs five."""

MAX_BITS = 256
"""Of a whole number; Python would neither show one of many thousands nor make a float of it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(_Strict):
    """The table ``[study]``."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    objective: Literal["val_loss"] = "val_loss"
    description: str = ""


class SplitSection(_Strict):
    """Sizes of the splits: numbers of images, or fractions of them.

    Splits that the data brings along are kept, and have no size here. Of a user's own
    images, ``train`` is by default all that is left.
    """

    train: Annotated[int | float, Field(gt=0)] | None = None
    val: Annotated[int | float, Field(gt=0)] | None = None
    test: Annotated[int | float, Field(gt=0)] | None = None

    def sizes(self) -> SplitSizes | None:
        """Return what :func:`burnish.data.prepare` takes."""
        if self == SplitSection():
            return None
        return SplitSizes(self.train, self.val, self.test)


class DataSection(_Strict):
    """The table ``[data]``: a ``source`` that is known by name, or the ``path`` of images.

    The keys from ``format`` to ``class_case`` belong to ``path``; relative paths count from
    the study file's folder. See :func:`burnish.data.load.load_images`.
    """

    source: str | None = None
    path: str | None = None
    format: str | None = None
    color: Literal["auto", "grey", "rgb"] | None = None
    size: Literal["auto"] | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    resize: Literal["pad", "stretch"] | None = None
    range: (
        Literal["auto"] | Annotated[list[PixelValue], Field(min_length=2, max_length=2)] | None
    ) = None
    max_pixels: Annotated[int, Field(ge=1, le=10**10)] | None = None
    group: str | None = None
    labels: LabelsChoice | None = None
    masks: MasksChoice | None = None
    on_bad_image: Literal["fail", "skip"] | None = None
    image_column: str | None = None
    label_column: str | None = None
    image_root: str | None = None
    class_case: ClassCase | None = None
    class_weight: Literal["none", "balanced"] = "none"
    split: SplitSection = SplitSection()

    def reading(self) -> dict[str, Any]:
        """Return the keys that say how ``path`` is read, as far as they are set."""
        names = (
            "format",
            "color",
            "size",
            "resize",
            "range",
            "max_pixels",
            "group",
            "labels",
            "masks",
            "on_bad_image",
            "image_column",
            "label_column",
            "image_root",
            "class_case",
        )
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if isinstance(self.size, list):
            given["size"] = (self.size[0], self.size[1])
        if self.image_root is not None:
            given["image_root"] = find_data(self.image_root, "image_root")
        return given


class TrainingSection(_Strict):
    """The table ``[training]``, and ``training`` of a stage, whose values go before."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    max_epochs: Annotated[int | float, Field(gt=0, le=100_000)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    learning_rate_schedule: Literal["constant", "one-cycle"] | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    prediction_shift: Annotated[int, Field(ge=0, le=16)] | None = None


class _FittingStage(_Strict):
    """What stages that fit models have in common.

    ``seeds`` fits the stage's own model (of a tuning stage: its winner) so many times, with
    different seeds of everything random, and keeps the run with the lowest validation loss.
    """

    name: Name
    model: str | None = None
    base: str | None = None
    params: dict[str, int | float | str | bool] = {}
    training: TrainingSection = TrainingSection()
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    gate: Gate = "lowest_val_loss"


class TrainStage(_FittingStage):
    """A stage that fits one configuration."""

    kind: Literal["train"]


class ScheduleSection(_Strict):
    """How much training each trial gets: ``schedule`` of a tuning stage.

    ``max_epochs`` is by default that of the stage's training. ``min_epochs`` belongs
    to successive halving alone, ``factor`` to it and to Hyperband. ``promotion`` says
    whether a trial that goes on continues from its checkpoint or starts again.
    """

    name: str = "full"
    max_epochs: Annotated[int | float, Field(gt=0, le=100_000)] | None = None
    min_epochs: Annotated[int | float, Field(gt=0)] | None = None
    factor: Annotated[int, Field(ge=2, le=100)] | None = None
    promotion: Literal["continue", "restart"] | None = None


class ResourcesSection(_Strict):
    """What each fit of a search is given on a cluster: ``resources`` of a tuning stage.

    It says where a fit runs, not what it is: another value makes no stage run again.
    """

    cpus: Annotated[int, Field(ge=1, le=1024)] = 1
    gpus: Annotated[int | float, Field(ge=0, le=64)] = 0
    memory: str | None = None

    @pydantic.field_validator("memory")
    @classmethod
    def _check_memory(cls, memory: str | None) -> str | None:
        try:
            if memory is not None:
                parse_size(memory)
        except ValueError:
            raise PydanticCustomError(
                "size", "a size in quotes, such as '2GB' or '500MB'"
            ) from None
        return memory

    @pydantic.field_validator("gpus")
    @classmethod
    def _check_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise PydanticCustomError("share", "a share of one GPU, or a whole number of them")
        return gpus

    def resources(self) -> Resources:
        """Return what a task asks for; a GB is 10^9 bytes."""
        memory = parse_size(self.memory) if self.memory is not None else None
        return Resources(self.cpus, self.gpus, memory or 0)


class TuneStage(_FittingStage):
    """A stage that searches a space, and refits what won.

    ``points_to_evaluate`` are tried first, behind the base's best, as far as there are trials, but
    for those that ``max_mflops`` leaves out; what one does not name is the stage's own.
    ``max_mflops`` leaves out of the search what takes more million floating-point operations to
    predict an image; see :func:`burnish.models.count_operations`.
    """

    kind: Literal["tune"]
    space: dict[str, Any]
    points_to_evaluate: list[dict[str, Any]] = []
    sampler: str = "tpe"
    schedule: ScheduleSection = ScheduleSection()
    trials: Annotated[int, Field(ge=1, le=100_000)] | None = None
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    max_mflops: Annotated[int | float, Field(gt=0, le=1e9)] | None = None
    refit: TrainingSection = TrainingSection()
    resources: ResourcesSection = ResourcesSection()

    def search_space(self) -> SearchSpace:
        """Return the space as ranges."""
        return SearchSpace({name: parse_range(r) for name, r in self.space.items()})


class FinalStage(_Strict):
    """The last stage: the lowest validation loss of all, then the test split, once."""

    kind: Literal["final"]
    name: Name


STAGE_KINDS: dict[str, type[TrainStage] | type[TuneStage] | type[FinalStage]] = {
    "train": TrainStage,
    "tune": TuneStage,
    "final": FinalStage,
}

FittingStage = TrainStage | TuneStage
Stage = FittingStage | FinalStage


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
        """Return a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def family(self, stage: FittingStage) -> Family:
        """Return the model family of a stage: its own, or its base's."""
        if stage.model is not None:
            return find_family(stage.model)
        base = self.stage(stage.base or "")
        assert not isinstance(base, FinalStage)
        return self.family(base)

    def settings(self, stage: FittingStage) -> TrainingSettings:
        """Return a stage's training settings: its own, then the study's, then the defaults."""
        own = stage.training.model_dump(exclude_none=True)
        given = {**self.training.model_dump(exclude_none=True), **own}
        return TrainingSettings(**given, class_weight=self.data.class_weight)

    def refit_settings(self, stage: TuneStage) -> TrainingSettings:
        """Return the settings by which a tuning stage's winner is trained again."""
        return replace(self.settings(stage), **stage.refit.model_dump(exclude_none=True))

    def is_structure(self, stage: FittingStage, name: str) -> bool:
        """Whether a hyperparameter changes which network a stage's family builds."""
        return self.family(stage).is_structure(name)

    def searches_structure(self, stage: TuneStage) -> bool:
        """Whether the networks of a stage's trials differ from one another."""
        return any(self.is_structure(stage, name) for name in stage.space)

    def knows_structure(self, stage: FittingStage) -> bool:
        """Whether no search before it decides what a stage's own params say of its network."""
        if stage.base is None:
            return True
        base = self.stage(stage.base)
        assert not isinstance(base, FinalStage)
        searched = isinstance(base, TuneStage) and self.searches_structure(base)
        return not searched and self.knows_structure(base)

    def own_settings(self, stage: FittingStage) -> TrainingSettings:
        """Return the settings by which a stage's own model, or its winner, is trained."""
        if isinstance(stage, TuneStage):
            return self.refit_settings(stage)
        return self.settings(stage)

    def brackets(self, stage: TuneStage) -> tuple[Bracket, ...]:
        """Return a tuning stage's rounds."""
        return SCHEDULES.find(stage.schedule.name).plan(self.schedule_options(stage))

    def schedule_options(self, stage: TuneStage) -> ScheduleOptions:
        """Return what a tuning stage says of its schedule."""
        schedule = stage.schedule
        return ScheduleOptions(
            max_epochs=schedule.max_epochs or self.settings(stage).max_epochs,
            trials=stage.trials,
            num_points=stage.search_space().size,
            exhaustive=find_sampler(stage.sampler).exhaustive,
            min_epochs=schedule.min_epochs,
            factor=schedule.factor,
        )

    def promotion(self, stage: TuneStage) -> Promotion:
        """Whether a promoted trial continues; a cut-off cycle is no start to go on from."""
        one_cycle = self.settings(stage).learning_rate_schedule == "one-cycle"
        return stage.schedule.promotion or ("restart" if one_cycle else "continue")

    def initial_params(
        self, stage: FittingStage, best: Mapping[str, Mapping[str, Value]]
    ) -> dict[str, Value]:
        """Return a stage's params: the family's defaults, its base's best, its own.

        Parameters
        ----------
        stage
            Which stage.
        best
            The best params of the stages before it, by stage name.
        """
        inherited = best[stage.base] if stage.base is not None else {}
        return {**default_params(self.family(stage)), **inherited, **stage.params}

    def planned_params(self, stage: FittingStage) -> dict[str, Value]:
        """Return a stage's params as far as the study file alone determines them.

        What a tuning stage will find is not known: the middle of each range stands for it.
        """
        base = self.stage(stage.base) if stage.base is not None else None
        known = base is not None and not isinstance(base, FinalStage)
        best = {base.name: self.planned_params(base)} if base and known else {}  # type: ignore[arg-type]
        params = self.initial_params(stage, best)
        if isinstance(stage, TuneStage):
            for name, r in stage.search_space().ranges.items():
                if isinstance(r, Float) and r.step is None:
                    params[name] = (r.low * r.high) ** 0.5 if r.log else (r.low + r.high) / 2
                else:
                    values = r.values()
                    params[name] = values[len(values) // 2]
        return params


def load_study(study: str, overrides: Sequence[str] = ()) -> tuple[Study, str]:
    """Find, parse and check a study; see :func:`read_study_text` and :func:`parse_study`."""
    text, where = read_study_text(study)
    folder = None if study in shipped_studies() else Path(study).parent
    return parse_study(text, where, overrides, folder)


def parse_study(
    text: str, where: str, overrides: Sequence[str] = (), folder: Path | None = None
) -> tuple[Study, str]:
    """Parse and check a study.

    Parameters
    ----------
    text
        TOML.
    where
        Where it comes from, for messages.
    overrides
        Values given as ``key=value`` (see :func:`apply_override`).
    folder
        Of the study file: what a relative ``path`` of the data counts from; the text that is
        given back has an absolute one. In a run folder, see :func:`find_moved`.

    Returns
    -------
    The study, and the text that says the same with the overrides in it.

    Raises
    ------
    StudyError
        Says what was given, where, what was expected, and what exists.
    """
    content = _parse_toml(text, where)
    for override in overrides:
        apply_override(content, override)
    try:
        _refuse_unwritable(content)
        anchored = folder is not None and _anchor_path(content, folder)
        if overrides or anchored:
            import tomli_w

            text = tomli_w.dumps(content)
            # In the order of the text: a search depends on that of its space.
            content = tomllib.loads(text)
        return _check_study(content), text
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # Also of a number of thousands of digits.
        raise StudyError(f"{where} is not valid TOML: {shorten(str(error))}") from error
    except RecursionError as error:
        raise StudyError(f"{where} is nested too deeply: a study needs five levels") from error


def _refuse_unwritable(content: dict[str, Any]) -> None:
    """Refuse what TOML's grammar lets through, and no study could keep or show.

    Level by level rather than by calling itself: depth is one of the things that are refused.
    """
    level: list[tuple[str, Any]] = [("", content)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, dict):
                start = f"{show_value(path)}." if path else ""
                for key, held in value.items():
                    if not _is_utf8(key):
                        raise StudyError(
                            f"the key {start}{show_value(key)}: expected text in UTF-8"
                        )
                    inner.append((f"{start}{key}", held))
            elif isinstance(value, list):
                inner += [(path, held) for held in value]
            elif isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise StudyError(
                    f"{show_value(path)} is a whole number of more than {MAX_BITS} bits"
                )
            elif isinstance(value, str) and not _is_utf8(value):
                raise StudyError(
                    f"{show_value(path)} = {show_value(value)}: expected text in UTF-8"
                )
        if not inner:
            return
        level = inner
    raise StudyError(f"{show_value(level[0][0])} is nested too deeply: a study needs five levels")


def _is_utf8(text: str) -> bool:
    """Whether text can be written; what stands on a command line may be other bytes."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _anchor_path(content: dict[str, Any], folder: Path) -> bool:
    """Make relative paths of the data absolute, in place, and bring those that moved up to date.

    Returns whether there was anything to do.
    """
    data = content.get("data")
    if not isinstance(data, dict):
        return False
    before = dict(data)
    for key in ("path", "image_root"):
        path = data.get(key)
        if isinstance(path, str):
            whole = find_data(path, key)
            if whole.is_absolute():
                found = find_moved(whole, folder, key)
                data[key] = path if found == whole else str(found)
                continue
            anchored = (folder / path).absolute()
            if not _is_utf8(str(anchored)):  # Perhaps only a folder that is left again: odd/../a.
                anchored = anchored.resolve()
            refuse_unwritable_path(anchored)
            data[key] = str(anchored)
    return data != before


def refuse_unwritable_path(path: Path) -> None:
    """Refuse a path of images that no study file could name.

    Raises
    ------
    StudyError
        If it is not text in UTF-8.
    """
    if not _is_utf8(str(path)):
        raise StudyError(
            f"{path}: the path of the images is not text in UTF-8, as a study file and what a run "
            "records are; rename what is not, or make a link to it of another name (ln -s) and "
            "give that"
        )


def find_data(path: str, key: str = "path") -> Path:
    """Return the path of a study's images; ``~`` is somebody's home folder.

    Parameters
    ----------
    path
        As the study has it.
    key
        Of the table ``[data]``, for messages.

    Raises
    ------
    StudyError
        If nobody is called so, or no path has such a name.
    """
    if "\0" in path:
        raise StudyError(f"[data]: {key} = {show_value(repr(path))}: no path has a zero byte in it")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StudyError(
            f"[data]: {key} = {show_value(repr(path))}: there is no such home folder; write "
            "./~name for a folder that is called so"
        ) from error


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
    _check_data(study.data)
    _check_chain(study)
    return study


def _check_data(data: DataSection) -> None:
    if (data.source is None) == (data.path is None):
        raise StudyError(
            "[data] needs either 'source' (one of " + ", ".join(source_names()) + ") or 'path' "
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
        if data.source not in source_names():
            raise StudyError("[data] " + name_what_exists("source", data.source, source_names()))
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
    where = f"stage '{show_value(table['name'])}'" if "name" in table else f"stage {number}"
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
            if isinstance(stage, TuneStage):
                _check_tuning(study, stage)
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
                shown = show_value(repr(value))
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
                shown = show_value(repr(value))
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


def _validate(schema: type[Schema], table: Any, where: str) -> Schema:
    """Validate one table; the first thing that is wrong becomes a readable error."""
    try:
        return schema.model_validate(table)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = _path_of(first)
        if first["type"] == "extra_forbidden":
            inner = _schema_at(schema, path[:-1])
            existing = inner.model_fields if inner is not None else []
            inside = f" '{show_value('.'.join(path[:-1]))}'" if path[:-1] else ""
            raise StudyError(
                f"{where}{inside}: " + name_what_exists("key", path[-1], existing)
            ) from error
        if first["type"] == "missing":
            raise StudyError(f"{where}: the key '{'.'.join(path)}' is missing") from error
        # Where several types would do, there is an error for each.
        expected = dict.fromkeys(_expectation(e) for e in error.errors() if _path_of(e) == path)
        if "a number" in expected:
            expected.pop("a whole number", None)
        given = f": {show_value('.'.join(path))}" if path else ""
        raise StudyError(
            f"{where}{given} = {show_value(repr(first['input']))}: expected {' or '.join(expected)}"
        ) from error


_TYPE_ERRORS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "dict_type": "a table",
    "list_type": "a list",
    "model_type": "a table",
}
"""What pydantic's errors about types mean in a TOML file."""


def _path_of(error: Any) -> list[str]:
    """Where an error is; where several types would do, pydantic adds the type's name."""
    path = [str(part) for part in error["loc"]]
    named = error["type"] in _TYPE_ERRORS and path and path[-1] in {"int", "float", "str", "bool"}
    return path[:-1] if named else path


def _expectation(error: Any) -> str:
    if error["type"] in _TYPE_ERRORS:
        return _TYPE_ERRORS[error["type"]]
    if error["type"] == "string_pattern_mismatch":
        return "lower-case letters, digits and hyphens, beginning with a letter or digit"
    message = str(error["msg"])
    if error["type"].startswith(("greater_than", "less_than")):
        return message.replace("Input should be", "a number")
    return message.removeprefix("Input should be ").removeprefix("String should have ")


def _schema_at(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    for part in path:
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
