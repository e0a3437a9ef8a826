"""Adam, through one fused kernel a variable where the backend has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.backend import BACKEND, keras
from burnish.errors import BurnishError


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam with the same variables and formula, as one TensorFlow kernel.

    Kingma & Ba 2015, algorithm 1 in the form at the end of its section 2.

    Parameters
    ----------
    learning_rate
        Of every variable but those in ``factors``.
    factors
        What the learning rate of a variable is multiplied by, by its ``id``.
    decay
        Decoupled weight decay (Loshchilov & Hutter 2019) of kernels: so much of a weight goes
        with each step, times the learning rate.
    """

    def __init__(
        self,
        learning_rate: float,
        factors: Mapping[int, float] | None = None,
        decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self._decay = decay
        self._factor_of = dict(factors or {})
        self._factors: list[float] = []

    def build(self, variables: Any) -> None:
        """Make the state of variables, and look up their factors."""
        super().build(variables)
        self._factors = [self._factor_of.get(id(variable), 1.0) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient."""
        import tensorflow as tf

        index = self._get_variable_index(variable)
        rate = tf.cast(learning_rate, tf.float32)
        if self._factors[index] != 1.0:
            rate *= self._factors[index]
        if self._decay and len(variable.shape) > 1:
            variable.assign_sub(variable * (rate * self._decay))
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def make_adam(
    learning_rate: float, factors: Mapping[int, float] | None = None, decay: float = 0.0
) -> Any:
    """Adam with Keras's defaults, fused on TensorFlow; see :class:`FusedAdam`.

    Raises
    ------
    BurnishError
        If there are factors, and the backend is not TensorFlow.
    """
    if BACKEND == "tensorflow":
        return FusedAdam(learning_rate, factors, decay)
    if factors:
        raise BurnishError(f"learning rates by layer need TensorFlow, not {BACKEND}")
    return keras.optimizers.Adam(learning_rate, weight_decay=decay or None)
