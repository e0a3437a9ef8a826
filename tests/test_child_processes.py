"""Programs without a ``__main__`` guard, and those whose plug-ins need one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from burnish.child_processes import NEEDS_GUARD, program_left_out

from .data.made import make, write_folder

LOAD = """
from pathlib import Path
from burnish.data import decode
from burnish.data.load import load_images
# Processes decode even these few images.
decode._ALONE_SECONDS, decode._WORTH_SECONDS, decode._TASK_SECONDS = 0.0, -1.0, 0.002
decode.count_cores = lambda: 2
"""
LOADED = 'print(len(load_images(Path("data"), cache_folder=Path("cache")).train.labels))\n'
CHECK = """
import sys
from burnish.cli import main
sys.argv = ["burnish", "check", "data", "--json"]
main()
"""
PLUGIN = """
from burnish.data.formats import FORMATS, Format
from burnish.data.formats.folder import read_folder
from dataclasses import replace
class Reader:
    is_serial = False
    def __init__(self, inner): self.inner = inner
    def read(self, index): return self.inner.read(index)
def read(path, group):
    listing = read_folder(path, group)
    return replace(listing, images=Reader(listing.images))
FORMATS.register(Format("mine", "mine", lambda path: True, read))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with a folder of images in it."""
    write_folder(tmp_path / "data", make(600))
    return tmp_path


def run(
    arguments: list[str], place: Path, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(place / "home")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env=env,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("way", ["script", "module", "-c", "stdin", "cli"])
def test_no_guard_is_needed_to_load_images(way: str, place: Path) -> None:
    program = LOAD + (CHECK if way == "cli" else LOADED)
    (place / "script.py").write_text(program, encoding="utf-8")
    arguments = {"module": ["-m", "script"], "-c": ["-c", program], "stdin": ["-"]}
    done = run(arguments.get(way, ["script.py"]), place, program if way == "stdin" else None)
    assert "Traceback" not in done.stderr
    if way == "cli":
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout.count('"format": "folder"') == 1
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "600\n"


def test_modules_in_the_working_folder_hide_no_library(place: Path) -> None:
    for name in ("types", "signal", "random", "queue", "numpy", "PIL", "keras"):
        (place / f"{name}.py").write_text(f"raise RuntimeError('{name} of somebody')")
    (place / "elsewhere").mkdir()  # As the command 'burnish' does, which lies in no working folder.
    (place / "elsewhere" / "script.py").write_text(LOAD + CHECK, encoding="utf-8")
    done = run(["elsewhere/script.py"], place)
    assert "somebody" not in done.stderr
    assert done.returncode in (0, 1)
    assert done.stdout.count('"format": "folder"') == 1
    for name in ("types", "signal"):  # Python itself imports these before any line of a program.
        (place / f"{name}.py").unlink()
    done = run(["-m", "burnish", "check", "data", "--json"], place)
    assert "somebody" not in done.stderr
    assert done.stdout.count('"format": "folder"') == 1


@pytest.mark.parametrize("guarded", [True, False])
def test_a_format_of_the_program_itself_needs_the_guard_and_says_so(
    guarded: bool, place: Path
) -> None:
    guard = 'if __name__ == "__main__":\n    ' if guarded else ""
    (place / "script.py").write_text(LOAD + PLUGIN + guard + LOADED, encoding="utf-8")
    done = run(["script.py"], place)
    if guarded:
        assert (done.returncode, done.stdout, done.stderr) == (0, "600\n", "")
    else:
        assert done.stderr.count("Traceback") == 2  # One error and its cause, of the driver alone.
        assert NEEDS_GUARD in done.stderr


def test_the_program_is_back_afterwards() -> None:
    program = sys.modules["__main__"]
    with suppress(LookupError), program_left_out():
        assert sys.modules["__main__"] is not program
        assert not hasattr(sys.modules["__main__"], "__file__")
        raise LookupError
    assert sys.modules["__main__"] is program


STUDY = """
[study]
name = "tiny"
seed = 1
[data]
source = "digits"
split = { train = 200, val = 100, test = 100 }
[training]
max_epochs = 1
[[stage]]
name = "search"
kind = "tune"
model = "MODEL"
sampler = "random"
trials = 2
schedule = { name = "full", max_epochs = 1 }
[stage.space]
hidden_layer_size = [8, 16]
[[stage]]
name = "final"
kind = "final"
"""
RUN = """
import sys
from burnish.cli import main
sys.argv = ["burnish", "run", "study.toml", "--workers", "2"]
main()
"""
FAMILY = """
from dataclasses import replace
from burnish.models import FAMILIES
FAMILIES.register(replace(FAMILIES.find("fnn"), name="mine"))
"""


def test_no_guard_is_needed_to_search(place: Path) -> None:
    """From standard input, of which no process could import anything."""
    (place / "study.toml").write_text(STUDY.replace("MODEL", "fnn"), encoding="utf-8")
    done = run(["-"], place, RUN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("[1/2] search:") == 1
    assert (place / "runs" / "tiny" / "model" / "contract.json").exists()


def test_a_family_of_the_program_itself_needs_the_guard_and_says_so(place: Path) -> None:
    (place / "study.toml").write_text(STUDY.replace("MODEL", "mine"), encoding="utf-8")
    (place / "script.py").write_text(FAMILY + RUN, encoding="utf-8")
    done = run(["script.py"], place)
    assert (done.returncode, done.stderr) == (2, f"error: {NEEDS_GUARD}\n")
    guarded = FAMILY + 'if __name__ == "__main__":' + RUN.replace("\n", "\n    ")
    (place / "script.py").write_text(guarded, encoding="utf-8")
    done = run(["script.py"], place)
    assert (done.returncode, done.stderr) == (0, "")
