"""Samplers: from what has been observed so far to the params of the next trial."""

from burnish.tuning.samplers.draw import draw_value
from burnish.tuning.samplers.propose import Allows, propose_params
from burnish.tuning.samplers.sampler import Observation, Point, Sampler
from burnish.tuning.samplers.samplers import SAMPLERS, find_sampler

__all__ = [
    "SAMPLERS",
    "Allows",
    "Observation",
    "Point",
    "Sampler",
    "draw_value",
    "find_sampler",
    "propose_params",
]
