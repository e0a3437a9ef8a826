"""Counts faults over all processes of the tests, and prints the table of `make torture`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.shared import make_once
from .bench import Bench
from .study import run_command, write_study

Tally = Callable[..., None]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Count faults of a row of docs/reliability.md: ``tally("disk full", tried=3)``.

    Called once for each fault, or for several, after the test has seen that all holds;
    what was tried and not counted as survived makes the test fail anyway.
    """

    def count(row: str, tried: int = 1) -> None:
        request.node.user_properties.append(("fault", [row, tried]))

    return count


ODD = "a run: Kü\u0308che, ü 😀 'q' {x} 50% #1 ?x=1 \x1b[2J\n-end"
"""A folder's name with all that a program may stumble over, and still text."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's run folder, as a user's command made it below a folder of an odd name."""

    def make(place: Path) -> None:
        folder = place / ODD
        folder.mkdir()
        done = run_command(write_study(folder), folder / "run")
        assert done.returncode == 0, done.stderr
        assert "\x1b[2J" not in done.stdout + done.stderr

    return make_once(tmp_path_factory, "faults", make) / ODD / "run"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows: dict[str, list[int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "when", None) != "call":
                continue
            counted = [v for key, v in report.user_properties if key == "fault"]
            if outcome == "failed" and "faults" in report.nodeid:
                # The fault at which it failed was tried, and is not in the count.
                counted_as = counted[-1][0] if counted else report.nodeid.split("::")[-1]
                rows.setdefault(counted_as, [0, 0])[0] += 1
            for row, tried in counted:
                total = rows.setdefault(row, [0, 0])
                total[0] += tried
                total[1] += tried
    if not rows:
        return
    terminalreporter.section("faults tried, survived")
    width = max(len(row) for row in rows)
    for row, (tried, survived) in sorted(rows.items()):
        terminalreporter.write_line(f"{row:<{width}}  {tried:6}  {survived:6}")
    tried, survived = (sum(total[i] for total in rows.values()) for i in (0, 1))
    terminalreporter.write_line(f"{'all':<{width}}  {tried:6}  {survived:6}")


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """Where faults of storage are caused; in memory if that can be, as flushing is slow."""
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="burnish-faults-", dir=memory if memory.is_dir() else None)
    )
    made = Bench.set_up(folder)
    yield made
    made.driver.close()
    shutil.rmtree(folder)
