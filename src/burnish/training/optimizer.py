"""Adam, through one fused kernel a variable where the backend has it."""

from __future__ import annotations

from typing import Any

from burnish.backend import BACKEND, keras


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam with the same variables and formula, as one TensorFlow kernel.

    Kingma & Ba 2015, algorithm 1 in the form at the end of its section 2.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient."""
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def make_adam(learning_rate: float) -> Any:
    """Adam with Keras's defaults, fused on TensorFlow."""
    optimizer = FusedAdam if BACKEND == "tensorflow" else keras.optimizers.Adam
    return optimizer(learning_rate)
