"""The workers that fit a run's trials: started when a search needs them, kept for the next."""

from __future__ import annotations

import shutil
from types import TracebackType

from burnish.data import Dataset
from burnish.runfolder.store import RunFolder
from burnish.stages.placement import Placement, Workers


class WorkerPool:
    """At most one set of workers; as a context manager it closes them at the end.

    Parameters
    ----------
    placement
        Where the workers run.
    folder
        The run folder; files that workers share are in its ``.scratch``.
    """

    def __init__(self, placement: Placement, folder: RunFolder) -> None:
        self._placement = placement
        self._folder = folder
        self._executor: Workers | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, data: Dataset) -> Workers:
        """Return the workers; start them if there are none."""
        if self._executor is None:
            self._executor = self._placement.start(data, self._folder.path / ".scratch")
        return self._executor

    def close(self) -> None:
        """End the workers and remove their shared files; they can be started again."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        self._folder.placed.unlink(missing_ok=True)
        shutil.rmtree(self._folder.path / ".scratch", ignore_errors=True)
