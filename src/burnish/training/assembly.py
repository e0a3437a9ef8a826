"""What a fit is made of: its two models, the optimizer, the trainer and the predictor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.data import Dataset, Split
from burnish.errors import StudyError
from burnish.metrics import balance_classes
from burnish.models import build_model, find_family
from burnish.models.pretrained import LBFGS
from burnish.models.saved import load_saved
from burnish.recipe import RECIPE, recipe_number
from burnish.space import Params
from burnish.training.averaging import WeightAverage
from burnish.training.dense import (
    DenseAdam,
    DenseNetwork,
    DensePredictor,
    DenseTrainer,
    find_dense,
)
from burnish.training.draws import derive_dropout_seed, derive_weights_seed
from burnish.training.engine import Predictor, Trainer, make_predictor, make_trainer
from burnish.training.lbfgs import DenseLbfgs, LbfgsTrainer
from burnish.training.optimizer import make_optimizer
from burnish.training.request import FitRequest


@dataclass(frozen=True)
class Assembly:
    """The parts of a fit; the models are Keras's, or, of dense layers alone, NumPy's."""

    training_model: Any
    inference_model: Any
    optimizer: Any
    trainer: Trainer
    predictor: Predictor
    average: WeightAverage | None = None


def assemble(
    request: FitRequest, dataset: Dataset, precision: str, augmentation: Augmentation
) -> Assembly:
    """Build what a fit needs.

    Parameters
    ----------
    request
        The fit.
    dataset
        Images, or what the frozen part of the network made of them.
    precision
        ``float32`` or ``bfloat16``.
    augmentation
        Of images.

    Raises
    ------
    StudyError
        If the model does not fit the images, or the start is of another network.
    """
    family = find_family(request.model)
    shape = dataset.image_shape

    def build(*, training: bool) -> Any:
        return build_model(
            family,
            request.params,
            shape,
            dataset.num_classes,
            training=training,
            bfloat16=training and precision == "bfloat16",
            seed=derive_weights_seed(request.seed) if training else 0,
            behind=shape if dataset.frozen else None,
        )

    training_model = build(training=True)
    if request.start is not None:
        _start_from(training_model, request.start.model)
    dense = find_dense(training_model) if dataset.frozen and _is_plain(request.params) else None
    if dense is not None:
        return _assemble_dense(request, dataset, dense)
    inference_model = build(training=False)
    factors = {
        id(variable): factor
        for name, factor in family.rate_factors(request.params).items()
        for variable in training_model.get_layer(name).trainable_variables
    }
    optimizer = make_optimizer(request.params, factors)
    decay = recipe_number(request.params, "weight_averaging")
    average = WeightAverage(training_model, decay) if decay else None
    trainer = make_trainer(
        training_model,
        optimizer,
        dataset.train,
        batch_size=request.settings.batch_size,
        augmentation=augmentation,
        class_weights=weigh_classes(request, dataset, dataset.train),
        label_smoothing=recipe_number(request.params, "label_smoothing"),
        average=average,
    )
    predictor = make_predictor(inference_model, dataset.val)
    return Assembly(training_model, inference_model, optimizer, trainer, predictor, average)


def _start_from(training_model: Any, file: Path) -> None:
    """Give a model the weights of a saved one, whose last layers it is."""
    weights = load_saved(file).get_weights()
    own = training_model.get_weights()
    given = weights[len(weights) - len(own) :]
    if [w.shape for w in given] != [w.shape for w in own]:
        raise StudyError(f"{file} has weights of another network: they cannot be started from")
    training_model.set_weights(given)


def _assemble_dense(request: FitRequest, dataset: Dataset, network: DenseNetwork) -> Assembly:
    weights = weigh_classes(request, dataset, dataset.train)
    smoothing = recipe_number(request.params, "label_smoothing")
    optimizer: DenseAdam | DenseLbfgs
    trainer: Trainer
    if request.params.get("solver") == LBFGS:
        if len(network.layers) == 1 and request.start is None:
            # What the images say nothing of stays what it was: of one layer, nothing.
            network.set_weights([np.zeros_like(kept) for kept in network.get_weights()])
        optimizer = DenseLbfgs(
            network.count_params(), float(request.params.get("l2_strength", 0.0))
        )
        trainer = LbfgsTrainer(
            network,
            optimizer,
            dataset.train,
            steps_per_epoch=math.ceil(dataset.num_train / request.settings.batch_size),
            class_weights=weights,
            label_smoothing=smoothing,
        )
    else:
        optimizer = DenseAdam(network, recipe_number(request.params, "weight_decay"))
        trainer = DenseTrainer(
            network,
            optimizer,
            dataset.train,
            seed=derive_dropout_seed(request.seed),
            class_weights=weights,
            label_smoothing=smoothing,
        )
    # Nothing but dropout differs in training, and prediction leaves that out: one network is both.
    return Assembly(network, network, optimizer, trainer, DensePredictor(network, dataset.val))


def weigh_classes(
    request: FitRequest, dataset: Dataset, split: Split
) -> NDArray[np.float32] | None:
    """Return the weight of each class in a split's losses, if classes are to be balanced."""
    if request.settings.class_weight == "none":
        return None
    return balance_classes(split.labels, dataset.num_classes)


def _is_plain(params: Params) -> bool:
    """Whether training is by Adam without averages, which is what NumPy has."""
    names = ("optimizer", "weight_averaging")
    return all(params.get(name, RECIPE[name]) == RECIPE[name] for name in names)
