"""Sampler ``grid``: every combination in turn, the last name varying fastest."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.space import SearchSpace
from burnish.tuning.samplers.sampler import Observation, Point, Sampler, key_of


def _propose(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Point:
    """Return the first combination that has not been tried."""
    seen = {key_of(space, o.params) for o in observations}
    return next(point for point in space.points() if key_of(space, point) not in seen)


GRID = Sampler("grid", _propose, adaptive=False, exhaustive=True)
