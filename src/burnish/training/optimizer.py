"""Adam and SGD, through one fused kernel a variable where the backend has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.backend import BACKEND, keras
from burnish.errors import BurnishError
from burnish.recipe import RECIPE, recipe_number
from burnish.space import Params


class _Steps:
    """How far each variable goes: learning rates by variable, decay of kernels.

    Parameters
    ----------
    factors
        What the learning rate of a variable is multiplied by, by its ``id``.
    decay
        Decoupled weight decay (Loshchilov & Hutter 2019) of kernels: so much of a weight goes
        with each step, times the learning rate.
    """

    def __init__(self, factors: Mapping[int, float] | None, decay: float) -> None:
        self._decay = decay
        self._factor_of = dict(factors or {})
        self._factors: list[float] = []

    def build(self, variables: Any) -> None:
        """Look up the variables' factors."""
        self._factors = [self._factor_of.get(id(variable), 1.0) for variable in variables]

    def take(self, index: int, variable: Any, learning_rate: Any) -> Any:
        """Let a variable decay, and return its learning rate in float32."""
        import tensorflow as tf

        rate = tf.cast(learning_rate, tf.float32)
        if self._factors[index] != 1.0:
            rate *= self._factors[index]
        if self._decay and len(variable.shape) > 1:
            variable.assign_sub(variable * (rate * self._decay))
        return rate


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam with the same variables and formula, as one TensorFlow kernel.

    Kingma & Ba 2015, algorithm 1 in the form at the end of its section 2.

    Parameters
    ----------
    learning_rate
        Of every variable but those in ``factors``.
    factors, decay
        As `_Steps` takes them.
    """

    def __init__(
        self,
        learning_rate: float,
        factors: Mapping[int, float] | None = None,
        decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self._steps = _Steps(factors, decay)

    def build(self, variables: Any) -> None:
        """Make the state of variables, and look up their factors."""
        super().build(variables)
        self._steps.build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient."""
        import tensorflow as tf

        index = self._get_variable_index(variable)
        rate = self._steps.take(index, variable, learning_rate)
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


class FusedSGD(keras.optimizers.SGD):  # type: ignore[misc]
    """Keras's SGD with Nesterov momentum, the same variables and formula, as one kernel.

    Sutskever et al. 2013, section 2, in the form that needs the gradient at the weights alone.

    Parameters
    ----------
    learning_rate
        Of every variable but those in ``factors``.
    momentum
        Above 0, below 1.
    factors, decay
        As `_Steps` takes them.
    """

    def __init__(
        self,
        learning_rate: float,
        momentum: float,
        factors: Mapping[int, float] | None = None,
        decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=momentum > 0)
        self._steps = _Steps(factors, decay)

    def build(self, variables: Any) -> None:
        """Make the state of variables, and look up their factors."""
        super().build(variables)
        self._steps.build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable from its gradient."""
        import tensorflow as tf

        index = self._get_variable_index(variable)
        rate = self._steps.take(index, variable, learning_rate)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=True,
        )


def make_optimizer(params: Params, factors: Mapping[int, float] | None = None) -> Any:
    """Return the optimizer that a fit's hyperparameters ask for, fused on TensorFlow.

    Parameters
    ----------
    params
        ``learning_rate``, and those of :data:`burnish.recipe.RECIPE`.
    factors
        What the learning rate of a variable is multiplied by, by its ``id``.

    Raises
    ------
    BurnishError
        If there are factors, and the backend is not TensorFlow.
    """
    rate, decay = float(params["learning_rate"]), recipe_number(params, "weight_decay")
    is_sgd = params.get("optimizer", RECIPE["optimizer"]) == "sgd"
    momentum = recipe_number(params, "momentum")
    if BACKEND == "tensorflow":
        if is_sgd:
            return FusedSGD(rate, momentum, factors, decay)
        return FusedAdam(rate, factors, decay)
    if factors:
        raise BurnishError(f"learning rates by layer need TensorFlow, not {BACKEND}")
    if is_sgd:
        nesterov = momentum > 0
        return keras.optimizers.SGD(rate, momentum, nesterov, weight_decay=decay or None)
    return keras.optimizers.Adam(rate, weight_decay=decay or None)
