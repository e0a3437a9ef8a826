"""The next point of a search: a sampler's, unless it was tried before or is not allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from burnish.errors import StudyError, describe_exception
from burnish.space import SearchSpace
from burnish.tuning.samplers.draw import draw_point
from burnish.tuning.samplers.sampler import Observation, Point, Sampler, key_of

Allows = Callable[[Point], bool]
"""Whether a point may be proposed, whatever a sampler thinks of it."""

MAX_DRAWS = 1000
"""After so many points of a large space that may not be proposed it passes for exhausted."""


def propose_params(
    sampler: Sampler,
    space: SearchSpace,
    observations: Sequence[Observation],
    seed: int,
    allows: Allows = lambda point: True,
) -> Point | None:
    """Propose a point that no observation has, or ``None`` when the space is exhausted.

    Parameters
    ----------
    sampler, space
        Who proposes, and from what.
    observations
        Of every trial so far, in the order of their numbers.
    seed
        Derived from (study seed, stage, trial number).
    allows
        What is not admitted is passed over. The sampler is told of it as of a trial that
        failed; none of ours learns from those, and a grid goes on behind it.

    Raises
    ------
    StudyError
        If the sampler raises anything, or proposes what is not in the space.
    """
    seen = {key_of(space, o.params) for o in observations}
    known = list(observations)
    repeats = 0
    for attempt in range(10 if sampler.adaptive else MAX_DRAWS):
        if space.size is not None and len(seen) >= space.size:
            return None
        point = _ask_sampler(sampler, space, known, _reseed(seed, attempt))
        if key_of(space, point) in seen:
            repeats += 1
            # Asking a model again is slow, and its answer seldom another.
            if repeats == (3 if sampler.adaptive else 20):
                break
            continue
        if allows(point):
            return point
        seen.add(key_of(space, point))
        known.append(Observation(point, None, 0.0))
    # A model that insists on what it has seen: any other point tells more.
    generator = np.random.default_rng(_reseed(seed, MAX_DRAWS))
    if space.size is not None and space.size <= 100_000:
        unseen = [point for point in space.points() if key_of(space, point) not in seen]
        for index in generator.permutation(len(unseen)):
            if allows(unseen[int(index)]):
                return unseen[int(index)]
        return None
    refused = 0
    while refused < MAX_DRAWS:
        point = draw_point(space, generator)
        if key_of(space, point) not in seen:
            if allows(point):
                return point
            refused += 1
    return None


def _ask_sampler(
    sampler: Sampler, space: SearchSpace, observations: Sequence[Observation], seed: int
) -> Point:
    try:
        point = sampler.propose(space, observations, seed)
    except Exception as error:  # Whatever a sampler from outside dies of.
        raise StudyError(
            f"the sampler '{sampler.name}' failed: {describe_exception(error)}"
        ) from error
    if point not in space or set(point) != set(space.ranges):
        raise StudyError(
            f"the sampler '{sampler.name}' proposed {point}, which is not a point of the space "
            f"of {', '.join(space.ranges)}"
        )
    return point


def _reseed(seed: int, attempt: int) -> int:
    return int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])
