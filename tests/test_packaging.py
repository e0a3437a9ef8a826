"""The built wheel, in an environment of its own, runs a study: templates and studies are there.

That its declared dependencies suffice, without those of development, is for 'make torture'.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from .faults import TORTURE
from .short_digits import SHORT

ROOT = Path(__file__).parents[1]


def test_built_wheel_in_a_clean_environment_runs_digits(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    if TORTURE:
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        install += [*constraints, f"burnish[train] @ {wheel.as_uri()}"]
    else:  # To install TensorFlow once more takes minutes: what it needs is lent.
        install += ["--no-deps", str(wheel)]
        (packages,) = (tmp_path / "clean" / "lib").glob("python*/site-packages")
        (packages / "lent.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    subprocess.run(install, check=True, capture_output=True, timeout=400)
    where = [str(python), "-c", "import burnish; print(burnish.__file__)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert Path(found.stdout.strip()).is_relative_to(tmp_path / "clean")

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
