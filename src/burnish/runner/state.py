"""What goes on in a run: ``state.json``, which status and watch read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from burnish.errors import DamageError, RunFolderError
from burnish.files import read_json, write_json
from burnish.interrupts import is_stopping
from burnish.runfolder.clock import now
from burnish.runfolder.store import RunFolder
from burnish.stages.observer import Observer

if TYPE_CHECKING:  # A state is read and written without TensorFlow.
    from burnish.stages.stage_fit import Watch
    from burnish.training import Progress


class RunState:
    """Records the state of one run, and the time of all its attempts.

    Its clock starts when it is created, or was started before.

    Parameters
    ----------
    folder
        The run folder.
    study_name
        Name of the study.
    began
        When its clock was started, by `time.monotonic`.
    """

    def __init__(self, folder: RunFolder, study_name: str, began: float | None = None) -> None:
        self._folder = folder
        self._study_name = study_name
        self._path = folder.path / "state.json"
        self._started = time.monotonic() if began is None else began
        self._stage: str | None = None
        self.seconds_before = 0.0

    def seconds(self) -> float:
        """Return the seconds that the run has taken, including earlier attempts."""
        return self.seconds_before + time.monotonic() - self._started

    def resume(self, on_note: Callable[[str], None]) -> None:
        """Resume from the state of an earlier attempt, if there is one.

        Raises
        ------
        RunFolderError
            If the folder holds a run of another study, or has lost a reading of the test split.
        """
        # Without study.toml no stage has begun: the study did not suit the data.
        if not self._path.exists() or not self._folder.study_file.exists():
            return
        self._folder.readings()  # What was read of the test split must be there before all else.
        try:
            state = read_json(self._path)
        except DamageError as error:
            on_note(f"{error}: it is written anew, without the time taken so far")
            return
        self.seconds_before = float(state.get("seconds", 0.0))
        if state["study"] != self._study_name:
            raise RunFolderError(
                f"{self._folder.path} holds a run of the study '{state['study']}', "
                f"not of '{self._study_name}': choose another folder with --out"
            )

    def record(self, state: str, stage: str | None = None, error: str | None = None) -> None:
        """Write the state and the running stage."""
        if state == "running":
            self._stage = stage
        write_json(
            self._path,
            {
                "study": self._study_name,
                "state": state,
                "stage": None if state == "done" else self._stage,
                "error": error,
                "seconds": self.seconds(),
                "time": now(),
                "readings": len(self._folder.readings()),
            },
        )

    @contextmanager
    def failure_recorded(self) -> Iterator[None]:
        """Record what ends the run early: an error or an interrupt."""
        try:
            yield
        except BaseException as error:
            # On a full disk the state cannot be written either; the first error counts.
            with suppress(RunFolderError):
                if isinstance(error, KeyboardInterrupt) or is_stopping():
                    self.record("interrupted")
                else:
                    self.record("failed", error=str(error))
            raise

    def watch_with(self, observer: Observer) -> Watch:
        """Return a watcher of fits: it informs the observer, and records the state every epoch."""

        def watch_fit() -> Callable[[Progress], None]:
            last_epoch = 0

            def watch(progress: Progress) -> None:
                nonlocal last_epoch
                observer.fit_progressed(progress)
                epoch = progress.step // progress.steps_per_epoch
                if epoch != last_epoch:
                    last_epoch = epoch
                    self.record("running", stage=self._stage)

            return watch

        return watch_fit
