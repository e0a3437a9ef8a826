"""Kills runs at given moments, forked from a process that has imported all that they need.

As a script it reads one request a line, forks a process that runs the command `burnish run`,
kills it with SIGKILL when its time is over, and answers how it ended; `Zygote` is the other
side of it. The run is a real one, with real workers. They are forked from a server that all
runs share, where a user's run has a server of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class Zygote:
    """A process that has imported all that a run needs, and runs nothing itself."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=Path(__file__).parents[2],
            # Threads that a library starts when it is loaded are not forked along.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, study: Path, run: Path, seconds: float, *, workers_too: bool) -> int | None:
        """Run a study, or go on with it, and kill it after some seconds.

        Returns
        -------
        ``None`` where it was killed, its workers with it or left alive; the exit status
        where it had ended before.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = [str(study), str(run), seconds, workers_too]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks runs is gone"
        ended: int | None = json.loads(answer)
        return ended

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def main() -> None:
    # All that the command imports on its way, before anything runs.
    import burnish.cli
    import burnish.report
    import burnish.runner.run
    import burnish.terminal
    from burnish.tuning.processes import worker_context

    worker_context()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread would not be forked along"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        study, run, seconds, workers_too = json.loads(line)
        child = os.fork()
        if child == 0:
            _be_a_run(burnish.cli.main, study, run)
        answers.write(json.dumps(_wait(child, seconds, workers_too)) + "\n")
        answers.flush()


def _be_a_run(command: Any, study: str, run: str) -> None:
    from multiprocessing import forkserver

    # The server is the parent's child, so that this process cannot ask whether it lives.
    server: Any = forkserver
    server.ensure_running = server._forkserver.ensure_running = lambda: None
    sys.argv = ["burnish", "run", study, "--out", run, "--workers", "1"]
    status = 1
    try:
        command()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os._exit(status)


def _wait(child: int, seconds: float, workers_too: bool) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    workers = _find_workers() if workers_too else []
    for process in [child, *workers]:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.waitpid(child, 0)
    return None


def _find_workers() -> list[int]:
    from multiprocessing import forkserver

    server: Any = forkserver
    return [int(pid) for pid in _children_of(server._forkserver._forkserver_pid)]


def _children_of(parent: int) -> list[str]:
    return Path(f"/proc/{parent}/task/{parent}/children").read_text().split()


if __name__ == "__main__":
    main()
