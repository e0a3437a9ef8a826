"""Runs studies in one process that stays warm, under the shim: a fault costs no start.

As a script it reads one request a line and answers each with a line; `Driver` is the other
side of it. A run is that of `run_study`, with the real worker process, which is kept from
run to run. It stops at the end of a stage or at the next round of a trial, where the test has no
use for what follows.
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

    def run(
        self, study: Path, run: Path, until: str | None = None, *, one_round: bool = False
    ) -> str:
        """Run a study, or go on with it; say how it ended.

        Parameters
        ----------
        study, run
            The study file, and the run folder.
        until
            The stage after which it is to stop, if not at its end.
        one_round
            Whether it is to stop before that, when it has recorded one round of a trial.

        Returns
        -------
        ``done``, ``stopped`` where it was to stop, ``error: ...`` where it ended with one of
        burnish's own errors, or the traceback of another.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"study": str(study), "run": str(run), "until": until, "one_round": one_round}
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
    from burnish.stages.observer import Observer
    from burnish.stages.placement import LocalPlacement
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
            """What the worker is on must not come to a later run."""
            executor = self.executor
            assert executor is not None
            executor._queue.clear()
            executor._outcomes.clear()
            while any(worker.task for worker in executor._workers):
                executor.wait()

        def close(self) -> None:
            if self.executor is not None:
                LocalExecutor.close(self.executor)
            self.executor = None

    class Until(Observer):
        def __init__(self, run: Path, stage: str | None, one_round: bool) -> None:
            self._run, self._stage, self._one_round = run, stage, one_round
            self._recorded = self._count()

        def _count(self) -> int:
            return len(list(self._run.glob("stages/*/trials/*/round-*.json")))

        def trial_finished(self, trial: Any, best: Any) -> None:
            if self._one_round and self._count() > self._recorded:
                raise Stopped

        def stage_finished(self, result: Any, *, reused: bool) -> None:
            if result["name"] == self._stage:
                raise Stopped

    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    placement = Kept(1)
    for line in sys.stdin:
        request = json.loads(line)
        until = Until(Path(request["run"]), request["until"], request["one_round"])
        answers.write(json.dumps(_run(request, until, placement)) + "\n")
        answers.flush()
    placement.close()


def _run(request: dict[str, Any], observer: Any, placement: Any) -> str:
    from burnish.errors import BurnishError
    from burnish.runfolder.store import RunFolder
    from burnish.runner.run import run_study
    from burnish.study.parse import load_study

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
