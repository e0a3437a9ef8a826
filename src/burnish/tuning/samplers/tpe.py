"""Sampler ``tpe``: tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from burnish.space import SearchSpace
from burnish.tuning.samplers.ask_optuna import NUM_RANDOM, ask_optuna
from burnish.tuning.samplers.sampler import Observation, Point, Sampler


def _propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """Ask it in its multivariate form; running trials count as bad ones."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=NUM_RANDOM
        )
    return ask_optuna(sampler, space, observations, seed)


TPE = Sampler("tpe", _propose, adaptive=True)
