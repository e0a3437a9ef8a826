"""docs/use-the-model.md: every command in it is run, in order, in one folder."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from burnish import cli
from burnish.data import load_source
from burnish.runfolder.store import RunFolder

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PAGE = Path(__file__).parents[2] / "docs" / "use-the-model.md"
BLOCK = re.compile(r"^## (?P<heading>.+?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


def read_blocks() -> list[tuple[str, str, str]]:
    """Heading, language and code of every block of the page."""
    heading, blocks = "", []
    for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if match["heading"]:
            heading = match["heading"]
        else:
            blocks.append((heading, match["language"], match["code"]))
    return blocks


BLOCKS = [block for block in read_blocks() if block[0] != "Over HTTP"]


@pytest.fixture(scope="module")
def place(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs/tiny`` and ``images``."""
    place = tmp_path_factory.mktemp("use")
    shutil.copytree(run.path, place / "runs" / "tiny")
    (place / "images").mkdir()
    for number, image in enumerate(load_source("digits", None).train.images[:4]):
        Image.fromarray(image[..., 0]).save(place / "images" / f"{number}.png")
    return place


def test_each_way_takes_at_most_five_lines() -> None:
    assert len(BLOCKS) >= 5
    for heading, _, code in read_blocks():
        lines = [line for line in code.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 5, heading


@pytest.mark.parametrize(("heading", "language", "code"), BLOCKS, ids=[b[0] for b in BLOCKS])
def test_what_the_page_says_works(
    place: Path,
    heading: str,
    language: str,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    if language == "python":
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), heading
        return
    for line in code.splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        assert left.value.code == 0, f"{line}: {err}"
        assert out or "--csv" in line
