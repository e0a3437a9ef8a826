"""The nodes of a cluster: who is there, who has come or gone, and whether a fit has room."""

from __future__ import annotations

from collections.abc import Callable

from burnish.errors import ClusterError
from burnish.tuning.executor import Resources
from burnish.tuning.ray.cluster import Cluster


class Roster:
    """The nodes as they were last seen; changes are told to a person."""

    def __init__(self, cluster: Cluster, on_note: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._on_note = on_note
        self._nodes = {node.id: node for node in cluster.nodes()}
        self._gone: set[str] = set()
        self._told: set[Resources] = set()

    def look(self) -> None:
        """Look who is there, if it is time to."""
        found = self._cluster.look()
        if found is None:
            return
        nodes = {node.id: node for node in found}
        gone = [node for id_, node in self._nodes.items() if id_ not in nodes]
        come = [node for id_, node in nodes.items() if id_ not in self._nodes]
        self._nodes = nodes
        self._gone.update(node.id for node in gone)
        for node, what in [*((node, "has left") for node in gone), *((n, "joins") for n in come)]:
            self._on_note(f"{node.describe()} {what}: {self._cluster.describe()}")

    def has_left(self, node: str) -> bool:
        """Whether a node, by its id, was there and is there no longer."""
        return node in self._gone

    def refuse_what_fits_nowhere(self, needs: Resources) -> None:
        """Refuse, or say, that no node has what a fit asks for.

        Raises
        ------
        ClusterError
            If nodes cannot join, as the cluster was started here.
        """
        if needs in self._told or any(node.count_fits(needs) for node in self._nodes.values()):
            return
        self._told.add(needs)
        asked = f"{needs.cpus} CPUs, {needs.gpus:g} GPUs and {needs.memory / 1e9:g} GB of memory"
        if self._cluster.started:
            raise ClusterError(
                f"a fit asks for {asked}, and this machine has no such room "
                f"({self._cluster.describe()}): lower the stage's resources"
            )
        self._on_note(
            f"a fit asks for {asked}, and no node of the cluster ({self._cluster.describe()}) "
            "has that: it waits until one joins"
        )
