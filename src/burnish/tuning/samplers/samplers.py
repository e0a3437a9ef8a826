"""The samplers that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from burnish.errors import StudyError
from burnish.registry import Registry
from burnish.tuning.samplers.gp import GP
from burnish.tuning.samplers.grid import GRID
from burnish.tuning.samplers.random import RANDOM
from burnish.tuning.samplers.sampler import Sampler
from burnish.tuning.samplers.tpe import TPE

SAMPLERS: Registry[Sampler] = Registry("sampler", StudyError, (RANDOM, GRID, TPE, GP))


def find_sampler(name: str) -> Sampler:
    """Return the sampler of a name.

    Raises
    ------
    StudyError
        If there is none, or what it needs is not installed.
    """
    sampler = SAMPLERS.find(name)
    missing = sampler.explain_missing()
    if missing is not None:
        raise StudyError(f"the sampler '{name}' {missing}")
    return sampler
