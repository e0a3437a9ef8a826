"""One fit: from a request to the best epoch's weights and a history."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.backend import has_bfloat16, release_models
from burnish.data import Dataset
from burnish.metrics import accuracy, cross_entropy
from burnish.models import build_model, find_family
from burnish.models.family import Family
from burnish.models.views import average_over_views
from burnish.space import Value
from burnish.training.assembly import assemble, weigh_classes
from burnish.training.checkpoint import Checkpoint, save_checkpoint
from burnish.training.dense import DenseNetwork
from burnish.training.divergence import refuse_broken_weights, refuse_divergence
from burnish.training.draws import EpochDraws
from burnish.training.engine import make_predictor
from burnish.training.frozen import freeze
from burnish.training.learning_rate import learning_rates
from burnish.training.pace import FIRST_STEPS, MOST_STEPS_AT_A_TIME, Decision, Pacer
from burnish.training.request import Epoch, FitRequest, FitResult, Precision, Progress
from burnish.training.resume import find_checkpoint


def fit(
    request: FitRequest,
    dataset: Dataset,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> FitResult:
    """Train one model and give its best epoch, by validation loss in float32.

    Parameters
    ----------
    request
        What to train and how; see :class:`FitRequest`.
    dataset
        Train and validation splits.
    on_progress
        Called after every hundred steps and after every epoch.

    Raises
    ------
    TrainingError
        If the loss or a weight is no longer finite.
    StudyError
        If the model does not exist or does not fit the images.
    """
    running = None
    try:
        running = Fit(request, freeze(request, dataset))
        return running.run(on_progress)
    finally:
        # Dense layers alone leave nothing large behind, and the search for it takes longer than
        # such a fit.
        if running is None or not isinstance(running.training_model, DenseNetwork):
            del running
            release_models()


def restore_model(
    request: FitRequest, weights: tuple[NDArray[np.float32], ...], dataset: Dataset
) -> Any:
    """Build the inference model of a fit: stock Keras layers, float32, probabilities out.

    With ``prediction_shift`` or ``prediction_flip``, it averages over views of the image.
    """
    family = find_family(request.model)
    model = build_model(
        family, request.params, dataset.image_shape, dataset.num_classes, training=False
    )
    # Of a network with a frozen part, only what lies behind that was trained; it comes last.
    frozen = model.get_weights()[: len(model.weights) - len(weights)]
    model.set_weights([*frozen, *weights])
    settings = request.settings
    if not settings.averages_views:
        return model
    return average_over_views(model, settings.prediction_shift, flip=settings.prediction_flip)


def predict_val(
    request: FitRequest, weights: tuple[NDArray[np.float32], ...], dataset: Dataset, model: Any
) -> NDArray[np.float32]:
    """Predict the validation images with a fitted model.

    Parameters
    ----------
    request, weights
        The fit, and what it gave.
    dataset
        The images.
    model
        What :func:`restore_model` made of the same.

    Returns
    -------
    Probabilities, shape (num_val, num_classes). Where the network has a frozen part, they are of
    what that made of the images, in float16, as the fit saw it.
    """
    frozen = freeze(request, dataset)
    if not frozen.frozen or request.settings.averages_views:
        return make_predictor(model, dataset.val).predict()
    behind = build_model(
        find_family(request.model),
        request.params,
        frozen.image_shape,
        dataset.num_classes,
        training=False,
        behind=frozen.image_shape,
    )
    behind.set_weights(list(weights))
    return make_predictor(behind, frozen.val).predict()


def choose_precision(asked: Precision, family: Family) -> str:
    """Resolve ``auto``: bfloat16 where it was measured to pay, which is in convolutions."""
    if asked != "auto":
        return asked
    return "bfloat16" if family.convolutional and has_bfloat16() else "float32"


class Fit:
    """The state of one fit while it runs; :func:`fit` is what to call."""

    def __init__(self, request: FitRequest, dataset: Dataset) -> None:
        settings = request.settings
        family = find_family(request.model)
        self.request = request
        self.dataset = dataset
        self.precision = choose_precision(settings.precision, family)
        # Of what a frozen part made, the views are augmented already.
        self.augmentation = Augmentation({} if dataset.frozen else request.params)
        parts = assemble(request, dataset, self.precision, self.augmentation)
        self.training_model, self.inference_model = parts.training_model, parts.inference_model
        self.optimizer, self.trainer, self.predictor = (
            parts.optimizer,
            parts.trainer,
            parts.predictor,
        )
        self.average = parts.average
        self.val_class_weights = weigh_classes(request, dataset, dataset.val)
        self.draws = EpochDraws(request, dataset, self.augmentation)
        self.steps_per_epoch = self.draws.steps_per_epoch
        self.step = 0
        self.pacer: Pacer | None = None
        self._begin_cycle(settings.max_epochs)
        self.history: list[Epoch] = []
        self.best_weights: tuple[NDArray[Any], ...] = ()
        self.seconds = 0.0

    def run(self, on_progress: Callable[[Progress], None]) -> FitResult:
        """Train to the end of the budget, or until early stopping."""
        found = self._go_on_from_checkpoint()
        settings = self.request.settings
        if settings.max_seconds is not None and not settings.pace:
            self.pacer = Pacer(settings.max_seconds - self.seconds, self.steps_per_epoch)
        on_progress(self._progress())
        if not found and self.request.resume_from is not None:
            self._repeat_rounds_before(on_progress)
        while not self._is_over():
            self._run_epoch(on_progress)
            self._save_checkpoint()
            on_progress(self._progress())
        best = self._best()
        return FitResult(
            history=tuple(self.history),
            best_epoch=best.epoch,
            val_loss=best.val_loss,
            val_accuracy=best.val_accuracy,
            seconds=self.seconds,
            num_parameters=sum(int(np.prod(array.shape)) for array in self.best_weights),
            precision=self.precision,
            stopped_early=self.step < self.num_steps,
            weights=self.best_weights,
            pace=self._decided(),
        )

    @property
    def num_steps(self) -> int:
        """Steps of the whole fit, as it is planned now."""
        return self.pace[-1][1]

    def _begin_cycle(self, epochs: float) -> None:
        """Take up a budget, from the present step on."""
        self.most_steps = max(1, round(epochs * self.steps_per_epoch))
        self.cycle_start = self.step
        settings = self.request.settings
        self.pace: list[Decision] = list(settings.pace) or [
            (self.step, self.most_steps, MOST_STEPS_AT_A_TIME)
        ]
        self.rates = self._learning_rates()

    def _keep_pace(self) -> None:
        """Take fewer or more steps, where the clock says so."""
        if self.pacer is None:
            return
        decision = self.pacer.decide(self.step, self.pace[-1], self.most_steps)
        if decision is self.pace[-1]:
            return
        if decision[0] == self.pace[-1][0]:
            self.pace.pop()
        self.pace.append(decision)
        self.rates = self._learning_rates()

    def _decided(self) -> tuple[Decision, ...]:
        """What was decided about the number of steps, if there was anything to decide."""
        return tuple(self.pace) if self.request.settings.max_seconds is not None else ()

    def _count_next_steps(self, last: int) -> int:
        """Return how many steps are taken before the clock and the progress are looked at."""
        timed = self.request.settings.max_seconds is not None
        if timed and self.step < sum(FIRST_STEPS):
            return min(FIRST_STEPS[self.step > 0], last)
        planned = next(d for d in reversed(self.pace) if d[0] <= self.step)
        return min(planned[2], last)

    def _repeat_rounds_before(self, on_progress: Callable[[Progress], None]) -> None:
        """Do what led to the checkpoint that was to be gone on from, and is lost.

        Nothing is kept on the way: what is broken off here begins again.
        """
        for epochs in self.request.budgets_before:
            self._begin_cycle(epochs)
            while not self._is_over():
                self._run_epoch(on_progress)
                on_progress(self._progress())
        self._begin_cycle(self.request.settings.max_epochs)

    def _run_epoch(self, on_progress: Callable[[Progress], None]) -> None:
        """Train to the end of the epoch, or of the budget, and validate."""
        started = time.perf_counter()
        epoch, first = divmod(self.step, self.steps_per_epoch)
        begun = self.step - first
        order = self.draws.order(epoch)
        transforms = self.draws.transforms(epoch)
        loss = right = 0.0
        while self.step < min(begun + self.steps_per_epoch, self.num_steps):
            begin = self.step - begun
            left = min(begun + self.steps_per_epoch, self.num_steps) - self.step
            end = begin + self._count_next_steps(left)
            called = time.perf_counter()
            add_loss, add_right = self.trainer.run(
                order[begin:end],
                None if transforms is None else transforms[begin:end],
                self.rates[self.step : self.step + end - begin],
            )
            loss, right = loss + add_loss, right + add_right
            self.step += end - begin
            refuse_divergence(loss, *self._whereabouts())
            if self.pacer is not None:
                self.pacer.note_steps(end - begin, time.perf_counter() - called)
                self._keep_pace()
            if self.step < min(begun + self.steps_per_epoch, self.num_steps):
                on_progress(self._progress())
        num_images = (self.step - begun - first) * self.request.settings.batch_size
        self._validate(loss / num_images, right / num_images, started)

    def _validate(self, train_loss: float, train_accuracy: float, started: float) -> None:
        weights = self.training_model.get_weights()
        refuse_broken_weights(weights, *self._whereabouts())
        if self.average is not None:
            weights = self.average.get_weights()
        self.inference_model.set_weights(weights)
        began = time.perf_counter()
        probabilities = self.predictor.predict()
        if self.pacer is not None:
            self.pacer.note_validation(time.perf_counter() - began)
        labels = self.dataset.val.labels
        val_loss = cross_entropy(probabilities, labels, self.val_class_weights)
        refuse_divergence(val_loss, *self._whereabouts())
        seconds = time.perf_counter() - started
        self.seconds += seconds
        self.history.append(
            Epoch(
                epoch=self.step / self.steps_per_epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=accuracy(probabilities, labels),
                learning_rate=float(self.rates[self.step - 1]),
                seconds=seconds,
            )
        )
        if self._best() is self.history[-1]:
            self.best_weights = tuple(weights)
        if (
            self.step < self.num_steps
        ):  # What is over stays so: its last epoch may be a part of one.
            self._keep_pace()

    def _best(self) -> Epoch:
        """The first of the epochs with the lowest validation loss."""
        return min(self.history, key=lambda epoch: epoch.val_loss)

    def _is_over(self) -> bool:
        settings = self.request.settings
        if self.step >= self.num_steps:
            return True
        if settings.learning_rate_schedule == "one-cycle" or not self.history:
            return False
        waited = len(self.history) - 1 - self.history.index(self._best())
        return waited >= settings.patience

    def _whereabouts(self) -> tuple[float, Value]:
        """The epoch, and the learning rate that the fit was given."""
        return self.step / self.steps_per_epoch, self.request.params["learning_rate"]

    def _variables(self) -> list[Any]:
        averages = self.average.variables if self.average is not None else []
        return [*self.training_model.variables, *self.optimizer.variables, *averages]

    def _go_on_from_checkpoint(self) -> bool:
        found = find_checkpoint(self.request, self._identity(), self.num_steps)
        if found is None:
            return False
        for variable, value in zip(self._variables(), found.variables, strict=True):
            variable.assign(value)
        self.step, self.seconds = found.step, found.seconds
        self.history, self.best_weights = list(found.history), found.best_weights
        self.cycle_start = found.cycle_start
        if found.pace:
            self.pace = list(found.pace)
        elif self.cycle_start:
            self.pace = [(self.cycle_start, self.most_steps, MOST_STEPS_AT_A_TIME)]
        self.rates = self._learning_rates()
        return True

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with: the request, and what it is carried out on."""
        return {
            **self.request.identity(),
            "data": self.dataset.fingerprint,
            "resolved_precision": self.precision,
        }

    def _learning_rates(self) -> NDArray[np.float32]:
        """Learning rate of every step; of those before the present cycle, none."""
        settings = self.request.settings
        rate = float(self.request.params["learning_rate"])
        rates = learning_rates(settings.learning_rate_schedule, rate, self.pace)
        return np.concatenate([np.full(self.cycle_start, np.nan, np.float32), rates])

    def _save_checkpoint(self) -> None:
        if self.request.checkpoint is None:
            return
        checkpoint = Checkpoint(
            cycle_start=self.cycle_start,
            step=self.step,
            variables=tuple(np.asarray(variable) for variable in self._variables()),
            best_weights=self.best_weights,
            history=tuple(self.history),
            seconds=self.seconds,
            pace=self._decided(),
        )
        save_checkpoint(self.request.checkpoint, checkpoint, self._identity())

    def _progress(self) -> Progress:
        last = self.history[-1] if self.history else None
        return Progress(self.step, self.num_steps, self.steps_per_epoch, last)
