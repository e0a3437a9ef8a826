"""The tables of a study file, as pydantic models: which keys there are, and what each may be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from burnish.data import SplitSizes
from burnish.data.formats.options import ClassCase, LabelsChoice, MasksChoice
from burnish.sizes import parse_size
from burnish.space import SearchSpace, parse_range
from burnish.study.data_paths import find_data
from burnish.tuning.executor import Resources

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]


Side = Annotated[int, Field(ge=1, le=4096)]


PixelValue = Annotated[float, Field(allow_inf_nan=False)]


Seconds = Annotated[int | float, Field(gt=0, le=1e8)]


Decision = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]
"""Of a fit's pace; see :mod:`burnish.training.pace`."""


Gate = Literal["lowest_val_loss", "must_beat_base"]
"""What becomes of a stage that does not beat its base: it stands all the same, or the base does."""


class Strict(BaseModel):
    """A table: unknown keys, and values of other types, are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(Strict):
    """The table ``[study]``."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    objective: Literal["val_loss"] = "val_loss"
    description: str = ""


class SplitSection(Strict):
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


class DataSection(Strict):
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


class TrainingSection(Strict):
    """The table ``[training]``, and ``training`` of a stage, whose values go before.

    ``max_seconds`` ends a stage's own fit in time, whatever the machine does meanwhile; ``pace`` is
    what a run decided by it, and does the same again without the clock. Trials have neither.
    """

    batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    max_epochs: Annotated[int | float, Field(gt=0, le=100_000)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    learning_rate_schedule: Literal["constant", "one-cycle"] | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    prediction_shift: Annotated[int, Field(ge=0, le=16)] | None = None
    max_seconds: Seconds | None = None
    pace: list[Decision] | None = None
    prediction_flip: bool | None = None


class _FittingStage(Strict):
    """What stages that fit models have in common.

    ``seeds`` fits the stage's own model (of a tuning stage: its winner) so many times, with
    different seeds of everything random, and keeps the run with the lowest validation loss.
    ``start_from`` names an earlier stage whose weights every fit of this one starts from; without
    it, params alone are inherited. ``share`` is the stage's part of the minutes that a run is
    given, beside the shares of the other stages.
    """

    name: Name
    model: str | None = None
    base: str | None = None
    params: dict[str, int | float | str | bool] = {}
    training: TrainingSection = TrainingSection()
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    start_from: Name | None = None
    gate: Gate = "lowest_val_loss"
    share: Annotated[int | float, Field(gt=0, le=1000)] | None = None


class TrainStage(_FittingStage):
    """A stage that fits one configuration."""

    kind: Literal["train"]


class ScheduleSection(Strict):
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


class ResourcesSection(Strict):
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
    predict an image; see :func:`burnish.models.count_operations`. ``max_seconds`` ends the search:
    after so many seconds no further trial begins.
    """

    kind: Literal["tune"]
    space: dict[str, Any]
    points_to_evaluate: list[dict[str, Any]] = []
    sampler: str = "tpe"
    schedule: ScheduleSection = ScheduleSection()
    trials: Annotated[int, Field(ge=1, le=100_000)] | None = None
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    max_mflops: Annotated[int | float, Field(gt=0, le=1e9)] | None = None
    max_seconds: Seconds | None = None
    refit: TrainingSection = TrainingSection()
    resources: ResourcesSection = ResourcesSection()

    def search_space(self) -> SearchSpace:
        """Return the space as ranges."""
        return SearchSpace({name: parse_range(r) for name, r in self.space.items()})


class FinalStage(Strict):
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
