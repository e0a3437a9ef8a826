"""docs/extending.md: its package is built, installed, and used by a study."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def write_files(folder: Path) -> None:
    """Write each block of the page that has a title."""
    blocks = re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    for name, text in blocks:
        path = folder / name if name == "extras.toml" else folder / "burnish-extras" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's study, and the package installed into ``site``."""
    folder = tmp_path_factory.mktemp("extras")
    write_files(folder)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    # The environment's own setuptools: an isolated build would fetch one.
    command += ["--no-build-isolation", "--target", "site", "./burnish-extras"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "burnish", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pages_plug_ins_are_used_by_the_command_line_and_by_workers(installed: Path) -> None:
    ended = run(installed, "run", "extras.toml")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(next(installed.glob("runs/extras/stages/01-*/result.json")).read_text())
    assert (result["model"], result["sampler"], result["schedule"]) == (
        "perceptron",
        "halton",
        "doubling",
    )
    assert result["params"]["brightness_range"] == 0.2
    page = next(installed.glob("runs/extras/report/index.html")).read_text("utf-8")
    assert "The learning rate, which ended at" in page
    assert next(installed.glob("runs/extras/report/figures/search-learning-rate.svg")).exists()
    assert [trial["epochs"] for trial in result["trials"]] in ([1.0, 0.5], [0.5, 1.0])


def test_without_the_package_a_study_that_names_it_is_refused(installed: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "burnish", "run", "extras.toml"],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "unknown" in ended.stderr
    assert "'halton'" in ended.stderr or "'perceptron'" in ended.stderr
