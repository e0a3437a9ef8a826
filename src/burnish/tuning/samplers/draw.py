"""Draws from a space: every value of a range is as likely as another."""

from __future__ import annotations

import math

import numpy as np

from burnish.space import Float, Int, Range, SearchSpace, Value
from burnish.tuning.samplers.sampler import Point


def draw_point(space: SearchSpace, generator: np.random.Generator) -> Point:
    """Draw a point of a space."""
    return {name: draw_value(r, generator) for name, r in space.ranges.items()}


def draw_value(r: Range, generator: np.random.Generator) -> Value:
    """Draw a value of a range, each as likely as another."""
    if isinstance(r, Float) and r.step is None:
        low, high = (math.log(r.low), math.log(r.high)) if r.log else (r.low, r.high)
        drawn = float(generator.uniform(low, high))
        return min(r.high, max(r.low, math.exp(drawn))) if r.log else drawn
    if isinstance(r, Int) and r.log:
        exact = math.exp(generator.uniform(math.log(r.low - 0.5), math.log(r.high + 0.5)))
        return min(r.high, max(r.low, round(exact)))
    values = r.values()
    return values[int(generator.integers(len(values)))]
