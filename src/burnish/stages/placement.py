"""Where a run's trials are fitted: in processes of this machine, or on a Ray cluster.

Stages' own fits and refits always run in the driver.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from burnish.backend import describe_settings, has_bfloat16, keras, processor_name
from burnish.data import Dataset
from burnish.errors import ClusterError, RunFolderError
from burnish.files import read_json, write_json
from burnish.runfolder.store import RunFolder
from burnish.stages.fingerprint import code_fingerprint
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.tuning.executor import Executor, LocalExecutor

if TYPE_CHECKING:  # Ray is an extra.
    from burnish.tuning.ray.cluster import Cluster
    from burnish.tuning.ray.executor import Placed

Checkpoints = Literal["object-store", "shared"]

DETERMINISTIC = True
"""The same seed always gives the same bits; on a CPU this has no measurable cost."""


class Workers(Executor, Protocol):
    """An executor that stays alive from one tuning stage to the next."""

    def release(self) -> None:
        """Free what idle workers hold; more tasks may follow."""
        ...


class Placement(Protocol):
    """Where trials are fitted, and how many at once."""

    @property
    def workers(self) -> int:
        """Trials that may run when the next is proposed; results depend on it."""
        ...

    @property
    def at_once(self) -> int:
        """How many of them really run at once, for forecasts."""
        ...

    def start(self, data: Dataset, scratch: Path) -> Workers:
        """Return an executor for this data; ``scratch`` is a folder of this machine for it."""
        ...

    def describe(self) -> dict[str, Any]:
        """What plans and provenances say about it."""
        ...


class LocalPlacement:
    """Worker processes on this machine, which share its cores equally.

    Parameters
    ----------
    workers
        Number of processes; by default one per core.
    memory
        Bytes that each process may use beyond the images; ``None`` means no limit.
    """

    def __init__(self, workers: int | None = None, memory: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.at_once = self.workers
        self._memory = memory

    def start(self, data: Dataset, scratch: Path) -> LocalExecutor:
        """Return an executor for this data."""
        cores = os.cpu_count() or 1
        return LocalExecutor(
            data,
            num_workers=self.workers,
            threads=max(1, cores // self.workers),
            scratch=scratch,
            deterministic=DETERMINISTIC,
            memory=self._memory,
        )

    def describe(self) -> dict[str, Any]:
        """Nothing: provenances describe this machine anyway."""
        return {}


class RayPlacement:
    """A Ray cluster; :func:`open_cluster` connects to one.

    Parameters
    ----------
    cluster
        The cluster that runs the trials.
    study
        The study that the trials belong to.
    folder
        The run folder; ``None`` for a plan.
    workers
        Trials that run at once. By default the number that this run began with, or as many as
        the cluster has room for.
    checkpoints
        See :class:`burnish.tuning.ray.executor.RayExecutor`.
    on_note
        Called with messages for the user.
    """

    def __init__(
        self,
        cluster: Cluster,
        study: Study,
        folder: RunFolder | None,
        workers: int | None,
        checkpoints: Checkpoints,
        on_note: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._checkpoints = checkpoints
        self._on_note = on_note
        stages = [stage for stage in study.stages if isinstance(stage, TuneStage)]
        # Enough that those of every stage run at once.
        room = min((cluster.count_fits(s.resources.resources()) for s in stages), default=1)
        begun_with = _find_workers(folder) if folder is not None else None
        if (workers or begun_with or room) < 1:
            raise ClusterError(
                f"the cluster ({cluster.describe()}) has no room for a fit now: say with --workers "
                "how many trials are to run at a time when its nodes have come, or lower "
                "the resources of a stage"
            )
        self.workers = workers or begun_with or room
        self.at_once = min(self.workers, room) or self.workers
        on_note(
            f"Ray cluster at {cluster.address}: {cluster.describe()}; "
            f"{self.workers} trial{'s' if self.workers != 1 else ''} at a time"
            + (f", room for {room} now" if room != self.workers else "")
        )

    def start(self, data: Dataset, scratch: Path) -> Workers:
        """Return an executor for this data."""
        from burnish.tuning.ray.executor import RayExecutor

        return RayExecutor(
            data,
            self._cluster,
            num_workers=self.workers,
            identify=describe_machine,
            deterministic=DETERMINISTIC,
            checkpoints=self._checkpoints,
            on_placed=self._write_placed,
            on_note=self._on_note,
        )

    def describe(self) -> dict[str, Any]:
        """Return ``cluster``: ``address``, ``nodes``, ``cpus``, ``gpus`` and the ``workers``."""
        nodes = self._cluster.nodes()
        return {
            "cluster": {
                "address": self._cluster.address,
                "nodes": len(nodes),
                "cpus": sum(node.cpus for node in nodes),
                "gpus": sum(node.gpus for node in nodes),
                "workers": self.workers,
            }
        }

    def _write_placed(self, placed: Sequence[Placed]) -> None:
        if self._folder is None:
            return
        fits = [
            {
                "fit": one.key,
                "attempt": one.attempt,
                "node": one.place.describe(),
                "pid": one.place.pid,
                "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.since)),
            }
            for one in placed
        ]
        write_json(self._folder.placed, {"fits": fits})


@contextmanager
def open_cluster(
    study: Study,
    *,
    address: str | None = None,
    folder: RunFolder | None = None,
    workers: int | None = None,
    checkpoints: Checkpoints = "object-store",
    on_note: Callable[[str], None] = lambda message: None,
) -> Iterator[RayPlacement]:
    """Connect to a Ray cluster, or start one here, while a study runs.

    Parameters
    ----------
    study, folder, workers, checkpoints, on_note
        See :class:`RayPlacement`.
    address
        See :func:`burnish.tuning.ray.cluster.connect`.

    Raises
    ------
    ClusterError
        If the cluster cannot be used.
    """
    from burnish.tuning.ray.cluster import connect

    cluster = connect(address)
    try:
        yield RayPlacement(cluster, study, folder, workers, checkpoints, on_note)
    finally:
        cluster.close()


def describe_machine() -> dict[str, str]:
    """Return what a fit's bits depend on besides its request; called on every node."""
    import numpy as np
    import tensorflow as tf

    return {
        "the code of burnish": code_fingerprint()[:12],
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "settings": ", ".join(f"{name}={v}" for name, v in describe_settings().items()),
        "processor": processor_name(),
        "bfloat16": "yes" if has_bfloat16() else "no",
    }


def _find_workers(folder: RunFolder) -> int | None:
    """Return how many trials at once a run began with: clusters grow and shrink."""
    try:
        begun = read_json(folder.path / "provenance.json")
    except RunFolderError:
        return None
    workers = begun.get("cluster", {}).get("workers")
    return workers if isinstance(workers, int) else None
