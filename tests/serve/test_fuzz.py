from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz_serve.py"


def test_malformed_requests_leave_the_server_up(bands_folder: Path) -> None:
    """Some hundreds of the 10,000; clients that stop are waited for in test_connection."""
    command = [sys.executable, str(FUZZ), str(bands_folder), "--requests", "600", "--slow", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "660 requests" in done.stdout
    assert "answers that are neither 4xx nor 503: 0" in done.stdout
