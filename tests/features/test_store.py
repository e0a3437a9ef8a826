from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from numpy.typing import NDArray

from burnish.errors import DataError
from burnish.features.store import FeatureFile, Shape, map_features
from burnish.files import read_json, write_json

ROWS, AT_ONCE = 100, 4
SHAPE: Shape = (ROWS, 1, 2, 3)


def compute(first: int, last: int) -> NDArray[np.float32]:
    """Rows that tell their number."""
    rows = np.arange(first, last, dtype=np.float32)
    return rows[:, None, None, None] + np.linspace(0, 0.5, 6, dtype=np.float32).reshape(1, 2, 3)


WHOLE = compute(0, ROWS).astype(np.float16)


class Stopped(BaseException):
    """Stands for the end of the process."""


def write(path: Path, *, stop_at: int | None = None) -> list[tuple[int, int]]:
    """Write the file, or as much as is there when a row is asked for; return what was told."""
    told: list[tuple[int, int]] = []

    def compute_or_stop(first: int, last: int) -> NDArray[np.float32]:
        if stop_at is not None and first >= stop_at:
            raise Stopped
        return compute(first, last)

    FeatureFile(path, SHAPE).write(compute_or_stop, AT_ONCE, lambda *said: told.append(said))
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features" / "key.npy"


def read(path: Path) -> NDArray[np.float16]:
    found = map_features(path, ROWS)
    assert found is not None
    return found


def test_a_file_is_float16_mapped_read_only_and_alone_in_its_folder(path: Path) -> None:
    told = write(path)
    assert told[0] == (0, ROWS)
    assert told[-1] == (ROWS, ROWS)
    assert [done for done, _ in told] == [*range(0, ROWS, AT_ONCE), ROWS]
    found = read(path)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, WHOLE)
    assert [p.name for p in path.parent.iterdir()] == ["key.npy"]
    assert path.stat().st_size == 128 + WHOLE.nbytes


def test_what_is_there_is_not_computed_again_and_the_bytes_are_the_same(
    path: Path, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        write(path, stop_at=80)
    assert map_features(path, ROWS) is None
    assert write(path)[0] == (64, ROWS)
    write(tmp_path / "undisturbed.npy")
    assert path.read_bytes() == (tmp_path / "undisturbed.npy").read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["key.npy"]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0\0")


def empty(path: Path) -> None:
    os.truncate(path, 0)


def remove(path: Path) -> None:
    path.unlink()


def fill_with_zip(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), WHOLE)
    path.with_suffix(".npz").replace(path)


def fill_with_float32(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, WHOLE.astype(np.float32))


def fill_with_fewer_rows(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, WHOLE[:-1])


def fill_with_other_order(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.asfortranarray(WHOLE))


def spoil_description(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(12)
        file.write(b"\xff{{{")


DAMAGES = [
    cut,
    grow,
    empty,
    remove,
    fill_with_zip,
    fill_with_float32,
    fill_with_fewer_rows,
    fill_with_other_order,
    spoil_description,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_noticed(path: Path, damage: Any) -> None:
    write(path)
    damage(path)
    assert map_features(path, ROWS) is None
    write(path)
    np.testing.assert_array_equal(read(path), WHOLE)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_begun_anew(path: Path, damage: Any) -> None:
    with pytest.raises(Stopped):
        write(path, stop_at=80)
    damage(path.with_suffix(".part"))
    assert write(path)[0] == (0, ROWS)
    np.testing.assert_array_equal(read(path), WHOLE)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[64]",
        "{}",
        '{"rows": 64, "shape": [100, 1, 2, 3]}',  # Without the digest.
        {"shape": list(SHAPE)},
        {"rows": "many", "shape": list(SHAPE)},
        {"rows": None, "shape": list(SHAPE)},
        {"rows": 101, "shape": list(SHAPE)},
        {"rows": -36, "shape": list(SHAPE)},
        {"rows": 64, "shape": [101, 1, 2, 3]},
        {"rows": 64},
    ],
)
def test_a_damaged_note_of_what_is_done_is_not_believed(
    path: Path, said: str | dict[str, Any]
) -> None:
    with pytest.raises(Stopped):
        write(path, stop_at=80)
    done = path.with_suffix(".done")
    assert read_json(done) == {"rows": 64, "shape": list(SHAPE)}
    if isinstance(said, str):
        done.write_text(said, encoding="utf-8")
    else:
        write_json(done, said)
    assert write(path)[0] == (0, ROWS)
    np.testing.assert_array_equal(read(path), WHOLE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(place=st.integers(0, 127), value=st.integers(0, 255))
def test_whatever_byte_of_its_description_is_another_a_file_is_whole_or_none(
    path: Path, place: int, value: int
) -> None:
    if not path.exists():
        write(path)
    content = path.read_bytes()
    spoilt = bytearray(content)
    spoilt[place] = value
    path.write_bytes(spoilt)
    found = map_features(path, ROWS)
    assert found is None or (found.dtype == np.float16 and found.shape[0] == ROWS)
    path.write_bytes(content)


def test_a_file_that_nobody_may_touch_is_used_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    os.utime(path, (0, 0))
    read(path)
    assert path.stat().st_mtime > 0, "its use is not noted"
    monkeypatch.setattr(os, "utime", refuse)
    np.testing.assert_array_equal(read(path), WHOLE)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="there is no such call")
def test_a_full_disk_is_an_error_with_the_remedy_before_anything_is_computed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(DataError, match=MESSAGE):
            write(path, stop_at=0)
    assert list(path.parent.iterdir()) == []
    write(path)
    np.testing.assert_array_equal(read(path), WHOLE)


MESSAGE = (
    r"features: what a network makes of the images cannot be kept there \(No space left on device\)"
    r"; make room \('burnish cache --clean'\), ask for fewer views, or set XDG_CACHE_HOME"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(
        ["umount", "-l", str(folder)], check=True
    )  # What was mapped may be in memory yet.


def test_a_disk_that_is_too_small_is_an_error_and_keeps_nothing(small_disk: Path) -> None:
    path = small_disk / "features" / "key.npy"
    file = FeatureFile(path, (100_000, 1, 2, 3))
    with pytest.raises(DataError, match=MESSAGE):
        file.write(compute, AT_ONCE, lambda done, total: None)
    assert list(path.parent.iterdir()) == []
    write(path)  # A smaller one has room.
    np.testing.assert_array_equal(read(path), WHOLE)


def test_a_folder_that_cannot_be_made_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder that can be written"):
        write(tmp_path / "file" / "features" / "key.npy")


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.features.test_store import AT_ONCE, SHAPE, compute
from burnish.features.store import FeatureFile

def compute_slowly(first, last):
    if first >= 72:
        print("there", flush=True)
        time.sleep(60)
    return compute(first, last)

FeatureFile(Path(sys.argv[1]), SHAPE).write(compute_slowly, AT_ONCE, lambda *said: None)
"""


def test_after_kill_9_the_rest_alone_is_computed_to_the_same_bytes(
    path: Path, tmp_path: Path
) -> None:
    code = KILLED.format(tests=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
    names = {p.name for p in path.parent.iterdir()}
    assert names == {"key.part", "key.done"}
    assert json.loads(path.with_suffix(".done").read_text())["rows"] == 64
    assert write(path)[0] == (64, ROWS)
    write(tmp_path / "undisturbed.npy")
    assert path.read_bytes() == (tmp_path / "undisturbed.npy").read_bytes()


def test_a_part_has_all_of_its_room_before_the_first_row_is_written(path: Path) -> None:
    with pytest.raises(Stopped):
        write(path, stop_at=0)
    part = path.with_suffix(".part")
    assert part.stat().st_size == 128 + WHOLE.nbytes
    if hasattr(os, "posix_fallocate"):
        assert part.stat().st_blocks * 512 >= part.stat().st_size
    assert npy.open_memmap(part, mode="r").shape == SHAPE
