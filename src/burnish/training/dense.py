"""Training of dense layers alone, in NumPy: what a head on frozen features is.

Building and compiling a graph takes a second; of a linear layer on a thousand numbers, a whole fit
takes a tenth of that. The classes here take the place of a Keras model, its optimizer, and the
trainer and predictor of :mod:`burnish.training.engine`, with the same arithmetic in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from burnish.backend import keras
from burnish.data import Split

Floats = NDArray[np.float32]

BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-7
"""Of Adam, as Keras has them."""


class Variable:
    """An array with the two things that a checkpoint asks of a Keras variable."""

    def __init__(self, value: Floats) -> None:
        self.value = np.array(value, np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype)

    def assign(self, value: NDArray[Any]) -> None:
        """Take other values."""
        self.value[...] = value


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer: what is dropped of its input, its weights, whether ReLU follows."""

    dropout: float
    kernel: Variable
    bias: Variable
    relu: bool

    def apply(self, x: Floats) -> Floats:
        """Return what it makes of vectors, shape (num, length)."""
        x = x @ self.kernel.value + self.bias.value
        return np.maximum(x, 0) if self.relu else x


class DenseNetwork:
    """Dense layers one after another, from vectors to logits."""

    def __init__(self, layers: list[DenseLayer]) -> None:
        self.layers = layers
        self.variables = [v for layer in layers for v in (layer.kernel, layer.bias)]

    def get_weights(self) -> list[Floats]:
        """Return copies of all weights, in the order of the Keras model's."""
        return [variable.value.copy() for variable in self.variables]

    def set_weights(self, weights: list[Floats]) -> None:
        """Take other weights."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Return the number of weights."""
        return sum(variable.value.size for variable in self.variables)

    def predict(self, vectors: Floats) -> Floats:
        """Return probabilities, shape (num, num_classes)."""
        x = vectors
        for layer in self.layers:
            x = layer.apply(x)
        return _softmax(x)


def find_dense(model: Any) -> DenseNetwork | None:
    """Return a Keras model's dense layers with its weights; ``None`` where it has others."""
    layers: list[DenseLayer] = []
    dropout = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            dropout = 1 - (1 - dropout) * (1 - layer.rate)
        elif isinstance(layer, keras.layers.Dense):
            if layer.activation is not keras.activations.linear or not layer.use_bias:
                return None
            if layer.kernel_regularizer is not None:
                return None
            kernel, bias = (Variable(np.asarray(w)) for w in layer.get_weights())
            layers.append(DenseLayer(float(dropout), kernel, bias, relu=False))
            dropout = 0.0
        elif isinstance(layer, keras.layers.Activation):
            if layer.activation is not keras.activations.relu or not layers or dropout:
                return None
            last = layers[-1]
            layers[-1] = DenseLayer(last.dropout, last.kernel, last.bias, relu=True)
        elif not isinstance(layer, keras.layers.InputLayer | keras.layers.Flatten):
            return None
    is_chain = bool(layers) and all(layer.relu for layer in layers[:-1]) and not layers[-1].relu
    return DenseNetwork(layers) if is_chain else None


class DenseAdam:
    """Adam with decoupled weight decay of kernels; the formula of `FusedAdam`."""

    def __init__(self, network: DenseNetwork, decay: float) -> None:
        self._decay = decay
        self._network = network
        self._means = [Variable(np.zeros_like(v.value)) for v in network.variables]
        self._squares = [Variable(np.zeros_like(v.value)) for v in network.variables]
        self.steps = Variable(np.zeros((), np.float32))
        self.variables = [self.steps, *self._means, *self._squares]

    def apply(self, gradients: list[Floats], rate: float) -> None:
        """Take one step."""
        self.steps.value += 1
        step = float(self.steps.value)
        scaled = rate * (1 - BETA_2**step) ** 0.5 / (1 - BETA_1**step)
        states = zip(self._network.variables, self._means, self._squares, gradients, strict=True)
        for variable, mean, square, gradient in states:
            if self._decay and gradient.ndim > 1:
                variable.value *= np.float32(1 - rate * self._decay)
            mean.value += np.float32(1 - BETA_1) * (gradient - mean.value)
            square.value += np.float32(1 - BETA_2) * (gradient * gradient - square.value)
            variable.value -= (
                np.float32(scaled) * mean.value / (np.sqrt(square.value) + np.float32(ADAM_EPSILON))
            )


@dataclass(frozen=True)
class Slope:
    """Sums over images: the cross-entropy, as it is reported, how many are right, gradients.

    ``objective`` is what the gradients are of: the cross-entropy against smoothed labels.
    """

    loss: float
    right: float
    objective: float
    gradients: list[Floats]


def measure_slope(
    network: DenseNetwork,
    x: Floats,
    labels: NDArray[np.int32],
    weights: Floats | None,
    smoothing: float,
    dropped_by: np.random.Generator | None,
) -> Slope:
    """Go through a network and back.

    Parameters
    ----------
    network
        What to differentiate by its weights.
    x, labels
        Vectors, shape (num, length), and their classes, shape (num,).
    weights
        Of each image's loss, shape (num,); ``None`` is 1.
    smoothing
        Share of each label that is spread over all classes.
    dropped_by
        Draws what dropout takes away; ``None`` takes nothing away.
    """
    inputs = []
    for layer in network.layers:
        if layer.dropout and dropped_by is not None:
            keep = dropped_by.random(x.shape, np.float32) >= layer.dropout
            x = x * keep * np.float32(1 / (1 - layer.dropout))
        inputs.append(x)
        x = layer.apply(x)
    logs = x - x.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    losses = -logs[rows, labels]
    objectives = (1 - smoothing) * losses - smoothing * logs.mean(axis=1)
    slope = np.exp(logs)
    slope[rows, labels] -= 1 - smoothing
    slope -= np.float32(smoothing / x.shape[1])
    if weights is not None:
        slope *= weights[:, None]
        losses, objectives = losses * weights, objectives * weights
    right = float((logs.argmax(axis=1) == labels).sum())
    gradients = _backpropagate(network, slope, inputs, was_dropped=dropped_by is not None)
    return Slope(float(losses.sum()), right, float(objectives.sum(dtype=np.float64)), gradients)


def _backpropagate(
    network: DenseNetwork, slope: Floats, inputs: list[Floats], *, was_dropped: bool
) -> list[Floats]:
    gradients: list[Floats] = []
    for number in reversed(range(len(inputs))):
        layer, x = network.layers[number], inputs[number]
        gradients = [x.T @ slope, slope.sum(axis=0), *gradients]
        if number:
            # Where what came in is 0, ReLU or dropout let nothing through.
            slope = (slope @ layer.kernel.value.T) * (x > 0)
            if layer.dropout and was_dropped:
                slope *= np.float32(1 / (1 - layer.dropout))
    return gradients


@cache
def _find_blas() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Keep NumPy's products of matrices to one thread.

    They are so small that threads wait for each other longer than they compute, several times as
    long on a busy machine; and sums do not depend on how many cores there are.
    """
    limits: AbstractContextManager[Any] = _find_blas().limit(limits=1, user_api="blas")
    return limits


_VECTORS: WeakKeyDictionary[Split, Floats] = WeakKeyDictionary()

HELD_VECTORS = 64_000_000
"""Bytes of vectors in float32 that a process holds of a split; it may meet all folds of a stage.

Those of more are read from their file in each step, which takes a tenth of a millisecond more.
"""


def hold_vectors(split: Split) -> Floats | None:
    """Return all vectors of a split in float32, the same to every fit; ``None`` of a large one."""
    if split.num_bytes * 4 // split.dtype.itemsize > HELD_VECTORS:
        return None
    if split not in _VECTORS:
        _VECTORS[split] = as_vectors(split.images)
    return _VECTORS[split]


def as_vectors(rows: NDArray[Any]) -> Floats:
    """Return rows of a split in float32, shape (num, length)."""
    return rows.reshape(len(rows), -1).astype(np.float32)


class DenseTrainer:
    """Trains dense layers; see :func:`burnish.training.engine.make_trainer`."""

    def __init__(
        self,
        network: DenseNetwork,
        optimizer: DenseAdam,
        split: Split,
        *,
        seed: int,
        class_weights: Floats | None,
        label_smoothing: float,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._split = split
        self._vectors = hold_vectors(split)
        self._seed = seed
        self._class_weights = class_weights
        self._smoothing = label_smoothing

    def run(
        self, indices: NDArray[np.int32], transforms: Floats | None, rates: Floats
    ) -> tuple[float, float]:
        """Train one step per row of ``indices``."""
        assert transforms is None
        loss = right = 0.0
        with one_thread():
            for picked, rate in zip(indices, rates, strict=True):
                add_loss, add_right = self._step(picked, float(rate))
                loss, right = loss + add_loss, right + add_right
        return loss, right

    def _step(self, picked: NDArray[np.int32], rate: float) -> tuple[float, float]:
        labels = self._split.labels[picked]
        given = self._vectors[picked] if self._vectors is not None else None
        x = as_vectors(self._split.read(picked)) if given is None else given
        # Of each step its own numbers, so that a fit that goes on draws what it would have drawn.
        generator = np.random.default_rng((self._seed, int(self._optimizer.steps.value)))
        weights = None if self._class_weights is None else self._class_weights[labels]
        slope = measure_slope(self._network, x, labels, weights, self._smoothing, generator)
        num_images = np.float32(len(labels))
        self._optimizer.apply([gradient / num_images for gradient in slope.gradients], rate)
        return slope.loss, slope.right


class DensePredictor:
    """Predicts the vectors of a split; see :func:`burnish.training.engine.make_predictor`."""

    def __init__(self, network: DenseNetwork, split: Split) -> None:
        self._network = network
        self._vectors = as_vectors(split.images)

    def predict(self) -> Floats:
        """Return probabilities, shape (num, num_classes), of the network as it is now."""
        with one_thread():
            return self._network.predict(self._vectors)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
