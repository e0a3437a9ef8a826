"""What nodes must have in common, so that a result does not depend on where a trial runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from burnish.errors import ClusterError
from burnish.tuning.ray.node import Facts, Place

ALIKE = ("processor", "bfloat16")
"""Facts in which nodes must agree with one another, but not with this machine."""


class Agreement:
    """The facts of this machine, and of the nodes that have been heard of."""

    def __init__(self, here: Facts, on_note: Callable[[str], None]) -> None:
        self._here = here
        self._on_note = on_note
        self._expected = {name: value for name, value in here.items() if name not in ALIKE}

    @property
    def expected(self) -> Facts:
        """What must be so on every node, as far as is known now."""
        return self._expected

    def refuse_misfit(self, place: Place, reply: Mapping[str, Any]) -> None:
        """Refuse a node that is not as it must be, or not as the first one was.

        Raises
        ------
        ClusterError
            Names the node, and the fact.
        """
        misfit = reply.get("misfit") or self._find_misfit(reply["facts"])
        if misfit is not None:
            raise ClusterError(
                f"the node {place.describe()} cannot take part: {misfit}. Results would depend "
                "on where a trial runs: give all nodes the same burnish, versions and type of "
                "machine, or take this one out of the cluster."
            )

    def _find_misfit(self, facts: Facts) -> str | None:
        """Compare a node's facts, and expect of others those that nobody has told before."""
        for name, value in facts.items():
            if name not in self._expected:
                self._expected[name] = value
                if name in ALIKE and self._here.get(name) != value:
                    self._on_note(
                        f"trials are fitted by another kind of machine ({name}: {value}) than "
                        f"stages' own fits here ({self._here.get(name)})"
                    )
            elif self._expected[name] != value:
                return f"{name} is {value} there, not {self._expected[name]}"
        return None
