"""Runs studies in one process that stays warm, under the shim: a fault costs no start.

As a script it reads one request a line and answers each with a line; `Driver` is the other
side of it. A run is that of `run_study`, with the real worker process, which is kept from
run to run. It stops at the end of a stage, where the test has no use for what follows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


class Stopped(BaseException):
    """The run has come as far as it was to come."""


class Driver:
    """A warm process that runs studies, one after another.

    Parameters
    ----------
    environment
        What the shim needs.
    scratch
        A folder of its own, for the data of its worker.
    """

    def __init__(self, environment: dict[str, str], scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._errors = scratch / "stderr.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.warm", str(scratch)],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def run(self, study: Path, run: Path, until: str | None = None) -> str:
        """Run a study, or go on with it; say how it ended.

        Parameters
        ----------
        study, run
            The study file, and the run folder.
        until
            The stage after which it is to stop, if not at its end.

        Returns
        -------
        ``done``, ``stopped`` after the wanted stage, ``error: ...`` where it ended with one of
        burnish's own errors, or the traceback of another.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"study": str(study), "run": str(run), "until": until}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the warm process is gone: {self._errors.read_text()[-2000:]}"
        return str(json.loads(answer))

    def close(self) -> None:
        """End the process, and with it its worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def main(scratch: Path) -> None:
    from burnish.study.observer import Observer
    from burnish.study.placement import LocalPlacement
    from burnish.tuning.executor import LocalExecutor

    class Kept(LocalPlacement):
        """Keeps its one worker from run to run, unless it has something to do."""

        executor: LocalExecutor | None = None

        def start(self, data: Any, _: Path) -> LocalExecutor:
            if self.executor is None:
                self.executor = super().start(data, scratch / "images")
                self.executor.close = self.close_busy  # type: ignore[method-assign]
            return self.executor

        def close_busy(self) -> None:
            """What a worker is on must not come to a later run."""
            executor = self.executor
            assert executor is not None
            busy = any(worker.task for worker in executor._workers)
            if busy or executor._queue or executor._outcomes:
                self.close()

        def close(self) -> None:
            if self.executor is not None:
                LocalExecutor.close(self.executor)
            self.executor = None

    class Until(Observer):
        def __init__(self, stage: str | None) -> None:
            self._stage = stage

        def stage_finished(self, result: Any, *, reused: bool) -> None:
            if result["name"] == self._stage:
                raise Stopped

    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    placement = Kept(1)
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_run(request, Until(request["until"]), placement)) + "\n")
        answers.flush()
    placement.close()


def _run(request: dict[str, Any], observer: Any, placement: Any) -> str:
    from burnish.errors import BurnishError
    from burnish.study.config import load_study
    from burnish.study.run import run_study
    from burnish.study.store import RunFolder

    study, text = load_study(request["study"], [])
    folder = RunFolder(Path(request["run"]))
    try:
        run_study(
            # Where there is too little disk, the tests want to see what comes of it.
            study,
            text,
            folder,
            None,
            observer,
            "burnish run faults",
            check_disk=False,
            placement=placement,
        )
    except Stopped:
        return "stopped"
    except BurnishError as error:
        return f"error: {error}"
    except BaseException:
        return traceback.format_exc()
    return "done"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
