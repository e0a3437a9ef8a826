"""Folders that cannot be written, that are none, or that have odd names.

The run of `finished` was itself made below a folder whose name has spaces, quotes, composed
and decomposed letters, signs that mean something in addresses, a newline, and a sequence that
would clear the terminal.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run

from . import TORTURE
from .conftest import ODD, Tally
from .study import command, describe_run, write_study

CLEAR = "\x1b[2J"
"""What clears a terminal."""

POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
"""What lets root be bound by permissions, as everybody else is."""


def call(
    *arguments: str | bytes,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    powerless: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Return a command; with ``powerless``, permissions count for whoever gives it."""
    changed = {**os.environ, **(env or {})}
    prefix = POWERLESS if powerless and os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "burnish", *arguments],
        env={name: value for name, value in changed.items() if value is not None},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert CLEAR not in done.stdout + done.stderr
    return done


@pytest.fixture
def closed(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A finished run that may be read, but not written."""
    if os.geteuid() == 0 and subprocess.run([*POWERLESS, "true"], check=False).returncode:
        pytest.skip("root cannot give its powers up here: 'setpriv' is missing, or not allowed")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    folders = [run, *(path for path in run.rglob("*") if path.is_dir())]
    for path in run.rglob("*"):
        path.chmod(0o444 if path.is_file() else 0o755)
    for path in folders:
        path.chmod(0o555)
    yield run
    for path in folders:
        path.chmod(0o755)


def test_whatever_a_run_folder_is_called_its_commands_work(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "path with spaces, Unicode and newline": a whole run, and what shows and uses it."""
    assert finished.parent.name == ODD
    assert describe_run(finished)["state"] == "done"
    assert verify_run(RunFolder(finished)) == []
    tally("a run in a folder of an odd name")
    picture = tmp_path / f"{ODD}.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    for arguments in (
        ["status", str(finished)],
        ["verify", str(finished)],
        ["predict", str(finished), str(picture)],
        *([["report", str(finished)]] if TORTURE else []),
    ):
        done = call(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tally("a command on a folder of an odd name")


def test_errors_show_odd_names_without_steering_the_terminal(tmp_path: Path, tally: Tally) -> None:
    """Row "path with spaces, Unicode and newline": what is not there is named, escaped."""
    long = "x" * 300
    study = write_study(tmp_path)
    for arguments, code, told in (
        (["status", f"{tmp_path}/{ODD}"], 2, r"#1 ?x=1 \x1b[2J"),
        (["verify", b"no\xfftext"], 2, r"there is no run folder no\udcfftext"),
        (["run", str(study), "--out", b"no\xfftext"], 2, "is not text in UTF-8: choose another"),
        (["run", str(study), "--out", long], 2, "File name too long. Choose another with --out"),
        (["status", "--", "-x"], 2, "there is no run folder -x"),
        (["predict", str(tmp_path), b"no\xff\x1b[2J.png"], 2, "is not a bundle"),
    ):
        done = call(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert told in done.stderr
        tally("an error about an odd name")
    assert [path.name for path in tmp_path.iterdir()] == [study.name]


def test_images_in_folders_of_odd_names_are_read(tmp_path: Path, tally: Tally) -> None:
    """Row "path with spaces, Unicode and newline": data of one's own."""
    data = tmp_path / ODD
    for label in ("Ä b", "-c 😀"):
        write_images(data / label)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = call("check", str(data), env=cache)
    assert done.returncode in (0, 1), done.stderr
    assert ": 20 images, format folder" in done.stdout
    done = call("init", str(data), "--out", str(tmp_path / "-my.toml"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    write_images(data / f"dog {CLEAR}")
    done = call("check", str(data), env=cache)
    assert done.returncode == 1
    assert r"'dog \x1b[2J' is no name for a class; give it a readable one" in done.stdout
    tally("images in folders of odd names", 2)


@pytest.mark.skipif(sys.platform != "linux", reason="only here are names any bytes")
def test_paths_of_data_that_are_not_text_work_or_are_refused(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "path with spaces, Unicode and newline": bytes that are not UTF-8."""
    data = tmp_path / os.fsdecode(b"photos\xff")
    for label in ("cat", "dog"):
        write_images(data / label)
    odd = data / "cat" / os.fsdecode(b"odd\xff.png")
    next((data / "cat").glob("0*")).rename(odd)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run, table = str(finished), os.fsdecode(b"table\xff.csv")
    for arguments, code, told in (
        (["check", str(data), "--out", os.fsdecode(b"sheets\xff")], 1, "20 images"),
        (["check", str(data), "--json"], 1, r"photos\udcff"),
        (["init", str(data)], 2, "path of the images is not text in UTF-8"),
        (["run", run, "--set", f"data.path={data}"], 2, ""),
        (["predict", run, str(data)], 0, r"odd\udcff.png"),
        (["predict", run, str(odd), "--csv", table], 0, ""),
        (["export", run, "--format", "zip", "--out", os.fsdecode(b"x\xff.zip")], 0, r"x\udcff.zip"),
    ):
        done = call(*arguments, cwd=tmp_path, env=cache)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert told in done.stdout + done.stderr, (arguments, done.stdout, done.stderr)
        tally("a path of data that is not text")
    assert (tmp_path / table).is_file()


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number} \n é.png")


def test_a_run_that_may_only_be_read_is_shown_and_used_and_not_written(
    closed: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "read-only folder, missing permission": works or says so."""
    picture = tmp_path / "one.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    for arguments in (
        ["status", str(closed)],
        ["verify", str(closed)],
        ["evaluate", str(closed)],
        ["predict", str(closed), str(picture)],
    ):
        done = call(*arguments, powerless=True)
        assert done.returncode == 0, done.stderr
        tally("reading a read-only run folder")
    study = write_study(tmp_path)
    for arguments in (
        ["run", str(study), "--out", str(closed)],
        ["run", str(study), "--out", str(closed / "below")],
        ["evaluate", str(closed), "--again"],
        *([["report", str(closed)]] if TORTURE else []),
    ):
        done = call(*arguments, powerless=True)
        assert done.returncode == 2, done.stdout
        assert str(closed) in done.stderr
        assert "Permission denied" in done.stderr
        tally("writing a read-only run folder")
    assert verify_run(RunFolder(closed)) == []


@pytest.mark.parametrize("closed_file", ["stages/01-start/result.json", "stages", "study.toml"])
def test_what_may_not_be_read_is_named(closed: Path, closed_file: str, tally: Tally) -> None:
    """Row "missing permission": a file or a folder within a run."""
    path = closed / closed_file
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0)
    try:
        for name in ("status", "verify"):
            done = call(name, str(closed), powerless=True)
            assert done.returncode in (1, 2), done.stdout
            assert str(path) in done.stdout + done.stderr
            assert "Permission denied" in done.stdout + done.stderr
            tally("a file that may not be read")
    finally:
        path.chmod(mode)


def test_a_run_folder_that_is_something_else_says_so(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "read-only folder ...: works or says so": a file, a dangling link, a link."""
    study = write_study(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(finished)
    for name in ("file", "dangling"):
        done = call("run", str(study), "--out", str(tmp_path / name))
        assert done.returncode == 2
        assert f"the run folder {tmp_path / name} cannot be written: " in done.stderr
        done = call("status", str(tmp_path / name))
        assert done.returncode == 2
        assert str(tmp_path / name) in done.stderr
        tally("a run folder that is none", 2)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert call("status", str(tmp_path / "link")).returncode == 0
    assert verify_run(RunFolder(tmp_path / "link")) == []
    tally("a run folder that is a link")


def test_without_a_working_directory_commands_say_so(
    finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "read-only folder ...: works or says so": the working directory is removed."""
    study = write_study(tmp_path)
    program = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        "sys.argv[0] = 'burnish'; from burnish.cli import main; main()"
    )
    for arguments, code, told in (
        (["status", str(finished)], 0, ""),
        (["status", "run"], 2, "there is no run folder run"),
        (["run", str(study)], 2, "the working directory, is gone"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        tally("no working directory")


@pytest.mark.skipif(not TORTURE, reason="two whole runs; 'make torture' has the time for them")
@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/nowhere/at/all", "XDG_CACHE_HOME": None, "BURNISH_DATA": None},
        {
            "HOME": None,
            "XDG_CACHE_HOME": "/proc/cache",
            "BURNISH_DATA": "/proc/data",
            "TMPDIR": "/nowhere/at/all",
        },
    ],
)
def test_a_run_needs_no_home_no_cache_and_no_place_for_temporary_files(
    env: dict[str, str | None], finished: Path, tmp_path: Path, tally: Tally
) -> None:
    """Row "missing permission": HOME, caches and TMPDIR that are not there or cannot be written."""
    study, run = write_study(tmp_path), tmp_path / "run"
    done = call(*command(study, run)[3:], env=env, powerless=True)
    assert done.returncode == 0, done.stderr
    assert describe_run(run) == describe_run(finished)
    tally("no home, cache or temporary folder")
