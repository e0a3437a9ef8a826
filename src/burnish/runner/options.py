"""How a study is to be run, beyond what its file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from burnish.stages.observer import Observer
from burnish.stages.placement import LocalPlacement, Placement


@dataclass(frozen=True)
class RunOptions:
    """How a study is to be run; each field means the same as in ``run_study``."""

    data_dir: Path | None = None
    observer: Observer = field(default_factory=Observer)
    command: str = ""
    workers: int | None = None
    minutes: float | None = None
    memory_per_worker: int | None = None
    check_disk: bool = True
    placement: Placement | None = None
    began: float | None = None

    def choose_placement(self) -> Placement:
        """Return where trials are fitted: as given, or in processes on this machine."""
        return self.placement or LocalPlacement(self.workers, self.memory_per_worker)
