"""Where trials are fitted, by what the user says: processes here, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from burnish.errors import StudyError

if TYPE_CHECKING:
    from burnish.runfolder.store import RunFolder
    from burnish.stages.placement import RayPlacement
    from burnish.study.study import Study

ExecutorName = Literal["local", "ray"]
CheckpointsName = Literal["object-store", "shared"]


@dataclass(frozen=True)
class Placing:
    """Where trials are fitted.

    Attributes
    ----------
    executor
        ``local`` processes, or a cluster of ``ray``.
    address, checkpoints
        Of the cluster; see `burnish.tuning.ray.cluster.connect`.
    memory_per_worker
        Most memory of a process here, such as ``4GB``.

    Raises
    ------
    StudyError
        If something of a cluster is given without one, or of this machine with one.
    """

    executor: ExecutorName = "local"
    address: str | None = None
    checkpoints: CheckpointsName = "object-store"
    memory_per_worker: str | None = None

    def __post_init__(self) -> None:
        if self.executor not in ("local", "ray"):
            raise StudyError(f"executor = {self.executor!r}: expected 'local' or 'ray'")
        if self.executor == "local":
            for name in self.of_cluster():
                raise StudyError(f"--{name} belongs to a cluster: add --executor ray")
        elif self.memory_per_worker is not None:
            raise StudyError(
                "--memory-per-worker is of processes on this machine; on a cluster a stage says "
                'what a fit takes: resources = { memory = "4GB" }'
            )

    def of_cluster(self) -> dict[str, Any]:
        """Return what is given of a cluster, by the name of its keyword."""
        given: dict[str, Any] = {} if self.address is None else {"address": self.address}
        if self.checkpoints != "object-store":
            given["checkpoints"] = str(self.checkpoints)
        return given

    def memory(self) -> int | None:
        """Return the most memory of a process, in bytes; ``None`` where there is no limit.

        Raises
        ------
        StudyError
            If the text is no size, or one too small.
        """
        from burnish.tuning.watchdog import parse_memory

        asked = self.memory_per_worker
        return None if asked is None else parse_memory(asked)

    def open(
        self,
        study: Study,
        workers: int | None,
        folder: RunFolder | None = None,
        on_note: Callable[[str], None] = lambda message: None,
    ) -> AbstractContextManager[RayPlacement | None]:
        """Connect to the cluster while it is needed; ``None`` where there is none."""
        if self.executor == "local":
            return nullcontext()
        from burnish.stages.placement import open_cluster

        return open_cluster(
            study, folder=folder, workers=workers, on_note=on_note, **self.of_cluster()
        )


def find_data_dir(data_dir: Path | None) -> Path | None:
    """Return the folder of data sets: as given, or ``BURNISH_DATA``."""
    named = os.environ.get("BURNISH_DATA")
    return data_dir or (Path(named) if named else None)
