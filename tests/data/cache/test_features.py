from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from burnish.data.cache.features import FOLDER, clean_features, shrink_features
from burnish.data.cache.overview import look_after_cache
from burnish.data.load import load_images

from ..made import make, write_folder

DAY = 24 * 3600


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with files of features that were used 0, 10 and 40 days ago."""
    folder = tmp_path / "burnish" / FOLDER
    folder.mkdir(parents=True)
    for name, days in (("new.npy", 0), ("older.npy", 10), ("oldest.npy", 40), ("net.onnx", 40)):
        (folder / name).write_bytes(bytes(1000))
        used = time.time() - days * DAY
        os.utime(folder / name, (used, used))
    (folder / "notes.txt").write_text("somebody's own")
    os.utime(folder / "notes.txt", (0, 0))
    return tmp_path / "burnish"


def names(root: Path) -> set[str]:
    return {path.name for path in (root / FOLDER).iterdir()}


def test_what_was_long_unused_goes_and_nothing_of_others(root: Path) -> None:
    removed = clean_features(root, 30)
    assert {path.name for path in removed} == {"oldest.npy", "net.onnx"}
    assert names(root) == {"new.npy", "older.npy", "notes.txt"}
    clean_features(root, 0)
    assert names(root) == {"notes.txt"}


def test_beyond_the_limit_the_longest_unused_go_first(root: Path) -> None:
    folder = root / FOLDER
    new = folder / "new.npy"
    assert shrink_features(folder, 4000, new, 1000) == []
    assert shrink_features(folder, 4000, new, 1001) == [folder / "oldest.npy"]
    # What is about to be used stays, whatever it takes; networks take little.
    assert shrink_features(folder, 0, new, 1000) == [folder / "older.npy"]
    assert names(root) == {"new.npy", "net.onnx", "notes.txt"}


def test_the_command_shows_and_removes_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent))
    monkeypatch.setenv("KERAS_HOME", str(root / "none"))
    shown = look_after_cache()["features"]
    assert (shown["path"], shown["files"], shown["bytes"]) == (str(root / FOLDER), 3, 4000)
    assert shown["limit"] > 0
    assert set(look_after_cache(remove=True)["removed_features"]) == {"oldest.npy", "net.onnx"}
    assert look_after_cache()["removed_features"] == []


def test_where_there_are_none_nothing_happens(tmp_path: Path) -> None:
    assert clean_features(tmp_path, 0) == []
    assert shrink_features(tmp_path / FOLDER, 0, tmp_path / "x.npy", 9) == []


def test_a_size_counts_features_and_images_together(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent))
    load_images(write_folder(tmp_path / "photos", make()))
    found = look_after_cache()
    both = found["bytes"] + found["features"]["bytes"]
    assert look_after_cache(size=f"{(both + 1000) / 1e6:.6f}MB")["removed_features"] == []
    done = look_after_cache(size=f"{(both - 1001) / 1e6:.6f}MB")
    assert set(done["removed_features"]) == {"net.onnx", "oldest.npy"}
    assert (done["removed"], done["features"]["bytes"]) == ([], 2000)
    done = look_after_cache(size="0MB")
    assert (len(done["removed"]), done["features"]["bytes"], done["bytes"]) == (1, 0, 0)


def test_what_a_process_is_computing_stays(root: Path) -> None:
    folder = root / FOLDER
    for suffix in (".part", ".done"):
        (folder / f"oldest{suffix}").write_bytes(bytes(10))
    lock = FileLock(folder / "oldest.lock")
    with lock:
        clean_features(root, 0)
        assert names(root) == {f"oldest.{s}" for s in ("npy", "part", "done", "lock")} | {
            "notes.txt"
        }
    clean_features(root, 0)
    assert names(root) == {"notes.txt"}
