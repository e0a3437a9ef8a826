"""Training of dense layers on all images at once, by L-BFGS with an L2 penalty.

Of one layer this is multinomial logistic regression, whose one minimum some tens of passes over the
images find, without a learning rate; the penalty alone says how far it follows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.data import Split
from burnish.training.dense import (
    DenseNetwork,
    Floats,
    Variable,
    as_vectors,
    hold_vectors,
    measure_slope,
    one_thread,
)

ITERATIONS_PER_EPOCH = 4
"""Each takes a pass over the images, now and then two: after ten epochs little changes any more."""

MEMORY = 10
"""Steps that the curvature is guessed from; Nocedal & Wright 2006, section 7.2, names 3 to 20."""

ENOUGH = 1e-3
"""Share of the objective that an iteration must take away, or it was the last."""

ARMIJO = 1e-4
"""Share of the decrease that the slope promises; Nocedal & Wright 2006, section 3.1."""

HALVINGS = 20
"""Of a step that does not lower the objective, before it is given up."""

ROWS_AT_ONCE = 1024
"""Vectors that stay in the processor's cache between the way through the network and back."""


@dataclass(frozen=True)
class _Point:
    """Where the search stands: the objective with its gradient, and what is reported."""

    objective: float
    gradient: Floats
    loss: float
    accuracy: float


class DenseLbfgs:
    """What L-BFGS remembers: its last steps, and by how much the gradient changed in each."""

    def __init__(self, size: int, penalty: float) -> None:
        self.penalty = penalty
        self.steps = Variable(np.zeros((), np.float32))
        self.is_over = Variable(np.zeros((), np.float32))
        self._num_pairs = Variable(np.zeros((), np.float32))
        self._moves = Variable(np.zeros((MEMORY, size), np.float32))
        self._turns = Variable(np.zeros((MEMORY, size), np.float32))
        self.variables = [
            self.steps,
            self.is_over,
            self._num_pairs,
            self._moves,
            self._turns,
        ]

    def remember(self, move: Floats, turn: Floats) -> None:
        """Keep a step and the change of the gradient; the oldest goes."""
        if float(move @ turn) <= 1e-10 * float(turn @ turn):
            return  # Not convex there: of no use.
        for kept, new in ((self._moves.value, move), (self._turns.value, turn)):
            kept[:-1] = kept[1:]
            kept[-1] = new
        self._num_pairs.value[...] = min(MEMORY, int(self._num_pairs.value) + 1)

    def find_direction(self, gradient: Floats) -> Floats:
        """Return where to go from a gradient: the two loops of Nocedal & Wright 2006, 7.4."""
        count = int(self._num_pairs.value)
        pairs = [(self._moves.value[-i], self._turns.value[-i]) for i in range(1, count + 1)]
        found = -gradient
        shares = []
        for move, turn in pairs:
            share = float(move @ found) / float(move @ turn)
            found -= np.float32(share) * turn
            shares.append(share)
        if pairs:
            move, turn = pairs[0]
            found *= np.float32(float(move @ turn) / float(turn @ turn))
        for (move, turn), share in zip(reversed(pairs), reversed(shares), strict=True):
            found += np.float32(share - float(turn @ found) / float(move @ turn)) * move
        return found


class LbfgsTrainer:
    """Trains dense layers; see :func:`burnish.training.engine.make_trainer`.

    An epoch is `ITERATIONS_PER_EPOCH` iterations, whatever the order of the images and the learning
    rate; dropout takes nothing away.

    Parameters
    ----------
    network, optimizer
        What is trained, and what is remembered of it.
    split
        All vectors, of each image all its views.
    steps_per_epoch
        How many rows of ``indices`` are an epoch.
    class_weights, label_smoothing
        As for `DenseTrainer`.
    """

    def __init__(
        self,
        network: DenseNetwork,
        optimizer: DenseLbfgs,
        split: Split,
        *,
        steps_per_epoch: int,
        class_weights: Floats | None,
        label_smoothing: float,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._split = split
        self._vectors = hold_vectors(split)
        self._steps_per_epoch = steps_per_epoch
        self._class_weights = class_weights
        self._smoothing = label_smoothing
        self._is_kernel = np.concatenate(
            [np.full(v.value.size, v.value.ndim > 1, np.float32) for v in network.variables]
        )
        self._point: _Point | None = None

    def run(
        self, indices: NDArray[np.int32], transforms: Floats | None, rates: Floats
    ) -> tuple[float, float]:
        """Take the iterations that fall due within so many steps."""
        assert transforms is None
        steps = self._optimizer.steps.value
        due = [
            int(steps + n) * ITERATIONS_PER_EPOCH // self._steps_per_epoch
            for n in (0, len(indices))
        ]
        steps += len(indices)
        with one_thread():
            point = self._point or self._measure()
            for _ in range(due[1] - due[0]):
                if not self._optimizer.is_over.value:
                    point = self._iterate(point)
        self._point = point
        return point.loss * indices.size, point.accuracy * indices.size

    def _iterate(self, point: _Point) -> _Point:
        """Go down once; where nothing is gained any more, that was the last time."""
        weights = self._flatten([variable.value for variable in self._network.variables])
        direction = self._optimizer.find_direction(point.gradient)
        promised = float(direction @ point.gradient)
        length = 1.0
        for _ in range(HALVINGS):
            self._set(weights + np.float32(length) * direction)
            found = self._measure()
            if found.objective <= point.objective + ARMIJO * length * promised:
                break
            length /= 2
        else:
            self._set(weights)
            self._optimizer.is_over.value[...] = 1
            return point
        move = np.float32(length) * direction
        self._optimizer.remember(move, found.gradient - point.gradient)
        if point.objective - found.objective < ENOUGH * point.objective:
            self._optimizer.is_over.value[...] = 1
        return found

    def _measure(self) -> _Point:
        """Go through all images once."""
        loss = right = objective = 0.0
        total = np.zeros_like(self._is_kernel)
        num_images = len(self._split)
        for x, labels in self._pieces():
            weights = None if self._class_weights is None else self._class_weights[labels]
            slope = measure_slope(self._network, x, labels, weights, self._smoothing, None)
            loss, right = loss + slope.loss, right + slope.right
            objective += slope.objective
            total += self._flatten(slope.gradients)
        kernels = self._flatten([v.value for v in self._network.variables]) * self._is_kernel
        penalty = self._optimizer.penalty
        return _Point(
            objective / num_images + penalty * float(kernels @ kernels),
            total / np.float32(num_images) + np.float32(2 * penalty) * kernels,
            loss / num_images,
            right / num_images,
        )

    def _pieces(self) -> Iterator[tuple[Floats, NDArray[np.int32]]]:
        for first in range(0, len(self._split), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            held = None if self._vectors is None else self._vectors[rows]
            x = as_vectors(self._split.read(rows)) if held is None else held
            yield x, self._split.labels[rows]

    def _set(self, flat: Floats) -> None:
        first = 0
        for variable in self._network.variables:
            last = first + variable.value.size
            variable.assign(flat[first:last].reshape(variable.value.shape))
            first = last

    def _flatten(self, arrays: list[Floats]) -> Floats:
        return np.concatenate([array.ravel() for array in arrays])
