"""The peers' side: the study's networks and fits in plain Keras, as its reader would write them.

Keras 3 on TensorFlow as it is shipped: float32, ``fit`` on arrays, augmentation by Keras's
layers, early stopping by Keras's callback. Spaces are asked of Keras Tuner and of Optuna with
the very ranges of the study file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.backend import keras
from burnish.data import Dataset
from burnish.models import default_params, find_family
from burnish.space import Choice, Float, Params, SearchSpace, Value
from burnish.study.parse import parse_study
from burnish.study.schema import TrainStage
from burnish.study.study import Study
from burnish.study.text import read_study_text
from record import Curve

BATCH_SIZE = 128


def build_stock(model: str, params: Params, image_shape: tuple[int, int, int] = (28, 28, 1)) -> Any:
    """Build and compile a network of the families ``fnn`` and ``cnn``; pixels are 0-1."""
    layers = keras.layers
    x = inputs = keras.Input(image_shape)
    for layer in _augmentation(params):
        x = layer(x)
    activation = str(params["activation"])
    dropout = float(params["dropout_rate"])
    l2 = float(params.get("l2_strength", 0.0))

    def penalty() -> Any:
        return keras.regularizers.L2(l2) if l2 else None

    if model == "fnn":
        x = layers.Flatten()(x)
        for _ in range(int(params["num_hidden_layers"])):
            units = int(params["hidden_layer_size"])
            x = layers.Dense(units, activation=activation, kernel_regularizer=penalty())(x)
            x = layers.Dropout(dropout)(x)
    else:
        normalise = bool(params["batch_normalization"])

        def activate(x: Any) -> Any:
            if normalise:
                x = layers.BatchNormalization()(x)
            return layers.Activation(activation)(x)

        for block in range(int(params["num_conv_layers"])):
            which = "num_filters_first_layer" if block == 0 else "num_filters_sub_layers"
            filters, kernel = int(params[which]), int(params["kernel_size"])
            x = activate(layers.Conv2D(filters, kernel, padding="same")(x))
            if params["subsample_type"] == "2x2pool":
                x = layers.MaxPooling2D(2)(x)
            else:
                x = activate(layers.Conv2D(filters, 5, strides=2, padding="same")(x))
        x = layers.Flatten()(x)
        x = activate(layers.Dense(int(params["dense_layer_size"]))(x))
        if dropout:
            x = layers.Dropout(dropout)(x)
    stock = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    # Where there is a penalty, the loss holds it: what is compared is the cross-entropy alone.
    entropy = [keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy")] if l2 else []
    stock.compile(
        optimizer=keras.optimizers.Adam(float(params["learning_rate"])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy", *entropy],
    )
    return stock


def _augmentation(params: Params) -> list[Any]:
    """Keras's layers for what is augmented; pixels from outside are 0."""
    layers = keras.layers
    turn = float(params.get("rotation_range", 0.0))
    zoom = float(params.get("zoom_range", 0.0))
    down = float(params.get("height_shift_range", 0.0))
    right = float(params.get("width_shift_range", 0.0))
    made = [layers.RandomRotation(turn, fill_mode="constant")] if turn else []
    made += [layers.RandomZoom(zoom, zoom, fill_mode="constant")] if zoom else []
    made += [layers.RandomTranslation(down, right, fill_mode="constant")] if down or right else []
    return made


def loss_name(params: Params) -> str:
    """What the validation loss without penalty is called in a fit of these params."""
    return "val_cross_entropy" if params.get("l2_strength") else "val_loss"


def arrays_of(data: Dataset) -> tuple[NDArray[np.float32], Any, NDArray[np.float32], Any]:
    """Images 0-1 and labels of train, then of val."""
    x, x_val = (
        split.images.astype(np.float32) / np.float32(255) for split in (data.train, data.val)
    )
    return x, data.train.labels, x_val, data.val.labels


def read_study(name: str) -> Study:
    """Read a study that ships."""
    return parse_study(*read_study_text(name))[0]


def published_params(stage_name: str) -> dict[str, Value]:
    """All params of a stage of ``mnist-published``: what its base has, and its own."""
    study = read_study("mnist-published")
    chain: list[TrainStage] = []
    name: str | None = stage_name
    while name is not None:
        stage = study.stage(name)
        assert isinstance(stage, TrainStage)
        chain.insert(0, stage)
        name = stage.base
    params = default_params(find_family(str(chain[0].model)))
    for stage in chain:
        params.update(stage.params)
    return params


class TimeUp(BaseException):
    """The time that a peer was given is over; not an error that a tuner would catch."""


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when which validation loss was seen, and ends a fit that is long enough.

    Parameters
    ----------
    names
        What the validation loss is called; the first that a fit has counts.
    enough
        A fit ends when its loss is at most this.
    cap
        Seconds after which a fit ends; with ``abort``, the whole search.
    """

    def __init__(
        self,
        names: Sequence[str] = ("val_loss",),
        enough: float = -math.inf,
        cap: float = math.inf,
        *,
        abort: bool = False,
    ) -> None:
        super().__init__()
        self.names, self.enough, self.cap, self.abort = names, enough, cap, abort
        self.curve: Curve = []
        self.epoch_seconds: list[float] = []
        self.started = time.perf_counter()
        self._epoch_started = self.started

    def __deepcopy__(self, memo: object) -> Watch:
        """Itself: Keras Tuner copies callbacks for each trial, and this one sees them all."""
        return self

    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self.started

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch_seconds.append(time.perf_counter() - self._epoch_started)
        loss = float(next(logs[name] for name in self.names if name in logs))
        self.curve.append((self.seconds(), loss))
        if self.seconds() >= self.cap and self.abort:
            raise TimeUp
        if loss <= self.enough or self.seconds() >= self.cap:
            self.model.stop_training = True


def stop_early(patience: int, name: str = "val_loss") -> Any:
    """Keras's early stopping, with the best weights restored."""
    return keras.callbacks.EarlyStopping(
        monitor=name, mode="min", patience=patience, restore_best_weights=True
    )


def ask_keras_tuner(hp: Any, space: SearchSpace) -> dict[str, Value]:
    """Ask Keras Tuner for a point of a study's space."""
    point: dict[str, Value] = {}
    for name, r in space.ranges.items():
        if isinstance(r, Float) and r.step is not None:
            point[name] = float(hp.Float(name, r.low, r.high, step=r.step))
        elif isinstance(r, Choice):
            point[name] = hp.Choice(name, list(r.options))
        else:
            raise TypeError(f"{name}: no study here has {r}")
    return point


def ask_optuna(trial: Any, space: SearchSpace) -> dict[str, Value]:
    """Ask Optuna for a point of a study's space."""
    point: dict[str, Value] = {}
    for name, r in space.ranges.items():
        if isinstance(r, Float) and r.step is not None:
            # Optuna wants the highest value to be one of the steps.
            point[name] = trial.suggest_float(name, r.low, r.values()[-1], step=r.step)
        elif isinstance(r, Choice):
            point[name] = trial.suggest_categorical(name, list(r.options))
        else:
            raise TypeError(f"{name}: no study here has {r}")
    return point
