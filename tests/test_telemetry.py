"""Each package that reports its use says itself that it is kept from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.telemetry import SWITCHES, switch_off

_MLFLOW = """
from burnish.report.tracking import log_to_mlflow
from burnish.runfolder.store import RunFolder
from burnish.errors import BurnishError
import sys
try:
    log_to_mlflow(RunFolder(__import__("pathlib").Path(sys.argv[1])), "file:" + sys.argv[1])
except BurnishError:
    pass
except Exception:
    pass
import mlflow.telemetry.client as client
from mlflow.telemetry.utils import is_telemetry_disabled
print(is_telemetry_disabled(), client.get_telemetry_client())
"""

_RAY = """
from burnish.tuning.ray.cluster import connect
from burnish.errors import ClusterError
try:
    connect("127.0.0.1:1")
except ClusterError:
    pass
from ray._common.usage import usage_lib
print(usage_lib.usage_stats_enabled())
"""


@pytest.mark.parametrize("package", SWITCHES)
def test_what_the_environment_said_before_does_not_count(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, value = SWITCHES[package]
    monkeypatch.setenv(variable, "other")
    switch_off(package)
    assert os.environ[variable] == value


@pytest.mark.parametrize(
    ("program", "said"), [(_MLFLOW, "True None"), (_RAY, "False")], ids=["mlflow", "ray"]
)
def test_packages_say_that_they_report_nothing(program: str, said: str, tmp_path: Path) -> None:
    """In a process without the variables by which a test or a CI is known."""
    known = {variable for variable, _ in SWITCHES.values()}
    known |= {"PYTEST_CURRENT_TEST", "PYTEST_VERSION", "CI", "GITHUB_ACTIONS", "DO_NOT_TRACK"}
    env = {name: value for name, value in os.environ.items() if name not in known}
    (tmp_path / "study.toml").touch()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        env={**env, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == said
