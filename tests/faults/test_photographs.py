"""Faults in a study of photographs: in the features, and in the fits on them."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.errors import DataError
from burnish.files import write_json

from ..support.shared import make_once
from . import TORTURE, sample
from .conftest import Tally
from .photographs import ROWS, Project

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROW = "photographs: features, and fits on them"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study as it was when its head had been found, and one that has ended undisturbed."""

    def make(folder: Path) -> None:
        for name in ("begun", "ended"):
            (folder / name).mkdir()
        begun = Project.make(folder / "begun")
        assert begun.go_on(until="head").begun == [0]
        ended = begun.copy(folder / "ended")
        assert ended.go_on().begun == [0]

    return make_once(tmp_path_factory, "photographs-faults", make)


@pytest.fixture(scope="module")
def expected(made: Path) -> dict[str, Any]:
    return Project(made / "ended").describe()


@pytest.fixture
def begun(made: Path, tmp_path: Path) -> Project:
    """A study of its own, whose next stage trains the last blocks."""
    return Project(made / "begun").copy(tmp_path / "project")


MOMENTS = [("features", 272, [256]), *TORTURE * [("fit", 2, [])]]


@pytest.mark.parametrize(("moment", "count", "computed"), MOMENTS)
def test_killed_in_the_last_blocks_it_goes_on_to_the_same(
    moment: str,
    count: int,
    computed: list[int],
    begun: Project,
    expected: dict[str, Any],
    tally: Tally,
) -> None:
    """Row: faults in a study of photographs."""
    begun.kill_at(moment, count)
    # A killed process's lock stays as a file, and keeps nobody out.
    assert len(list(begun.features.glob("*.lock"))) == 2
    assert begun.go_on().begun == computed
    assert begun.describe() == expected
    tally(ROW)


@pytest.mark.skipif(not TORTURE, reason="make torture: whole runs")
@pytest.mark.parametrize(("moment", "count"), [("features", 0), ("features", 290), ("fit", 1)])
def test_killed_in_the_head_it_goes_on_to_the_same(
    moment: str, count: int, tmp_path: Path, expected: dict[str, Any], tally: Tally
) -> None:
    """Row: faults in a study of photographs."""
    project = Project.make(tmp_path)
    project.kill_at(moment, count)
    assert project.go_on().begun == {0: [0, 0], 290: [256, 0], 1: [0]}[count]
    assert project.describe() == expected
    tally(ROW)


@pytest.mark.skipif(not TORTURE, reason="make torture: whole runs")
def test_killed_at_random_moments_it_goes_on_to_the_same(
    tmp_path: Path, expected: dict[str, Any], tally: Tally
) -> None:
    """Row: faults in a study of photographs."""
    project = Project.make(tmp_path)
    for _ in range(sample(1, 12)):
        with project.start() as process:
            try:
                process.wait(random.uniform(2, 25))
            except subprocess.TimeoutExpired:
                process.kill()
        tally(ROW)
    project.go_on()
    assert project.describe() == expected


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def spoil_header(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(12)
        file.write(b"\xff{{{")


def take_another(path: Path) -> None:
    np.save(path, np.zeros((7, 1, 1, 1280), np.float16))


def leave_a_wrong_note(path: Path) -> None:
    """All rows are said to be there, of a file with other rows."""
    shape = np.load(path, mmap_mode="r").shape
    path.unlink()
    np.save(path, np.zeros((7, *shape[1:]), np.float16))
    path.rename(path.with_suffix(".part"))
    write_json(path.with_suffix(".done"), {"rows": ROWS, "shape": list(shape)})


ALL = [leave_a_wrong_note, spoil_header, take_another, Path.unlink]
DAMAGES = [shorten, *TORTURE * ALL]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_computed_anew_to_the_same_result(
    damage: Callable[[Path], None],
    begun: Project,
    made: Path,
    expected: dict[str, Any],
    tally: Tally,
) -> None:
    """Row: faults in a study of photographs."""
    old = {path.name for path in begun.features.glob("*.npy")}
    ended = Project(made / "ended").features
    (blocks,) = {path.name for path in ended.glob("*.npy")} - old
    content = (ended / blocks).read_bytes()
    (begun.features / blocks).write_bytes(content)
    damage(begun.features / blocks)
    assert begun.go_on().begun == [0]
    assert begun.describe() == expected
    assert (begun.features / blocks).read_bytes() == content
    tally(ROW)


@pytest.mark.skipif(not TORTURE, reason="make torture: workers that compute features")
def test_features_damaged_under_a_search_are_computed_anew_to_the_same_result(
    tmp_path: Path, expected: dict[str, Any], tally: Tally
) -> None:
    """Row: faults in a study of photographs."""
    project = Project.make(tmp_path)
    project.kill_at("fit", 1)  # The search is over, the winner's fit has begun.
    for path in project.features.iterdir():
        shorten(path)
        tally(ROW)
    assert project.go_on().begun == [0, 0]
    assert project.describe() == expected


def test_where_features_cannot_be_kept_it_says_so_and_goes_on_when_they_can(
    begun: Project, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """Row: faults in a study of photographs."""

    def refuse(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(DataError, match=r"No space left on device.*ask for fewer views"):
            begun.go_on()
    assert not list(begun.features.glob("*.part"))
    away = begun.features.rename(begun.features.with_name("away"))
    begun.features.write_text("in the way")  # As of a folder that is somebody else's.
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder that can be written"):
        begun.go_on()
    begun.features.unlink()
    away.rename(begun.features)
    assert begun.go_on().begun == [0]
    assert begun.describe() == expected
    tally(ROW, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 23 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=23m", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # Some of it may be mapped yet.


def test_a_disk_that_is_full_is_one_error_until_there_is_room(
    begun: Project, small_disk: Path, expected: dict[str, Any], tally: Tally
) -> None:
    """Row: faults in a study of photographs."""
    begun.cache = small_disk
    filler = small_disk / "filler"
    filler.write_bytes(bytes(22_900_000))
    # The features would fit, the network that computes them does not.
    with pytest.raises(DataError, match=r"cannot be kept there \(No space left on device\)"):
        begun.go_on()
    assert not list(begun.features.glob("*.npy"))
    filler.unlink()
    assert begun.go_on().begun == [0]
    assert begun.describe() == expected
    tally(ROW)


@pytest.mark.skipif(not TORTURE or os.name == "nt", reason="make torture")
def test_two_runs_at_once_share_the_features_and_come_to_the_same(
    begun: Project, tmp_path: Path, expected: dict[str, Any], tally: Tally
) -> None:
    """Row: faults in a study of photographs."""
    other = begun.copy(tmp_path / "other")
    other.cache = begun.cache
    processes = [begun.start(), other.start()]
    deadline = time.monotonic() + 300
    assert [process.wait(deadline - time.monotonic()) for process in processes] == [0, 0]
    assert begun.describe()["weights"] == other.describe()["weights"] == expected["weights"]
    assert len(list(begun.features.glob("*.npy"))) == 2
    tally(ROW, 2)
