"""The compiled training and prediction loops: the seam between burnish and a backend.

What is measured in docs/log.md and done here: the split lies in memory once, as
uint8 (a large one in a mapped file, which is read ahead); gathering a batch,
augmenting it, the forward and backward pass and the update are one compiled graph,
which runs many steps per call; no XLA, which makes it slower on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.backend import BACKEND
from burnish.data import Split
from burnish.errors import BurnishError
from burnish.training.averaging import WeightAverage

PREDICTION_BATCH = 500
"""Most images predicted at once: larger batches fall out of the processor's cache."""

PREDICTION_PIXELS = PREDICTION_BATCH * 28 * 28
"""Most pixels predicted at once, so that the memory it takes does not grow with the images."""

PIECE_BYTES = 2**23
"""Bytes of images that are read ahead from a split that is not held."""


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
        """Return probabilities, shape (num_images, num_classes), of the model as it is now."""
        ...


_HELD: WeakKeyDictionary[Split, Any] = WeakKeyDictionary()


def cached_tensor(split: Split) -> Any:
    """Return a split's images as a tensor, the same one to every fit on it.

    On a processor it lies on the split's own memory where it can; `tf.constant` takes twice
    the bytes of the images, beside them.
    """
    import tensorflow as tf

    if split not in _HELD:
        if tf.config.list_logical_devices("GPU"):
            _HELD[split] = tf.constant(split.images)
        else:
            _HELD[split] = tf.experimental.dlpack.from_dlpack(split.as_dlpack().__dlpack__())
    return _HELD[split]


def _read_ahead(
    split: Split, parts: Sequence[slice | NDArray[np.int32]]
) -> Iterator[NDArray[np.uint8]]:
    """Read parts of a split, each while the one before it is being used."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(split.read, parts[0])
        for part in parts[1:]:
            present, coming = coming.result(), reader.submit(split.read, part)
            yield present
        yield coming.result()


class _TensorFlowTrainer:
    def __init__(
        self,
        model: Any,
        optimizer: Any,
        split: Split,
        batch_size: int,
        augmentation: Augmentation,
        class_weights: NDArray[np.float32] | None,
        label_smoothing: float,
        average: WeightAverage | None,
    ) -> None:
        import tensorflow as tf

        optimizer.build(model.trainable_variables)
        variables = model.trainable_variables
        tensors = [variable.value for variable in variables]
        labels = tf.constant(split.labels)
        weights = None if class_weights is None else tf.constant(class_weights)
        regularized = any(getattr(layer, "kernel_regularizer", None) for layer in model.layers)
        held = split.is_held
        augmented, width = augmentation.is_active, augmentation.width
        images = cached_tensor(split) if held else None
        num_classes = model.output_shape[-1]

        def step(picked: Any, pixels: Any, transforms: Any, rate: Any) -> tuple[Any, Any]:
            x = tf.cast(pixels, tf.float32)
            y = tf.gather(labels, picked)
            targets = None
            if augmented:
                x, targets = _augment(augmentation, x, y, transforms, num_classes)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(tensors)
                logits = model(x, training=True)
                weighted, objective = _measure_losses(logits, y, targets, weights, label_smoothing)
                if regularized:
                    objective += tf.add_n(model.losses)
            optimizer.learning_rate.assign(rate)
            optimizer.apply(tape.gradient(objective, tensors), variables)
            if average is not None:
                average.update()
            right = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == y, tf.float32)
            return tf.reduce_sum(weighted), tf.reduce_sum(right)

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec((None, batch_size), tf.int32),
                tf.TensorSpec((None, batch_size, *split.image_shape), split.dtype),
                tf.TensorSpec((None, batch_size, width), tf.float32),
                tf.TensorSpec((None,), tf.float32),
            ],
            jit_compile=False,
            autograph=False,
        )
        def run(indices: Any, pixels: Any, transforms: Any, rates: Any) -> tuple[Any, Any]:
            def body(number: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
                picked = indices[number]
                x = tf.gather(images, picked) if held else pixels[number]
                drawn = transforms[number] if augmented else None
                add_loss, add_right = step(picked, x, drawn, rates[number])
                return number + 1, loss + add_loss, right + add_right

            _, loss, right = tf.while_loop(
                lambda number, *_: number < tf.shape(rates)[0],
                body,
                (tf.constant(0), tf.constant(0.0), tf.constant(0.0)),
                parallel_iterations=1,
            )
            return loss, right

        self._run = run
        self._split = split
        self._held = held
        self._no_pixels = np.zeros((0, batch_size, *split.image_shape), split.dtype)
        self._no_transforms = np.zeros((0, batch_size, width), np.float32)
        image_bytes = math.prod(split.image_shape) * split.dtype.itemsize
        self._steps_read = max(1, PIECE_BYTES // (batch_size * image_bytes))

    def run(
        self,
        indices: NDArray[np.int32],
        transforms: NDArray[np.float32] | None,
        rates: NDArray[np.float32],
    ) -> tuple[float, float]:
        drawn = self._no_transforms if transforms is None else transforms
        if self._held:
            loss, right = self._run(indices, self._no_pixels, drawn, rates)
            return float(loss), float(right)
        total_loss = total_right = 0.0
        steps = range(0, len(indices), self._steps_read)
        parts = [slice(first, first + self._steps_read) for first in steps]
        pieces = _read_ahead(self._split, [indices[part] for part in parts])
        for part, pixels in zip(parts, pieces, strict=True):
            loss, right = self._run(indices[part], pixels, drawn[part], rates[part])
            total_loss, total_right = total_loss + float(loss), total_right + float(right)
        return total_loss, total_right


def _augment(
    augmentation: Augmentation, images: Any, y: Any, drawn: Any, num_classes: int
) -> tuple[Any, Any | None]:
    """Return changed images and, where they are mixed, the shares of classes in each."""
    import tensorflow as tf

    images = augmentation.apply(images, drawn)
    if not augmentation.is_mixing:
        return images, None
    return augmentation.mix(images, tf.one_hot(y, num_classes), drawn)


def _measure_losses(
    logits: Any, y: Any, targets: Any | None, weights: Any | None, smoothing: float
) -> tuple[Any, Any]:
    """Return each image's cross-entropy, weighted by its class, and what is to be made small.

    Where images were mixed, ``targets`` are the shares of classes, shape (batch, num_classes).
    """
    import tensorflow as tf

    if targets is None:
        share = None if weights is None else tf.gather(weights, y)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    else:
        share = None if weights is None else tf.linalg.matvec(targets, weights)
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    weighted = losses if share is None else losses * share
    objective = tf.reduce_mean(weighted)
    if smoothing:
        # The cross-entropy to the other target: each class alike.
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)
        even = even if share is None else even * share
        objective += smoothing * (tf.reduce_mean(even) - objective)
    return weighted, objective


class _TensorFlowPredictor:
    def __init__(self, model: Any, split: Split) -> None:
        import tensorflow as tf

        self._split = split

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, *split.image_shape), split.dtype)],
            jit_compile=False,
            autograph=False,
        )
        def predict(batch: Any) -> Any:
            return model(tf.cast(batch, tf.float32), training=False)

        self._predict = predict

    def predict(self) -> NDArray[np.float32]:
        height, width, _ = self._split.image_shape
        batch = max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // (height * width)))
        parts = [slice(first, first + batch) for first in range(0, len(self._split), batch)]
        return np.concatenate(
            [self._predict(images).numpy() for images in _read_ahead(self._split, parts)]
        )


def _refuse_backend() -> None:
    if BACKEND != "tensorflow":
        raise BurnishError(
            f"KERAS_BACKEND is '{BACKEND}', and burnish trains on TensorFlow alone so far: "
            "unset KERAS_BACKEND, or set it to 'tensorflow'"
        )


def make_trainer(
    model: Any,
    optimizer: Any,
    split: Split,
    *,
    batch_size: int,
    augmentation: Augmentation,
    class_weights: NDArray[np.float32] | None = None,
    label_smoothing: float = 0.0,
    average: WeightAverage | None = None,
) -> Trainer:
    """Compile training steps of a model on a split.

    The trainer's ``run`` takes the indices of the images to train on, shape
    (num_steps, batch_size); what the augmentation drew for them, shape (num_steps, batch_size,
    width), or ``None``; and a learning rate per step, shape (num_steps,). It gives the summed
    cross-entropy and the number of images that were classified rightly. With
    ``class_weights``, shape (num_classes,), each image's loss counts by its class. With
    ``label_smoothing`` (Szegedy et al. 2016) that share of what is asked for is spread over all
    classes; the losses that it gives are without. An ``average`` takes in the weights of every
    step. Where the augmentation mixes images, losses are to the mixed labels, and an image is
    classified rightly where its own class, which has the larger share, is found.

    Every step has the same number of images: shapes are then known when the graph
    is compiled, which spares a small network a sixth of its time.
    """
    _refuse_backend()
    return _TensorFlowTrainer(
        model, optimizer, split, batch_size, augmentation, class_weights, label_smoothing, average
    )


def make_predictor(model: Any, split: Split) -> Predictor:
    """Compile the prediction of a split's images.

    The model takes pixel values 0-255 and gives one row per image.
    """
    _refuse_backend()
    return _TensorFlowPredictor(model, split)
