"""Sampler ``gp``: a Gaussian process with log expected improvement, Optuna's; needs PyTorch."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence

from burnish.space import SearchSpace
from burnish.tuning.samplers.ask_optuna import NUM_RANDOM, ask_optuna
from burnish.tuning.samplers.sampler import Observation, Point, Sampler


def _propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=NUM_RANDOM)
    return ask_optuna(sampler, space, observations, seed)


def _explain_missing() -> str | None:
    if importlib.util.find_spec("torch") is not None:
        return None
    return "needs PyTorch: pip install 'burnish[gp]', or take 'tpe', which needs nothing more"


GP = Sampler("gp", _propose, adaptive=True, explain_missing=_explain_missing)
