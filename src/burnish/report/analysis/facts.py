"""What a run folder says of the run and of each stage; figures and texts are made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.augmentation import OPERATIONS
from burnish.report.analysis.evidence import Comparison, Evidence, StageEvidence
from burnish.report.analysis.search import Cost, Step, count_cost, list_steps
from burnish.report.formatting import need
from burnish.runfolder.store import StageRecord
from burnish.space import Range
from burnish.stats.intervals import Interval, wilson_interval


@dataclass(frozen=True)
class StageFacts:
    """One stage that fitted models.

    Attributes
    ----------
    record, base
        The stage, and the one that it is built on.
    source
        Name of the data.
    history, best_epoch
        Its fit, a mapping for each epoch, and the epoch whose weights were kept.
    space
        What the stage searched; empty where it did not.
    steps
        The rounds of its trials.
    cost
        What it took.
    evidence, comparison
        What its predictions say, and how it stands to its base; ``None`` where none were kept.
    """

    record: StageRecord
    base: StageRecord | None
    source: str
    history: Sequence[Mapping[str, float]]
    best_epoch: float | None
    space: Mapping[str, Range]
    steps: Sequence[Step]
    cost: Cost
    evidence: StageEvidence | None
    comparison: Comparison | None

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.record.name

    @property
    def slug(self) -> str:
        """The name of its folder without the number."""
        return self.record.folder.name[3:]

    @property
    def result(self) -> Mapping[str, Any]:
        """What its ``result.json`` says."""
        return self.record.result

    @property
    def params(self) -> dict[str, Any]:
        """Its hyperparameters."""
        return dict(self.result.get("params", {}))

    @property
    def val_loss(self) -> float:
        """Loss on the validation images, in nats."""
        return float(self.result["val_loss"])

    @property
    def val_accuracy(self) -> float:
        """Accuracy on the validation images, 0 to 1."""
        return float(self.result["val_accuracy"])

    @property
    def interval(self) -> Interval | None:
        """Wilson 95 % interval of the validation accuracy, if its images were counted."""
        num_val = self.result.get("num_val")
        if not num_val:
            return None
        return wilson_interval(round(self.val_accuracy * int(num_val)), int(num_val))

    @property
    def noise(self) -> str:
        """What disturbs the training numbers: they are taken with it, validation without."""
        params = self.params
        names = ["dropout"] if params.get("dropout_rate") else []
        if any(operation.is_on(params) for operation in OPERATIONS):
            names.append("augmentation")
        return " and ".join(names)

    @property
    def trials(self) -> list[Mapping[str, Any]]:
        """Its trials; empty where it did not search."""
        return list(self.result.get("trials") or ())

    @property
    def best_trial(self) -> int:
        """Number of the trial that won."""
        return int(self.result["best_trial"])

    @property
    def importances(self) -> dict[str, float]:
        """Share of the losses' variance by hyperparameter."""
        return dict(self.result.get("importances") or {})

    @property
    def searched(self) -> dict[str, Range]:
        """The ranges of those hyperparameters that the trials differ in."""
        names = self.trials[0]["params"]
        return {name: r for name, r in self.space.items() if name in names}


@dataclass(frozen=True)
class RunFacts:
    """The whole run.

    Attributes
    ----------
    source
        Name of the data.
    stages
        Its finished stages that fitted models, in their order.
    chosen
        Name of the chosen stage; ``None`` before there is one.
    evidence
        What the predictions of all stages say.
    """

    source: str
    stages: Sequence[StageFacts]
    chosen: str | None
    evidence: Evidence


def read_stage(
    record: StageRecord,
    fits: Sequence[StageRecord],
    evidence: Evidence,
    space: Mapping[str, Range],
    source: str,
    num_train: int,
) -> StageFacts:
    """Collect the facts of a stage.

    Parameters
    ----------
    record, fits
        The stage, and all stages that fitted models.
    evidence
        Of the whole run.
    space
        What the stage searched; empty where it did not.
    source, num_train
        Name of the data, and its number of training images.

    Raises
    ------
    RunFolderError
        If the stage's record lacks something, or its history cannot be read.
    """
    result = record.result
    for key in ("model", "val_loss", "val_accuracy"):
        need(result, key, record.folder)
    history = record.history()
    best_epoch = result.get("best_epoch")
    if history and best_epoch is None:
        best_epoch = min(history, key=lambda row: row["val_loss"])["epoch"]
    return StageFacts(
        record=record,
        base=next((fit for fit in fits if fit.name == result.get("base")), None),
        source=source,
        history=history,
        best_epoch=None if best_epoch is None else float(best_epoch),
        space=space,
        steps=list_steps(record, num_train),
        cost=count_cost(record, num_train),
        evidence=evidence.stages.get(record.name),
        comparison=evidence.against_base(record.name),
    )
