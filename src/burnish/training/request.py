"""What a fit is asked, and what it gives: plain data that can cross a process boundary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from burnish.space import Params
from burnish.training.pace import Decision

LearningRateSchedule = Literal["constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
ClassWeight = Literal["none", "balanced"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained, apart from its hyperparameters.

    Attributes
    ----------
    batch_size
        Images per step.
    max_epochs
        Budget of a fit in epochs; fractions of one are allowed.
    patience
        Early stopping after this many epochs without a lower validation loss.
        A one-cycle learning rate is always run to its end: what has not been
        annealed cannot be judged.
    learning_rate_schedule
        ``constant``, or ``one-cycle``: linearly up to the learning rate over the
        first quarter of the budget, linearly down to zero over the rest.
    precision
        ``auto`` takes bfloat16 activations for convolutional models where the
        processor has bfloat16 arithmetic. Weights are float32 always.
    class_weight
        ``balanced`` weights every image by its class, in training and in the
        validation loss, so that each class counts the same (see
        :func:`burnish.metrics.balance_classes`).
    prediction_shift
        Pixels by which the fitted model shifts an image to four sides, to average its
        probabilities over them and the image itself; 0: it looks at the image alone. While
        a fit runs, and in trials, the image alone is looked at.
    max_seconds
        Seconds that a fit may take, with all that belongs to it. It takes at most
        ``max_epochs`` in them, and its learning rates follow the steps that there is time for.
    pace
        What was decided in a fit with ``max_seconds``; given, it decides instead of the clock
        (see :mod:`burnish.training.pace`).
    prediction_flip
        Whether it averages over the image mirrored left to right as well, and, with
        ``prediction_shift``, over the shifts of both.
    """

    batch_size: int = 128
    max_epochs: float = 100
    patience: int = 5
    learning_rate_schedule: LearningRateSchedule = "constant"
    precision: Precision = "auto"
    class_weight: ClassWeight = "none"
    prediction_shift: int = 0
    max_seconds: float | None = None
    pace: tuple[Decision, ...] = ()
    prediction_flip: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what fingerprints and checkpoints hold of it.

        What came later is in it only where it is set, so that those from before stay valid.
        """
        settings = asdict(self)
        later = {"prediction_flip": False, "max_seconds": None, "pace": ()}
        return {k: v for k, v in settings.items() if k not in later or v != later[k]}

    @property
    def averages_views(self) -> bool:
        """Whether the fitted model looks at more than the image itself."""
        return self.prediction_shift > 0 or self.prediction_flip


@dataclass(frozen=True)
class Start:
    """Weights that a fit starts from: a saved model, and the fingerprint of the stage it is of."""

    model: Path
    fingerprint: str


@dataclass(frozen=True)
class FitRequest:
    """One fit of one model on one split.

    Attributes
    ----------
    model
        Name of the family.
    params
        A value for every hyperparameter of the family, augmentation and learning rate.
    settings
        How to train; ``settings.max_epochs`` is the budget.
    seed
        Everything random in this fit derives from it.
    checkpoint
        Where the state is kept after every epoch, and gone on from if it is
        there; ``None`` keeps none.
    resume_from
        Checkpoint of the same fit with a smaller budget, from which this one goes on
        (a promoted trial). With a one-cycle learning rate the epochs that are added
        are a cycle of their own.
    budgets_before
        Epochs of the rounds up to that checkpoint, in order. Where it is lost, the fit goes
        through them again, and comes to the same bits.
    start
        Weights that it starts from, instead of random or pretrained ones.
    """

    model: str
    params: Params
    settings: TrainingSettings
    seed: int
    checkpoint: Path | None = None
    resume_from: Path | None = None
    budgets_before: tuple[float, ...] = ()
    start: Start | None = None

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be gone on from."""
        return {
            "model": self.model,
            "params": dict(self.params),
            "settings": self.settings.as_dict(),
            "seed": self.seed,
            **({"start": self.start.fingerprint} if self.start is not None else {}),
        }


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Losses are mean cross-entropies in nats, without penalties and with class weights
    if those were asked for; accuracies are shares from 0 to 1. The training values
    are means over the epoch's steps, under dropout and augmentation; the validation
    values come from the inference model in float32, after the epoch.
    """

    epoch: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What a fit gave; ``val_loss`` and ``val_accuracy`` are those of the best epoch.

    ``weights`` are the best epoch's, in the order of the inference model's; ``pace`` is what was
    decided about the number of steps.
    """

    history: tuple[Epoch, ...]
    best_epoch: float
    val_loss: float
    val_accuracy: float
    seconds: float
    num_parameters: int
    precision: str
    stopped_early: bool
    weights: tuple[NDArray[np.float32], ...]
    pace: tuple[Decision, ...] = ()

    @property
    def epochs(self) -> float:
        """Epochs trained."""
        return self.history[-1].epoch


@dataclass(frozen=True)
class Progress:
    """Where a fit is: steps done of those its budget allows, and the last epoch's values."""

    step: int
    num_steps: int
    steps_per_epoch: int
    last: Epoch | None
