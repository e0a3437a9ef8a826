"""What a sampler is: a plug point. It proposes the params of the next trial.

A sampler holds no state. What it proposes depends on the space, the observations
and a seed alone, so a stage that goes on after a crash proposes what it would
have proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish.space import SearchSpace, Value

Point = dict[str, Value]


@dataclass(frozen=True)
class Observation:
    """What is known of one trial at one budget when the next is proposed.

    ``loss`` is ``None`` while it runs and where it failed; ``epochs`` is the budget
    at which ``loss`` was measured. A trial that was promoted has one for each budget,
    so that at each it is compared with all the others that had as much.
    """

    params: Point
    loss: float | None
    epochs: float
    running: bool = False


Propose = Callable[[SearchSpace, Sequence[Observation], int], Point]


def _needs_nothing() -> None:
    """Everything that burnish needs for a study is there."""


@dataclass(frozen=True)
class Sampler:
    """A way to propose params.

    Attributes
    ----------
    name
        The name by which a study file asks for it.
    propose
        From space, observations and seed to a point of the space, which may have
        been proposed before.
    adaptive
        Whether a proposal depends on results; where not, none has to be waited for.
    exhaustive
        Whether it goes through every point of the space: it then needs ranges that can be
        counted, and a stage that names no number of trials tries them all.
    explain_missing
        Says which package it needs and how to install it, or returns ``None`` where all is there.
    """

    name: str
    propose: Propose
    adaptive: bool
    exhaustive: bool = False
    explain_missing: Callable[[], str | None] = _needs_nothing


def key_of(space: SearchSpace, params: Point) -> tuple[Value, ...]:
    """Return the values of a point in the order of the space, to tell points apart."""
    return tuple(params[name] for name in space.ranges)
