"""A task, and what became of the attempts at it: tried again, or failed after some.

Ray repeats none by itself, so that attempts count as they do for processes on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from burnish.tuning.executor import ATTEMPTS, FitTask

NODES_LOST = 5
"""Nodes that may be lost under a fit before it counts as failed: it is hardly the fit's fault."""


@dataclass(frozen=True)
class AttemptedTask:
    """A task, what crashes ended the attempts at it, and how many nodes were lost under them."""

    task: FitTask
    crashes: tuple[str, ...] = ()
    nodes_lost: int = 0

    @property
    def next_attempt(self) -> int:
        """Number of the attempt that is next, or under way; from 1."""
        return len(self.crashes) + self.nodes_lost + 1

    def lose_node(self) -> AttemptedTask:
        """Return the task after an attempt whose node was lost."""
        return replace(self, nodes_lost=self.nodes_lost + 1)

    def crash(self, how: str) -> AttemptedTask:
        """Return the task after an attempt whose worker process ended."""
        return replace(self, crashes=(*self.crashes, how))

    def find_failure(self) -> str | None:
        """Say why the task is not tried again; ``None`` where it is."""
        if self.nodes_lost >= NODES_LOST:
            return f"its node was lost, {self.nodes_lost} times"
        if len(self.crashes) >= ATTEMPTS:
            said = ", then ".join(dict.fromkeys(self.crashes))
            return f"its worker process {said}, {len(self.crashes)} times"
        return None
