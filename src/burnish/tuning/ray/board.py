"""The notice-board of a cluster as this process reads it: where attempts have begun."""

from __future__ import annotations

from typing import Any

import ray
import ray.exceptions
import ray.util.client
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from burnish.tuning.ray.node import Board


class NoticeBoard:
    """An actor that is made when it is needed, and anew where it has died."""

    def __init__(self) -> None:
        self._actor: Any = None

    def find(self) -> Any:
        """Return the actor."""
        if self._actor is None:
            options: dict[str, Any] = {"num_cpus": 0}
            if not ray.util.client.ray.is_connected():
                here = ray.get_runtime_context().get_node_id()
                options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=True)
            self._actor = ray.remote(Board).options(**options).remote()
        return self._actor

    def read(self, timeout: float) -> list[tuple[str, tuple[str, str, str, int]]]:
        """Return what has been posted since the last time, within so many seconds."""
        try:
            posts: list[tuple[str, tuple[str, str, str, int]]] = ray.get(
                self.find().take.remote(), timeout=timeout
            )
        except ray.exceptions.GetTimeoutError:
            return []
        except ray.exceptions.RayActorError:
            self._actor = None
            return []
        return posts

    def close(self) -> None:
        """End the actor; whatever becomes of it, it is not used again."""
        actor, self._actor = self._actor, None
        if actor is not None:
            ray.kill(actor)
