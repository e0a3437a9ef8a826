"""The compiled training and prediction loops: the seam between burnish and a backend.

What is measured in docs/log.md and done here: the split lies in memory once, as
uint8; gathering a batch, augmenting it, the forward and backward pass and the
update are one compiled graph, which runs many steps per call; no XLA, which makes
it slower on a CPU.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from burnish.backend import BACKEND
from burnish.data import Split
from burnish.errors import BurnishError
from burnish.models.augmentation import transform_images

PREDICTION_BATCH = 500
"""Images predicted at once: larger batches fall out of the processor's cache."""


class Trainer(Protocol):
    """Runs steps of training on one model and one split."""

    def run(
        self,
        indices: NDArray[np.int32],
        transforms: NDArray[np.float32] | None,
        rates: NDArray[np.float32],
    ) -> tuple[float, float]:
        """Train one step per row of ``indices``; see :func:`make_trainer`."""
        ...


class Predictor(Protocol):
    """Predicts the images that it holds."""

    def predict(self) -> NDArray[np.float32]:
        """Give probabilities, shape (num_images, num_classes), of the model as it is now."""
        ...


_HELD: WeakKeyDictionary[Split, tuple[Any, Any]] = WeakKeyDictionary()


def _hold(split: Split) -> tuple[Any, Any]:
    """Give a split's images and labels as tensors, the same ones to every fit on it."""
    import tensorflow as tf

    if split not in _HELD:
        _HELD[split] = tf.constant(split.images), tf.constant(split.labels)
    return _HELD[split]


class _TensorFlowTrainer:
    def __init__(
        self, model: Any, optimizer: Any, split: Split, batch_size: int, augmented: bool
    ) -> None:
        import tensorflow as tf

        optimizer.build(model.trainable_variables)
        variables = model.trainable_variables
        tensors = [variable.value for variable in variables]
        images, labels = _hold(split)
        regularized = any(getattr(layer, "kernel_regularizer", None) for layer in model.layers)

        def step(picked: Any, transforms: Any, rate: Any) -> tuple[Any, Any]:
            x = tf.cast(tf.gather(images, picked), tf.float32)
            y = tf.gather(labels, picked)
            if augmented:
                x = transform_images(x, transforms)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(tensors)
                logits = model(x, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
                objective = tf.reduce_mean(losses)
                if regularized:
                    objective += tf.add_n(model.losses)
            optimizer.learning_rate.assign(rate)
            optimizer.apply(tape.gradient(objective, tensors), variables)
            right = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == y, tf.float32)
            return tf.reduce_sum(losses), tf.reduce_sum(right)

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec((None, batch_size), tf.int32),
                tf.TensorSpec((None, batch_size, 8), tf.float32),
                tf.TensorSpec((None,), tf.float32),
            ],
            jit_compile=False,
            autograph=False,
        )
        def run(indices: Any, transforms: Any, rates: Any) -> tuple[Any, Any]:
            def body(number: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
                drawn = transforms[number] if augmented else None
                add_loss, add_right = step(indices[number], drawn, rates[number])
                return number + 1, loss + add_loss, right + add_right

            _, loss, right = tf.while_loop(
                lambda number, *_: number < tf.shape(rates)[0],
                body,
                (tf.constant(0), tf.constant(0.0), tf.constant(0.0)),
                parallel_iterations=1,
            )
            return loss, right

        self._run = run
        self._nothing = np.zeros((0, batch_size, 8), np.float32)

    def run(
        self,
        indices: NDArray[np.int32],
        transforms: NDArray[np.float32] | None,
        rates: NDArray[np.float32],
    ) -> tuple[float, float]:
        loss, right = self._run(indices, self._nothing if transforms is None else transforms, rates)
        return float(loss), float(right)


class _TensorFlowPredictor:
    def __init__(self, model: Any, images: NDArray[np.uint8]) -> None:
        import tensorflow as tf

        self._images = images
        self._num_classes = model.output_shape[-1]

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.uint8)],
            jit_compile=False,
            autograph=False,
        )
        def predict(batch: Any) -> Any:
            return model(tf.cast(batch, tf.float32), training=False)

        self._predict = predict

    def predict(self) -> NDArray[np.float32]:
        parts = [
            self._predict(self._images[first : first + PREDICTION_BATCH]).numpy()
            for first in range(0, len(self._images), PREDICTION_BATCH)
        ]
        if not parts:
            return np.zeros((0, self._num_classes), np.float32)
        return np.concatenate(parts)


def _refuse_backend() -> None:
    if BACKEND != "tensorflow":
        raise BurnishError(
            f"KERAS_BACKEND is '{BACKEND}', and burnish trains on TensorFlow alone so far: "
            "unset KERAS_BACKEND, or set it to 'tensorflow'"
        )


def make_trainer(
    model: Any, optimizer: Any, split: Split, *, batch_size: int, augmented: bool
) -> Trainer:
    """Compile training steps of a model on a split.

    The trainer's ``run`` takes the indices of the images to train on, shape
    (num_steps, batch_size); their transformations, shape (num_steps, batch_size, 8),
    or ``None``; and a learning rate per step, shape (num_steps,). It gives the summed
    cross-entropy and the number of images that were classified rightly.

    Every step has the same number of images: shapes are then known when the graph
    is compiled, which spares a small network a sixth of its time.
    """
    _refuse_backend()
    return _TensorFlowTrainer(model, optimizer, split, batch_size, augmented)


def make_predictor(model: Any, images: NDArray[np.uint8]) -> Predictor:
    """Compile the prediction of images, shape (num_images, height, width, channels).

    The model takes pixel values 0-255 and gives one row per image.
    """
    _refuse_backend()
    return _TensorFlowPredictor(model, images)
