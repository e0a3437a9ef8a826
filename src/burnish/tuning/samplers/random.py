"""Sampler ``random``: every value of a range is as likely as another (Bergstra & Bengio 2012)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from burnish.space import SearchSpace
from burnish.tuning.samplers.draw import draw_point
from burnish.tuning.samplers.sampler import Observation, Point, Sampler


def _propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    return draw_point(space, np.random.default_rng(seed))


RANDOM = Sampler("random", _propose, adaptive=False)
