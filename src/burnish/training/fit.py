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
from burnish.errors import StudyError
from burnish.features import compute_features
from burnish.metrics import accuracy, cross_entropy
from burnish.models import build_model, find_family
from burnish.models.family import Family
from burnish.models.views import average_over_views
from burnish.space import Value
from burnish.training.assembly import assemble, weigh_classes
from burnish.training.checkpoint import Checkpoint, save_checkpoint
from burnish.training.divergence import refuse_broken_weights, refuse_divergence
from burnish.training.draws import EpochDraws
from burnish.training.engine import make_predictor
from burnish.training.learning_rate import learning_rates
from burnish.training.request import Epoch, FitRequest, FitResult, Precision, Progress
from burnish.training.resume import find_checkpoint

STEPS_PER_CALL = 100
"""Steps between two looks at the progress: the cost of a call vanishes, a bar still moves."""


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
    try:
        return Fit(request, freeze(request, dataset)).run(on_progress)
    finally:
        release_models()


def freeze(
    request: FitRequest,
    dataset: Dataset,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Return what a fit trains on: images, or what the frozen part of its network makes of them.

    The latter is computed here unless it was before; a data set that is of a frozen part already
    is given back.

    Raises
    ------
    StudyError
        If the model does not fit the images.
    DataError
        If what is computed cannot be kept.
    """
    if dataset.frozen:
        return dataset
    family = find_family(request.model)
    misfit = family.explain_misfit(request.params, dataset.image_shape)
    if misfit:
        raise StudyError(misfit)
    part = family.freeze(request.params, dataset.image_shape)
    return dataset if part is None else compute_features(dataset, part, request.params, on_progress)


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
        self._begin_cycle(settings.max_epochs)
        self.history: list[Epoch] = []
        self.best_weights: tuple[NDArray[Any], ...] = ()
        self.seconds = 0.0

    def run(self, on_progress: Callable[[Progress], None]) -> FitResult:
        """Train to the end of the budget, or until early stopping."""
        found = self._go_on_from_checkpoint()
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
        )

    def _begin_cycle(self, epochs: float) -> None:
        """Take up a budget, from the present step on."""
        self.num_steps = max(1, round(epochs * self.steps_per_epoch))
        self.cycle_start = self.step
        self.rates = self._learning_rates()

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
        last = min(self.steps_per_epoch, first + self.num_steps - self.step)
        order = self.draws.order(epoch)
        transforms = self.draws.transforms(epoch)
        loss = right = 0.0
        for begin in range(first, last, STEPS_PER_CALL):
            end = min(begin + STEPS_PER_CALL, last)
            add_loss, add_right = self.trainer.run(
                order[begin:end],
                None if transforms is None else transforms[begin:end],
                self.rates[self.step : self.step + end - begin],
            )
            loss, right = loss + add_loss, right + add_right
            self.step += end - begin
            refuse_divergence(loss, *self._whereabouts())
            if end < last:
                on_progress(self._progress())
        num_images = (last - first) * self.request.settings.batch_size
        self._validate(loss / num_images, right / num_images, started)

    def _validate(self, train_loss: float, train_accuracy: float, started: float) -> None:
        weights = self.training_model.get_weights()
        refuse_broken_weights(weights, *self._whereabouts())
        if self.average is not None:
            weights = self.average.get_weights()
        self.inference_model.set_weights(weights)
        probabilities = self.predictor.predict()
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
        rates = learning_rates(
            settings.learning_rate_schedule,
            float(self.request.params["learning_rate"]),
            self.num_steps - self.cycle_start,
        )
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
        )
        save_checkpoint(self.request.checkpoint, checkpoint, self._identity())

    def _progress(self) -> Progress:
        last = self.history[-1] if self.history else None
        return Progress(self.step, self.num_steps, self.steps_per_epoch, last)
