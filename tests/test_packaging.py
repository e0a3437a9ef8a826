"""The built wheel, alone, runs a study: templates, studies and dependencies are all there."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from .short_digits import SHORT

ROOT = Path(__file__).parents[1]


def test_built_wheel_in_a_clean_environment_runs_digits(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    requirement = f"burnish[train] @ {wheel.as_uri()}"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    # What is imported is compiled then; the rest of TensorFlow would take a minute.
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    install += [*constraints, requirement]
    subprocess.run(install, check=True, capture_output=True, timeout=400)

    settings = [word for setting in SHORT for word in ("--set", setting)]
    command = [str(python.with_name("burnish")), "run", "digits", *settings]
    subprocess.run(command, check=True, capture_output=True, timeout=200, cwd=tmp_path)

    run = tmp_path / "runs" / "digits"
    status = subprocess.run(
        [str(python.with_name("burnish")), "status", str(run), "--json"],
        check=True,
        capture_output=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert json.loads(status.stdout)["state"] == "done"
    assert (run / "report" / "index.html").stat().st_size > 100_000
    assert (run / "model" / "contract.json").exists()
