"""The layers that model families are built of, in two makes.

A family describes its structure through a :class:`LayerFactory`. The factory for inference
gives stock Keras layers in float32, so that the saved model loads anywhere
without burnish. The factory for training gives layers with the same weights and the
same arithmetic, in the asked precision; on TensorFlow they go through fused
kernels:

* batch normalisation in one pass instead of a dozen element-wise operations,
  each of which reads and writes the whole activation;
* dropout that draws 16 random bits a value instead of 32, with a keep
  probability that is then a multiple of 1/65536;
* an L2 penalty whose gradient is one multiplication.

The measurements stand in docs/log.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from burnish.backend import BACKEND, keras

_L = keras.layers

Layers: TypeAlias = list[Any]
"""Keras layers, or functions from tensor to tensor, to be applied in order."""

MOMENTUM = 0.9
"""Of the moving averages of batch normalisation.

Keras's default, 0.99, averages over a hundred steps, over which a fast network's
activations drift: its validation losses then jump (docs/log.md).
"""


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis through TensorFlow's fused kernel.

    Weights, defaults and results are those of ``keras.layers.BatchNormalization``.
    Inputs have shape (batch, features) or (batch, height, width, channels).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise ``inputs`` by the batch's statistics, or the moving ones."""
        import tensorflow as tf

        flat = inputs.shape.rank == 2
        x = tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1])) if flat else inputs
        moving_mean, moving_variance = self.moving_mean.value, self.moving_variance.value
        # In training an empty tensor stands for "no running average wanted".
        nothing = tf.zeros((0,), tf.float32)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=nothing if training else moving_mean,
            variance=nothing if training else moving_variance,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The kernel returns the unbiased variance; Keras keeps the biased one.
            count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
            variance *= (count - 1.0) / count
            rate = 1.0 - self.momentum
            self.moving_mean.assign(moving_mean + (mean - moving_mean) * rate)
            self.moving_variance.assign(moving_variance + (variance - moving_variance) * rate)
        return tf.reshape(y, tf.shape(inputs)) if flat else y


class FusedDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout from 16 random bits a value: the stock layer's at less than half the cost."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Set a random share ``rate`` of the values to zero, scale up the others."""
        if not training or self.rate == 0:
            return inputs
        import tensorflow as tf

        known = inputs.shape.is_fully_defined()
        shape = inputs.shape if known else tf.shape(inputs)
        size = inputs.shape.num_elements() if known else tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            ((size + 1) // 2,), self.seed_generator.next(), None, None, tf.uint32
        )
        bits = tf.reshape(tf.bitcast(words, tf.uint16), (-1,))[:size]
        dropped = round(self.rate * 65536)
        keep = tf.reshape(tf.cast(bits, tf.int32) >= dropped, shape)
        scale = 65536 / (65536 - dropped)
        return inputs * tf.cast(keep, inputs.dtype) * tf.cast(scale, inputs.dtype)


class FusedL2(keras.regularizers.Regularizer):  # type: ignore[misc]
    """``strength * sum(w ** 2)``, as ``keras.regularizers.L2``, by TensorFlow's l2_loss.

    The gradient of the sum of squares takes three passes over the weights;
    that of ``l2_loss`` takes one.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, weights: Any) -> Any:
        """Penalty of one weight tensor, a scalar."""
        import tensorflow as tf

        return tf.nn.l2_loss(weights) * (2.0 * self.strength)


def apply_layers(layers: Layers, x: Any) -> Any:
    """Return what layers, one after another, make of a tensor."""
    for layer in layers:
        x = layer(x)
    return x


@dataclass(frozen=True)
class Branches:
    """Ways from one tensor, each a list of layers, and the layer that brings them together.

    It is called as a layer is. A branch without layers is the tensor itself.
    """

    branches: tuple[Layers, ...]
    merge: Any

    def __call__(self, x: Any) -> Any:
        """Return the tensor that the branches' ends become."""
        return self.merge([apply_layers(branch, x) for branch in self.branches])


class LayerFactory:
    """Makes the layers of one model, for training or for inference.

    What it makes is applied in order; :meth:`add` and :meth:`concatenate` make branches, so that
    a list of layers describes a graph.

    Parameters
    ----------
    training
        Whether the model will be trained here, and may use fused layers.
    bfloat16
        Whether activations are bfloat16; weights are float32 always.
    seed
        Seed of the initial weights and of dropout.
    """

    def __init__(self, *, training: bool, bfloat16: bool, seed: int) -> None:
        self._fused = training and BACKEND == "tensorflow"
        self._training = training
        self._dtype = "mixed_bfloat16" if bfloat16 else "float32"
        self._seeds: Iterator[int] = map(
            int, np.random.default_rng(seed).integers(0, 2**31 - 1, size=4096)
        )

    def rescaling(self, scale: float = 1 / 255, offset: float = 0.0) -> Any:
        """From pixel values 0-255 to 0-1, or as said."""
        return _L.Rescaling(scale, offset, dtype=self._dtype)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Seed what is built inside by code that takes no seed.

        Keras draws the seeds of initializers from Python's global generator, which is
        put back as it was.
        """
        before = random.getstate()
        random.seed(next(self._seeds))
        try:
            yield
        finally:
            random.setstate(before)

    def flatten(self) -> Any:
        """All values of an image in one row."""
        return _L.Flatten(dtype=self._dtype)

    def dense(self, units: int, *, l2: float = 0.0, use_bias: bool = True) -> Any:
        """A fully connected layer without activation."""
        return _L.Dense(units, dtype=self._dtype, use_bias=use_bias, **self._kernel(l2))

    def conv(
        self, filters: int, size: int, *, strides: int = 1, l2: float = 0.0, use_bias: bool = True
    ) -> Any:
        """A convolution with padding "same", without activation."""
        return _L.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            dtype=self._dtype,
            use_bias=use_bias,
            **self._kernel(l2),
        )

    def max_pooling(self) -> Any:
        """The largest of each 2x2 square."""
        return _L.MaxPooling2D(2, dtype=self._dtype)

    def global_average_pooling(self) -> Any:
        """The mean of each channel over an image: from maps of any size to a vector."""
        return _L.GlobalAveragePooling2D(dtype=self._dtype)

    def global_max_pooling(self) -> Any:
        """The largest value of each channel over an image: from maps of any size to a vector."""
        return _L.GlobalMaxPooling2D(dtype=self._dtype)

    def add(self, *branches: Layers) -> Branches:
        """Sum what two or more branches make of the same tensor; their shapes are alike."""
        return Branches(branches, _L.Add(dtype=self._dtype))

    def concatenate(self, *branches: Layers) -> Branches:
        """Put the channels of two or more branches behind each other."""
        return Branches(branches, _L.Concatenate(dtype=self._dtype))

    def batch_normalization(self) -> Any:
        """Batch normalisation over the last axis."""
        layer = FusedBatchNormalization if self._fused else _L.BatchNormalization
        return layer(momentum=MOMENTUM, dtype=self._dtype)

    def activation(self, name: str) -> Any:
        """A named activation function of Keras."""
        return _L.Activation(name, dtype=self._dtype)

    def dropout(self, rate: float) -> Any:
        """Dropout; the stock layer does nothing in inference."""
        layer = FusedDropout if self._fused else _L.Dropout
        return layer(rate, seed=next(self._seeds), dtype=self._dtype)

    def output(self, num_classes: int) -> list[Any]:
        """The last layers: logits in float32 for training, probabilities for inference."""
        logits = _L.Dense(
            num_classes,
            dtype="float32",
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(self._seeds)),
            name="logits",
        )
        if self._training:
            return [logits]
        return [logits, _L.Softmax(dtype="float32", name="probabilities")]

    def _kernel(self, l2: float) -> dict[str, Any]:
        seed = next(self._seeds)
        arguments: dict[str, Any] = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=seed)
        }
        # A penalty belongs to training alone: the saved model would carry it along.
        if l2 and self._training:
            regularizer = FusedL2 if self._fused else keras.regularizers.L2
            arguments["kernel_regularizer"] = regularizer(l2)
        return arguments
