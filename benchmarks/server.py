"""``burnish serve`` in a process of its own, for the benchmarks."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class RunningServer:
    """A server that takes connections."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def resident_megabytes(self) -> float:
        """Resident memory of the server's process. Linux only (/proc)."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def processor_seconds(self) -> float:
        """Processor time that the server has used. Linux only (/proc)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def start_server(
    model: Path, *arguments: str, errors: IO[str] | None = None
) -> Iterator[RunningServer]:
    """Start ``burnish serve`` on a free port; it is stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "burnish", "serve", str(model), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://([\w.]+):(\d+)", line)
            if found is None:
                raise SystemExit(f"the server did not start: {line!r}")
            yield RunningServer(process, found[1], int(found[2]))
        finally:
            process.terminate()
            process.wait(timeout=20)
